"""The models behind the searchers, against what can be worked out another way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import check_grad
from scipy.stats import norm

from tests.support.simulated import defined
from tune_app.searchers import _gaussian_process
from tune_app.searchers._candidates import active, candidates, near
from tune_app.searchers._gaussian_process import Kernel, Process, log_expected_improvement
from tune_app.searchers._parzen import ELSEWHERE, Parzen
from tune_app.searchers._projection import CAP, PRIOR_STD, PRIOR_WEIGHT, project
from tune_app.space.constraints import Constraints
from tune_app.space.cube import Array, Cube
from tune_app.space.domains import Choice, Float, Int, Space, to_document

NAN, INF = np.nan, np.inf
SPACE: Space = {
    "x": Float(0.0, 1.0),
    "y": Float(0.0, 1.0),
    "kind": Choice(("a", "b", "c")),
    "n": Int(1, 5),
}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def values(*rows: list[float]) -> Array:
    return np.array(rows, dtype=float)


def test_one_rung_is_told_as_it_is_up_to_the_cap() -> None:
    given = values([1.0], [2.0], [3.0], [4.0], [INF])
    mean, variance = project(given)
    cap = np.quantile([1, 2, 3, 4], CAP)
    assert mean.tolist() == [1, 2, 3, cap, cap]
    assert variance.tolist() == [0] * 5


def test_a_line_by_hand_takes_a_trial_to_the_next_rung() -> None:
    given = values([1.0, 0.5], [2.0, 1.3], [3.0, NAN], [4.0, NAN])
    mean, variance = project(given)
    spread = np.std([1, 2, 3, 3.25])
    now, change = np.array([1.0, 2.0]), np.array([-0.5, -0.7])
    middle, shift = 1.5, change.sum() / 3
    apart = now - middle
    slope = 1 + (apart * (change - shift)).sum() / ((apart**2).sum() + PRIOR_WEIGHT * spread**2)
    left = change - shift - (slope - 1) * apart
    doubt = ((left**2).sum() + 2 * (PRIOR_STD * spread) ** 2) / 4
    assert mean[:2].tolist() == [0.5, 1.3]
    assert mean[2] == pytest.approx(3 + shift + (slope - 1) * (3 - middle))
    assert variance == pytest.approx([0, 0, doubt, doubt])


def test_many_trials_teach_the_line_and_leave_little_doubt() -> None:
    first = np.linspace(1, 2, 80)
    given = np.stack([first, 1.5 * first - 1], axis=1)
    given[40:60, 1] = NAN
    mean, variance = project(given)
    assert mean[40:60] == pytest.approx(1.5 * first[40:60] - 1, abs=0.05)
    assert np.sqrt(variance[40]) < 0.1


def test_the_earlier_a_trial_stands_the_larger_its_doubt() -> None:
    given = values([1, 0.8, 0.7], [2, 1.7, 1.5], [1.5, 1.3, NAN], [1.5, NAN, NAN])
    _, variance = project(given)
    assert 0 == variance[0] < variance[2] < variance[3]


@pytest.mark.parametrize(
    "given",
    [
        values([INF], [INF]),
        values([INF, INF], [INF, INF]),
        values([1.0, NAN], [INF, INF]),
        values([1.0, INF], [1.0, NAN]),
        values([5.0, 5.0], [5.0, 5.0], [5.0, NAN]),
        values([1e30, NAN], [1.0, 1e30], [2.0, 0.1]),
        values([1e300, NAN], [1e308, 1e250], [2.0, -1e300], [1.0, NAN]),
    ],
)
def test_projections_are_finite_whatever_diverges(given: Array) -> None:
    mean, variance = project(given)
    assert np.isfinite(mean).all()
    assert (variance >= 0).all()
    assert np.isfinite(variance).all()


def test_trials_keep_their_order_where_values_rise_with_the_budget() -> None:
    """As losses do that overfit: the first value of the worst is below the last one of the best."""
    first = np.linspace(0.40, 0.44, 21)
    given = np.stack([first, first + 0.2, first + 0.4], axis=1)
    given[1::2, 1:] = NAN
    mean, _ = project(given)
    told_apart = mean[: int(CAP * len(first))]
    assert (np.diff(told_apart) > 0).all()
    assert (mean[len(told_apart) :] >= told_apart[-1]).all()


def test_a_diverged_trial_is_as_bad_as_any() -> None:
    given = values([1.0, 0.9], [2.0, 1.9], [3.0, NAN], [1.1, INF], [INF, INF])
    mean, _ = project(given)
    assert mean[3] >= mean[:3].max() - 1e-9
    assert mean[4] >= mean[:3].max() - 1e-9


def observed(count: int = 25) -> tuple[Cube, Array, Array]:
    cube = Cube(SPACE)
    points = cube.draw(rng(), count)
    return cube, points, np.sin(5 * points[:, 0]) + points[:, 1] ** 2 + 0.3 * points[:, 2]


def test_the_gradient_of_the_objective_is_that_of_differences() -> None:
    cube, points, targets = observed()
    gaps = cube.gaps(points, points)
    extra = np.linspace(0, 0.1, len(points))
    for theta in rng().normal(-0.5, 0.5, (4, len(gaps) + 2)):

        def value(at: Array) -> float:
            return _gaussian_process._objective(at, gaps, targets, extra)[0]

        def gradient(at: Array) -> Array:
            return _gaussian_process._objective(at, gaps, targets, extra)[1]

        assert check_grad(value, gradient, theta) < 1e-3


def matern(left: Array, right: Array, kernel: Kernel, unordered: set[int]) -> float:
    squares = 0.0
    for index, length in enumerate(kernel.lengths):
        gap = left[index] - right[index]
        squares += (float(gap != 0) if index in unordered else gap**2) * np.exp(-2 * length)
    root = np.sqrt(5 * squares)
    return float(np.exp(kernel.amplitude) * (1 + root + root**2 / 3) * np.exp(-root))


def test_predictions_are_those_of_the_direct_formula() -> None:
    cube, points, targets = observed(12)
    kernel = Kernel(np.array([-0.5, 0.2, 0.1, -0.3]), 0.3, np.log(0.01))
    variances = np.linspace(0, 0.2, len(points))
    asked = cube.draw(np.random.default_rng(5), 6)
    mean, deviation = Process(cube, kernel, points, targets, variances).predict(asked)

    scale, middle = targets.std(), targets.mean()
    inner = np.array([[matern(a, b, kernel, {2}) for b in points] for a in points])
    inner += np.diag(variances / scale**2 + 0.01)
    across = np.array([[matern(a, b, kernel, {2}) for b in points] for a in asked])
    expected = middle + across @ np.linalg.solve(inner, targets - middle)
    explained = (across * np.linalg.solve(inner, across.T).T).sum(axis=1)
    assert mean == pytest.approx(expected, rel=1e-4)
    assert deviation == pytest.approx(scale * np.sqrt(np.exp(0.3) - explained), rel=1e-3)


def test_a_process_without_noise_goes_through_what_it_has_seen() -> None:
    cube, points, targets = observed()
    kernel = Kernel(np.full(4, -0.5), 0.0, np.log(1e-6))
    process = Process(cube, kernel, points, targets, np.zeros(len(points)))
    mean, deviation = process.predict(points)
    assert mean == pytest.approx(targets, abs=1e-3)
    assert deviation.max() < 0.01
    unsure = Process(cube, kernel, points, targets, np.full(len(points), 1.0))
    assert np.abs(unsure.predict(points)[0] - targets).max() > 0.1
    assert unsure.predict(points)[1].min() > deviation.max()


def test_a_fitted_process_predicts_what_it_has_not_seen() -> None:
    cube, points, targets = observed(60)
    kernel = _gaussian_process.fit(cube, points[:45], targets[:45], np.zeros(45))
    process = Process(cube, kernel, points[:45], targets[:45], np.zeros(45))
    mean, deviation = process.predict(points[45:])
    assert np.abs(mean - targets[45:]).mean() < 0.3 * targets.std()
    assert (np.abs(mean - targets[45:]) < 4 * deviation + 0.05).all()


def test_points_that_coincide_and_values_that_are_all_alike_break_nothing() -> None:
    cube = Cube(SPACE)
    points = np.repeat(cube.draw(rng(), 2), 10, axis=0)
    for targets in (np.ones(20), np.arange(20.0)):
        kernel = _gaussian_process.fit(cube, points, targets, np.zeros(20))
        told = Process(cube, kernel, points, targets, np.zeros(20)).predict(points)
        assert all(np.isfinite(part).all() for part in told)


@pytest.mark.parametrize("z", [3.0, 0.5, 0.0, -0.99, -1.01, -5.0, -20.0, -999.0, -1001.0])
def test_expected_improvement_is_the_integral(z: float) -> None:
    deviation, best = 0.5, 1.0
    mean = best - z * deviation
    found = log_expected_improvement(np.array([mean]), np.array([deviation]), best)[0]
    # With the density at `best` taken out, so that nothing underflows.
    integral, _ = quad(lambda t: t * np.exp(z * t - 0.5 * t**2), 0, np.inf, epsabs=0)
    assert found == pytest.approx(np.log(integral) + norm.logpdf(z) + np.log(deviation), abs=1e-5)


def test_expected_improvement_is_finite_and_falls_however_far_it_goes() -> None:
    z = -np.concatenate([np.linspace(0, 60, 2001), np.geomspace(61, 1e8, 200)])
    found = log_expected_improvement(-z, np.ones_like(z), 0.0)
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0).all()


AXES: dict[str, Space] = {
    "ordered": {"x": Float(0.0, 1.0)},
    "two ordered": {"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)},
    "unordered": {"kind": Choice(("a", "b", "c", "d"))},
    "both": {"x": Float(0.0, 1.0), "kind": Choice(("a", "b", "c"))},
}


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("uniform", [True, False])
def test_a_density_has_the_mean_1_over_the_cube(name: str, uniform: bool) -> None:
    cube = Cube(AXES[name])
    points = cube.draw(rng(), 7)
    points[0] = cube.snap(np.zeros((1, len(cube.axes))))[0]
    widths = np.full(len(cube.axes), 0.15)
    parzen = Parzen(cube, points, widths, truncated=True, uniform=uniform)
    middles = (np.arange(400) + 0.5) / 400
    sides = [middles if axis.levels is None else axis.levels for axis in cube.axes.values()]
    rows = np.stack([side.ravel() for side in np.meshgrid(*sides)], axis=1)
    assert np.exp(parzen.log_density(rows)).mean() == pytest.approx(1, abs=1e-3)


def test_a_density_is_large_near_its_points() -> None:
    cube = Cube(SPACE)
    point = cube.snap(np.array([[0.2, 0.8, 0.1, 0.3]]))
    parzen = Parzen(cube, point, np.full(4, 0.1), truncated=True, uniform=False)
    other = cube.snap(np.array([[0.9, 0.8, 0.1, 0.3], [0.2, 0.8, 0.9, 0.3]]))
    here, moved, changed = parzen.log_density(np.concatenate([point, other]))
    assert here > changed
    assert here > moved


def test_what_counts_on_one_side_only_is_elsewhere() -> None:
    cube = Cube({"x": Float(0.0, 1.0)})
    parzen = Parzen(cube, np.array([[NAN]]), np.array([0.1]), truncated=True, uniform=False)
    found = parzen.log_density(np.array([[NAN], [0.5]]))
    assert found == pytest.approx([0.0, np.log(ELSEWHERE)])


@pytest.mark.parametrize("widening", [1.0, 3.0])
def test_draws_stay_on_the_points_that_there_are(widening: float) -> None:
    cube = Cube(SPACE)
    points = np.concatenate([cube.draw(rng(), 5), np.zeros((1, 4)), np.ones((1, 4))])
    points[2, 1] = NAN
    for truncated in (True, False):
        parzen = Parzen(cube, points, np.full(4, 0.3), truncated=truncated, uniform=True)
        rows = parzen.draw(rng(), 500, widening)
        assert ((rows >= 0) & (rows <= 1)).all()
        assert (cube.snap(rows) == rows).all()


def test_draws_of_narrow_kernels_lie_at_their_points() -> None:
    cube = Cube({"x": Float(0.0, 1.0)})
    points = np.array([[0.2], [0.9]])
    parzen = Parzen(cube, points, np.array([0.01]), truncated=True, uniform=False)
    rows = parzen.draw(rng(), 300)
    assert np.abs(rows - points.T).min(axis=1).max() < 0.05
    assert 100 < (rows > 0.5).sum() < 200


def spread(cube: Cube) -> Array:
    return candidates(cube, cube.draw(rng(), 5), rng(), Constraints(), cube.draw(rng(), 3))


@pytest.mark.parametrize(
    "made",
    [spread, lambda cube: near(cube, cube.draw(rng(), 3), rng(), 300)],
    ids=["candidates", "near"],
)
def test_candidates_stay_on_the_points_that_there_are(made: Callable[[Cube], Array]) -> None:
    cube = Cube(SPACE)
    rows = made(cube)
    assert len(rows) >= 300
    assert ((rows >= 0) & (rows <= 1)).all()
    assert (cube.snap(rows) == rows).all()


def test_points_near_the_best_differ_from_them_somewhere() -> None:
    cube = Cube(AXES["two ordered"])
    best = np.array([[0.5, 0.5]])
    rows = near(cube, best, rng(), 200)
    assert (rows != best).any(axis=1).all()
    assert np.median(np.abs(rows - best)) < 0.1
    assert near(cube, np.empty((0, 2)), rng(), 200).shape == (0, 2)


def test_a_candidate_has_no_coordinate_where_a_parameter_does_not_count() -> None:
    cube = Cube(SPACE)
    parameters = {name: to_document(domain) for name, domain in SPACE.items()}
    constraints = defined(when={"y": "kind == 'a'"}, parameters=parameters).constraints
    rows = active(cube, cube.draw(rng(), 60), constraints)
    kinds = [cube.from_unit(row)["kind"] for row in rows]
    assert [bool(np.isnan(row[1])) for row in rows] == [kind != "a" for kind in kinds]
