"""What the seed alone changes: told from runs that nobody chose by their values, or not at all."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

import pytest

from tests.support.simulated import Curve, Simulation, document
from tune_app.analysis import seeds
from tune_app.analysis.facts import SeedSpread
from tune_app.analysis.summary import seed_spread
from tune_app.core.journal import Event
from tune_app.core.state import rebuild
from tune_app.core.trial import TrialState

CONFIGURATIONS, SEEDS, STUDIES = 16, 3, 12
SPACE = {
    "kind": {"type": "choice", "values": list(range(CONFIGURATIONS)), "weights": None},
    "seed": {"type": "choice", "values": list(range(SEEDS)), "weights": None},
}
"""Seeds of the same kind lie 1 apart (standard deviation), kinds too."""


def drawn(*parts: object) -> float:
    return random.Random(":".join(map(str, parts))).gauss()


def losses(study: int) -> Curve:
    def curve(params: Mapping[str, Any], step: int) -> float:
        kind, seed = params["kind"], params["seed"]
        early = 0.3 * drawn(study, kind, seed, step) if step < 24 else 0.0
        return 10 + drawn(study, kind) + drawn(study, kind, seed) + early

    return curve


@cache
def events(scheduler: str, study: int, death: float = 0.0, **options: Any) -> list[Event]:
    resolved = document(
        parameters=SPACE,
        trials=CONFIGURATIONS * SEEDS,
        searcher="random",
        scheduler={"name": scheduler, **options},
        baseline=False,
        seed=study,
    )
    simulation = Simulation(resolved, workers=2, curve=losses(study), death=death, seed=study)
    simulation.run()
    return simulation.events


def pooled(found: list[SeedSpread | None]) -> tuple[float, int]:
    """The standard deviation over several studies, and its degrees of freedom."""
    spreads = [item for item in found if item is not None]
    parts = [(s.deviation, s.runs - s.sets) for s in spreads if s.deviation is not None]
    squares = sum(deviation**2 * freedom for deviation, freedom in parts)
    freedom = sum(freedom for _, freedom in parts)
    return math.sqrt(squares / freedom), freedom


def by_themselves(trials: list[TrialState]) -> SeedSpread | None:
    """What completed trials say if nobody asks why they are there."""
    runs = ((trial.params, trial.rung_values[max(trial.rung_values)]) for trial in trials)
    return seeds.spread(seeds.Run(params, value, False, False) for params, value in runs)


def test_seeds_that_early_stopping_lets_through_lie_too_close() -> None:
    """Also where all seeds of a set of values came through: that is why they did."""
    states = [rebuild(events("asha", study, rungs=2)) for study in range(STUDIES)]
    completed = [state.completed() for state in states]
    whole = [
        [t for t in found if kinds_of(found)[t.params["kind"]] == SEEDS] for found in completed
    ]
    for chosen in (completed, whole):
        deviation, freedom = pooled([by_themselves(found) for found in chosen])
        assert freedom > 40
        assert deviation < 0.85


def kinds_of(trials: list[TrialState]) -> Counter[str]:
    return Counter(trial.params["kind"] for trial in trials)


@pytest.mark.parametrize("scheduler", ["auto", "asha", "asha_stopping", "hyperband", "median"])
def test_no_spread_is_told_of_seeds_that_a_scheduler_has_compared(scheduler: str) -> None:
    found = seed_spread(rebuild(events(scheduler, 0)))
    assert found is not None
    assert found.deviation is None
    assert found.judged == found.repeated == CONFIGURATIONS
    text = seeds.caution(found)
    assert "not measured: early stopping compared the runs of 16 of 16 sets" in text
    assert "scheduler: fifo" in text
    assert seeds.limit(found).startswith(text)


@pytest.mark.parametrize("part", [0.5, 1.0])
@pytest.mark.parametrize("death", [0.0, 0.03])
def test_the_spread_of_seeds_that_nobody_chose_is_the_true_one_at_any_time(
    part: float, death: float
) -> None:
    """Also where workers are lost so often that some trials give up."""
    found = []
    for study in range(STUDIES):
        told = events("fifo", study, death)
        found.append(seed_spread(rebuild(told[: int(part * len(told))])))
    deviation, freedom = pooled(found)
    assert freedom > 80
    assert deviation == pytest.approx(1.0, abs=0.1)


def run(kind: str, seed: int, value: float | None, **changes: bool) -> seeds.Run:
    flags = {"is_judged": False, "has_diverged": False} | changes
    return seeds.Run({"kind": kind, "seed": seed}, value, **flags)


def test_a_set_with_one_run_that_was_judged_or_diverged_is_left_out_as_a_whole() -> None:
    found = seeds.spread(
        [
            *(run("whole", seed, float(seed)) for seed in range(3)),
            *(run("judged", seed, 10.0 * seed, is_judged=seed == 1) for seed in range(3)),
            *(run("diverged", seed, 10.0 * seed) for seed in range(2)),
            run("diverged", 2, None, has_diverged=True),
            *(run("lost", seed, 3.0 * seed) for seed in range(2)),
            run("lost", 2, None),
            run("alone", 0, 9.0),
        ]
    )
    expected = SeedSpread(
        deviation=math.sqrt((2.0 + 4.5) / 3), sets=2, runs=5, repeated=4, judged=1, diverged=1
    )
    assert found is not None
    assert asdict(found) == pytest.approx(asdict(expected))
    assert "(5 runs of 2 sets of values; in one set more a seed diverged)" in seeds.caution(found)


def test_seeds_that_still_run_say_nothing_yet() -> None:
    found = seeds.spread([run("a", 0, 1.0), run("a", 1, None)])
    assert found is not None
    assert found.deviation is None
    assert seeds.caution(found) == seeds.UNKNOWN
    assert "not measured here" in seeds.limit(found)


def test_values_beyond_all_bounds_have_a_spread_too() -> None:
    found = seeds.spread([run("a", 0, 1e200), run("a", 1, 1.0)])
    assert found is not None
    assert found.deviation == pytest.approx(1e200 / 2**0.5)
