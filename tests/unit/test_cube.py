"""The unit cube: every domain goes there and back, and stays inside."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_app.space.cube import MAX_LEVELS, Cube, axis
from tune_app.space.domains import (
    Choice,
    Drawn,
    Fixed,
    Float,
    Int,
    Searched,
    Space,
    contains,
    grid,
    identity,
    sample,
)

DOMAINS: dict[str, Searched] = {
    "float": Float(-3.0, 7.0),
    "log": Float(1e-6, 1e-1, log=True),
    "stepped": Float(0.0, 0.3, step=0.1),
    "log stepped": Float(0.05, 0.9, log=True, step=0.05),
    "one value": Float(2.0, 2.0),
    "int": Int(1, 9),
    "log int": Int(1, 4096, log=True),
    "stepped int": Int(8, 512, step=8),
    "huge int": Int(0, 2**60, step=2**20),
    "numbers": Choice((64, 16, 32)),
    "words": Choice(("adam", "lion", "sgd")),
    "mixed": Choice((1, 1.0, True, "1", None, [1, 2], {"k": None})),
    "two": Choice((True, False)),
    "weighted": Choice(("a", "b", "c"), (0.7, 0.2, 0.1)),
    "normal": Drawn("normal", 0.0, 2.0),
    "log normal": Drawn("log_normal", -3.0, 1.0),
    "beta": Drawn("beta", 1.0, 5.0),
    "rounded": Drawn("log_uniform", 3.0, 300.0, 8),
}


@pytest.mark.parametrize("name", DOMAINS)
def test_every_draw_comes_back_from_the_cube(name: str) -> None:
    domain, rng = DOMAINS[name], random.Random(0)
    there = axis(domain)
    for _ in range(300):
        value = sample(domain, rng)
        unit = there.to_unit(value)
        assert 0 <= unit <= 1
        back = there.from_unit(unit)
        assert type(back) is type(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            assert back == pytest.approx(value, rel=1e-9, abs=1e-12)
        else:
            assert identity(back) == identity(value)


@pytest.mark.parametrize("name", DOMAINS)
def test_every_point_of_the_cube_is_a_value_of_the_domain(name: str) -> None:
    domain, there = DOMAINS[name], axis(DOMAINS[name])
    for unit in [0.0, 1.0, *np.random.default_rng(0).random(300)]:
        value = there.from_unit(float(unit))
        assert contains(domain, value), value
        assert 0 <= there.to_unit(value) <= 1


@pytest.mark.parametrize("name", DOMAINS)
def test_snapped_points_are_those_that_there_are(name: str) -> None:
    there = axis(DOMAINS[name])
    units = np.random.default_rng(1).random(200)
    snapped = there.snap(units)
    assert (there.snap(snapped) == snapped).all()
    if there.levels is None:
        assert (snapped == units).all()
        return
    assert (np.diff(there.levels) > 0).all()
    nearest = np.abs(units[:, None] - there.levels).min(axis=1)
    assert np.abs(units - snapped) == pytest.approx(nearest)


@pytest.mark.parametrize("name", DOMAINS)
def test_draws_lie_in_the_cube_on_its_points(name: str) -> None:
    there = axis(DOMAINS[name])
    drawn = there.draw(np.random.default_rng(2), 500)
    assert ((drawn >= 0) & (drawn <= 1)).all()
    assert (there.snap(drawn) == drawn).all()


def test_all_values_of_a_list_are_as_likely_and_weights_are_kept() -> None:
    rng = np.random.default_rng(3)
    for name in ("int", "numbers", "words", "stepped"):
        there = axis(DOMAINS[name])
        _, counts = np.unique(there.draw(rng, 9000), return_counts=True)
        expected = 9000 / len(grid(DOMAINS[name]) or ())
        assert np.abs(counts / expected - 1).max() < 0.15
    weighted = axis(DOMAINS["weighted"])
    words = [weighted.from_unit(unit) for unit in weighted.draw(rng, 5000)]
    assert words.count("a") == pytest.approx(3500, rel=0.05)
    assert [weighted.from_unit(weighted.at(share)) for share in (0.1, 0.69, 0.8, 0.95)] == [
        *("a", "a", "b", "c")
    ]


def test_a_range_beyond_all_machine_numbers_is_a_range() -> None:
    there = axis(Int(0, 10**30))
    assert there.levels is None
    assert there.from_unit(there.to_unit(10**29)) == pytest.approx(10**29)


def test_numbers_are_in_order_and_words_are_not() -> None:
    numbers, words = axis(DOMAINS["numbers"]), axis(DOMAINS["words"])
    assert numbers.to_unit(16) < numbers.to_unit(32) < numbers.to_unit(64)
    assert numbers.ordered
    assert not words.ordered
    assert axis(DOMAINS["two"]).ordered, "of two values the order says nothing"


@pytest.mark.parametrize("name", DOMAINS)
def test_distances_are_ones_that_points_can_have_also_to_where_an_axis_does_not_count(
    name: str,
) -> None:
    """Kernels of other distances are no covariances: a Gaussian process fails on them."""
    cube = Cube({name: DOMAINS[name]})
    rows = np.concatenate([cube.draw(np.random.default_rng(0), 30), [[np.nan]] * 2])
    (gaps,) = cube.gaps(rows, rows)
    centred = np.eye(32) - 1 / 32
    assert np.linalg.eigvalsh(-centred @ gaps @ centred).min() > -1e-9
    assert (gaps[-1] <= 1).all()
    assert (gaps[-1, :-2] >= 0.75).all()
    assert gaps[-1, -2] == 0


def test_a_range_with_too_many_steps_counts_as_continuous() -> None:
    assert axis(Int(1, MAX_LEVELS)).levels is not None
    assert axis(Int(1, MAX_LEVELS + 1)).levels is None


SPACE: Space = {
    "lr": Float(1e-5, 1e-1, log=True),
    "f": Fixed(3),
    "optim": Choice(("a", "b", "c")),
    "n": Int(1, 4),
}


def test_what_does_not_count_is_nan_and_stays_away() -> None:
    cube = Cube(SPACE)
    assert list(cube.axes) == ["lr", "optim", "n"]
    row = cube.to_unit({"lr": 1e-3, "n": 2})
    assert row[0] == pytest.approx(0.5)
    assert math.isnan(row[1])
    assert cube.from_unit(row).keys() == {"lr", "n"}
    assert np.isnan(cube.snap(row[None, :])[0]).tolist() == [False, True, False]


def test_distances_along_each_axis() -> None:
    cube = Cube(SPACE)
    rows = np.array(
        [
            cube.to_unit({"lr": 1e-5, "optim": "a", "n": 1}),
            cube.to_unit({"lr": 1e-1, "optim": "c", "n": 1}),
            cube.to_unit({"lr": 1e-1, "optim": "c"}),
            cube.to_unit({"lr": 1e-1}),
        ]
    )
    lr, optim, n = cube.gaps(rows, rows)
    assert lr[0].tolist() == [0, 1, 1, 1]
    assert optim[0].tolist() == [0, 1, 1, 1]
    assert optim[3].tolist() == [1, 1, 1, 0], "counting and not counting are 1 apart"
    assert n[0, :2].tolist() == [0, 0]
    assert n[0, 2] == n[0, 3] == pytest.approx(0.75 + (rows[0, 2] - 0.5) ** 2)
    for gap in (lr, optim, n):
        assert (gap == gap.T).all()


def test_a_cube_without_axes_has_rows_without_coordinates() -> None:
    cube = Cube({"f": Fixed(1)})
    assert cube.to_unit({}).shape == (0,)
    assert cube.draw(np.random.default_rng(0), 4).shape == (4, 0)
    assert cube.from_unit(np.empty(0)) == {}


ENDS = st.floats(1e-9, 1e9)


@given(ENDS, ENDS, st.booleans(), st.floats(0, 1))
def test_any_range_goes_there_and_back(one: float, other: float, log: bool, share: float) -> None:
    domain = Float(min(one, other), max(one, other), log=log)
    there = axis(domain)
    value = there.from_unit(share)
    assert domain.low <= value <= domain.high
    again = there.from_unit(there.to_unit(value))
    assert again == pytest.approx(value, rel=1e-6, abs=1e-9 * domain.high)


@given(st.integers(1, 10**6), st.integers(0, 500), st.integers(1, 7), st.booleans(), st.data())
def test_any_whole_number_goes_there_and_back(
    low: int, count: int, step: int, log: bool, data: Any
) -> None:
    domain = Int(low, low + count * step, log=log, step=step)
    value = low + step * data.draw(st.integers(0, count))
    there = axis(domain)
    assert there.from_unit(there.to_unit(value)) == value
    assert float(there.snap(np.array([there.to_unit(value)]))[0]) == there.to_unit(value)
