"""What mattered, and when that cannot be told."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.support.synthetic import SyntheticStudy, document
from tune_app.analysis.effects import LEVEL, UNKNOWN, Effect, _Fits, _ranks, effects
from tune_app.analysis.importance import MIN_TRIALS, Importance, comparisons_lost, importance
from tune_app.analysis.importance_words import in_full, section, sentence, table
from tune_app.core.state import StudyState
from tune_app.space.cube import Cube
from tune_app.space.domains import Choice, Float, Space

NAN, INF = math.nan, math.inf
SPACE: Space = {"steep": Float(0, 1), "flat": Float(0, 1), "kind": Choice(("a", "b", "c"))}
VALUES = {"weight_decay": 0.1, "optim": "adafactor", "batch_size": 8, "warmup_steps": 5}


def drawn(count: int, seed: int, noise: float = 0.3) -> list[Effect]:
    """Effects where the score follows the first axis, and has its best in the middle of it."""
    rng = np.random.default_rng(seed)
    points = Cube(SPACE).draw(rng, count)
    scores = 4 * (points[:, 0] - 0.5) ** 2 + rng.normal(0, noise, count)
    return effects(list(Cube(SPACE).axes.values()), points, scores)


def study(folder: Path, count: int = 20, goal: str = "minimize", **changes: Any) -> SyntheticStudy:
    """Trials at three rungs; the final value follows the learning rate alone."""
    told = SyntheticStudy(folder, document(goal, **changes))
    rng = random.Random(3)
    for number in range(count):
        rate = 10 ** rng.uniform(-5, -2)
        values = {"learning_rate": rate, "warmup_steps": rng.randint(0, 100)}
        loss = 3 + abs(math.log10(rate) + 2)
        curve = [loss + 1 / point for point in range(1, 10)]
        length, outcome = (9, "completed") if number % 3 == 0 else (3, "stopped")
        sign = 1 if goal == "minimize" else -1
        told.trial(VALUES | values, [sign * value for value in curve[:length]], outcome)
    return told


def by_name(state: StudyState) -> dict[str, tuple[float, float, float, bool]]:
    return {i.parameter: (i.share, i.low, i.high, i.matters) for i in importance(state)[1]}


def test_what_decides_matters_and_the_rest_cannot_be_told(tmp_path: Path) -> None:
    count, told = importance(study(tmp_path).state())
    assert count == 20
    assert [item.parameter for item in told if item.matters] == ["learning_rate"]
    assert told[0].parameter == "learning_rate"
    assert 0.5 < told[0].low < told[0].share <= told[0].high


def test_a_parameter_without_meaning_rarely_matters() -> None:
    chances = [effect.chance for seed in range(60) for effect in drawn(25, seed)[1:]]
    assert 0 < np.mean([chance <= LEVEL for chance in chances]) <= 2 * LEVEL


def test_an_effect_that_is_there_is_found_at_16_trials() -> None:
    assert np.mean([drawn(16, seed)[0].chance <= LEVEL for seed in range(30)]) > 0.7


def test_intervals_hold_what_many_trials_show() -> None:
    truth = [effect.share for effect in drawn(1000, 0)]
    held = [
        [effect.low <= share <= effect.high for effect, share in zip(found, truth, strict=True)]
        for found in (drawn(30, seed) for seed in range(40))
    ]
    assert np.all(np.mean(held, axis=0) > 0.75)


def test_more_trials_make_intervals_narrower() -> None:
    few, many = drawn(25, 1)[0], drawn(400, 1)[0]
    assert many.high - many.low < (few.high - few.low) / 2


def test_a_small_effect_shows_beside_a_large_one() -> None:
    rng = np.random.default_rng(0)
    points = Cube(SPACE).draw(rng, 60)
    scores = points[:, 0] + 0.2 * points[:, 2] + rng.normal(0, 0.02, 60)
    steep, flat, kind = effects(list(Cube(SPACE).axes.values()), points, scores)
    assert (steep.chance <= LEVEL, flat.chance <= LEVEL, kind.chance <= LEVEL) == (
        True,
        False,
        True,
    )
    assert kind.share < 0.2 < steep.share


def test_values_are_compared_at_the_highest_rung_that_both_reached() -> None:
    values = np.array([[5.0, NAN], [4.0, 9.0], [4.5, 8.0]])
    assert comparisons_lost(values).tolist() == [2.5, 1.5, 0.5]


def test_another_scale_of_a_rung_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (40, 3))
    values[10:, 1:], values[20:, 2] = NAN, NAN
    other = np.stack([values[:, 0], values[:, 1] + 100, np.exp(values[:, 2])], axis=1)
    assert np.array_equal(comparisons_lost(values), comparisons_lost(other))


def test_a_diverged_trial_is_the_worst_wherever_it_diverged() -> None:
    values = np.array([[1.0, INF], [2.0, NAN], [3.0, 3.0], [INF, INF]])
    lost = comparisons_lost(values)
    assert lost[0] == lost[3] > max(lost[1], lost[2])


def test_trials_that_say_nothing_change_nothing(tmp_path: Path) -> None:
    told = study(tmp_path)
    before = by_name(told.state())
    for outcome in ("out_of_memory", "lost", "cancelled", "failed"):
        told.trial(VALUES | {"learning_rate": 1e-5}, [1.0], outcome)
    told.trial(VALUES | {"learning_rate": 7.0}, [1.0] * 9, kind="baseline")
    told.trial(VALUES | {"learning_rate": 1e-5}, [], None)
    assert by_name(told.state()) == before


def test_a_trial_that_changed_its_values_on_the_way_says_nothing(tmp_path: Path) -> None:
    told = study(tmp_path)
    before = by_name(told.state())
    heir = told.trial(VALUES | {"learning_rate": 1e-5}, [1.0], None)
    changed = {"source": "0000", "rung": 0, "checkpoint": None}
    told.append("trial_exploited", trial=heir, params=VALUES | {"learning_rate": 2e-5}, **changed)
    assert by_name(told.state()) == before


def test_the_seed_is_noise_and_is_not_ranked(tmp_path: Path) -> None:
    """Its values lie outside of the space in a baseline, which tells of the others all the same."""
    seed = {"seed": {"type": "choice", "values": [0, 1], "weights": None}}
    parameters = document()["parameters"]
    ranked = []
    for name, space in (("plain", parameters), ("seeded", parameters | seed)):
        (tmp_path / name).mkdir()
        told = SyntheticStudy(tmp_path / name, document(parameters=space))
        for number in range(16):
            own = {"seed": number % 2 if number else 42} if name == "seeded" else {}
            params = VALUES | own | {"learning_rate": 10 ** -(2 + number / 8)}
            kind = "search" if number else "baseline"
            told.trial(params, [4.0] * 8 + [number % 2 + number / 100], kind=kind)
        ranked.append(importance(told.state()))
    assert ranked[0] == ranked[1]
    text = section(told.state())
    assert "seed is not ranked" in text
    assert "How much noise was not measured" in text
    for number in range(2):
        told.trial(VALUES | {"seed": number}, [4.0] * 8 + [4.0 + number])
    assert "differ in the seed alone have a standard deviation of 0.7071" in section(told.state())


def test_a_metric_that_is_maximised_gives_the_same(tmp_path: Path) -> None:
    (tmp_path / "low").mkdir()
    (tmp_path / "high").mkdir()
    low, high = study(tmp_path / "low"), study(tmp_path / "high", goal="maximize")
    assert by_name(low.state()) == by_name(high.state())


def test_the_same_journal_says_the_same(tmp_path: Path) -> None:
    told = study(tmp_path)
    assert importance(told.state()) == importance(told.state())


def test_too_few_trials_tell_nothing(tmp_path: Path) -> None:
    count, told = importance(study(tmp_path, count=MIN_TRIALS - 1).state())
    assert (count, told) == (MIN_TRIALS - 1, [])
    assert "cannot be determined from 7 trials" in sentence(count, told)


@pytest.mark.parametrize(
    "points",
    [
        np.full((12, 3), 0.5),
        np.full((12, 3), NAN),
        np.array([[0.5, 0.5, 0.5 / 3]] * 6 + [[NAN, 0.5, 0.5]] * 6),
    ],
)
def test_a_parameter_that_hardly_varied_is_no_trouble(points: Any) -> None:
    rng = np.random.default_rng(0)
    for effect in effects(list(Cube(SPACE).axes.values()), points, rng.normal(0, 1, 12)):
        assert 0 <= effect.low <= effect.share <= effect.high <= 1


@given(st.lists(st.sampled_from([-INF, -1.0, 0.0, 0.5, 2.0, INF]) | st.floats(0, 1), min_size=1))
def test_ranks_are_those_of_scipy_around_zero(scores: list[float]) -> None:
    expected = stats.rankdata(scores) - (len(scores) + 1) / 2
    assert np.array_equal(_ranks(np.array(scores)), expected)


@given(st.integers(0, 9), st.integers(8, 60), st.integers(1, 8))
def test_the_chance_of_a_fit_is_that_of_its_f_statistic(
    seed: int, count: int, columns: int
) -> None:
    rng = np.random.default_rng(seed)
    ranks, block = rng.normal(0, 1, count), rng.normal(0, 1, (1, count, columns))
    block[0, :, 0] += rng.choice([0, 1, 10, 1000]) * ranks
    fit = _Fits(ranks, block, [])
    expected = stats.f.sf(fit.strength, fit.columns, fit.freedom)[0]
    assert fit.chance == pytest.approx(expected, rel=1e-9)


def test_trials_that_are_all_alike_tell_nothing() -> None:
    axes = list(Cube(SPACE).axes.values())
    points = Cube(SPACE).draw(np.random.default_rng(0), 20)
    assert effects(axes, points, np.ones(20)) == [UNKNOWN] * 3


def test_more_choices_than_trials_can_tell_apart_are_unknown() -> None:
    space: Space = {"name": Choice(tuple("abcdefghij"))}
    rng = np.random.default_rng(0)
    found = effects(list(Cube(space).axes.values()), Cube(space).draw(rng, 20), rng.random(20))
    assert found == [UNKNOWN]


def test_a_table_and_a_sentence_tell_it(tmp_path: Path) -> None:
    state = study(tmp_path).state()
    part = section(state)
    assert "| `learning_rate` | **" in part
    assert "| `optim` | hardly any | at most 0 %" in part
    assert "about one in 20 parameters" in part
    assert "early values" in part
    assert "good values more often" in part
    assert (
        in_full(state)
        .to_document()["importance"]["text"]
        .startswith("What mattered for the order of 20 trials: learning_rate (")
    )


def test_little_is_told_apart_from_unknown() -> None:
    told = [
        Importance("rate", 0.6, 0.4, 0.8, chance=0.005, matters=True),
        Importance("batch", 0.1, 0.0, 0.3, chance=0.2, matters=False),
        Importance("decay", 0.0, 0.0, 0.04, chance=0.7, matters=False),
    ]
    assert sentence(30, told) == (
        "What mattered for the order of 30 trials: rate (40 % to 80 %). "
        "Of the others, 1 hardly mattered, 1 cannot be determined."
    )
    rows = table(told).splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == ["**60 %**", "cannot tell", "hardly any"]


def test_an_even_search_to_the_end_has_less_to_warn_of(tmp_path: Path) -> None:
    told = SyntheticStudy(tmp_path, document(searcher={"name": "random"}))
    for number in range(10):
        told.trial(VALUES | {"learning_rate": 10 ** -(2 + number / 5)}, [4.0] * 8 + [number])
    text = section(told.state())
    assert "| `learning_rate` | **" in text
    assert "early values" not in text
    assert "good values more often" not in text
