"""ASHA against an account of the paper's rule kept here, apart from its own code."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.simulated import (
    Curve,
    Simulation,
    context,
    crossing,
    document,
    searched,
    sometimes_diverging,
)
from tune_app.core.journal import Event
from tune_app.core.state import StudyState
from tune_app.core.trial import Kind, Outcome, Status, TrialState
from tune_app.errors import UserError
from tune_app.schedulers import asha


@dataclass(frozen=True, slots=True)
class Promotion:
    """A trial runs on beyond `rung`, where it was number `rank` (from 0) of `reached`."""

    trial: str
    rung: int
    rank: int
    reached: int
    last_resort: bool
    """Nothing ran, no searched trial had completed, and no trial was left to start."""


def promotions(events: list[Event]) -> Iterator[Promotion]:
    """All promotions of a study, from its journal alone."""
    state = StudyState()
    for event in events:
        trial = state.trials.get(event.get("trial", ""))
        if trial is not None and trial.kind is Kind.SEARCH and _is_promotion(event, trial):
            yield _promotion(state, trial)
        state.apply(event)


def _is_promotion(event: Event, trial: TrialState) -> bool:
    if event["event"] == "segment_started":
        return trial.top_rung is not None and not trial.due
    return bool(event["event"] == "decision" and event["decision"] == "continue")


def _promotion(state: StudyState, trial: TrialState) -> Promotion:
    rung = trial.top_rung
    assert rung is not None
    others = searched(state)
    values = sorted(
        (state.sign * other.rung_values[rung], other.number)
        for other in others
        if rung in other.rung_values
    )
    idle = not state.with_status(Status.RUNNING)
    none_done = all(other.outcome is not Outcome.COMPLETED for other in others)
    none_left = len(state.trials) == state.definition.budget.trials
    rank = values.index((state.sign * trial.rung_values[rung], trial.number))
    last_resort = idle and none_done and none_left
    return Promotion(trial.id, rung, rank, len(values), last_resort)


class WithoutHopeless(asha.Asha):
    """ASHA that lets the hopeless wait to the end."""

    def hopeless(self, state: StudyState) -> list[TrialState]:
        return []


def variety(seed: int) -> dict[str, Any]:
    goal = {"name": "final_eval_loss", "goal": "maximize" if seed % 7 == 0 else "minimize"}
    return document(
        seed=seed, trials=1 + seed * 7 % 30, eta=2 + seed % 3, rungs=1 + seed // 3 % 4, metric=goal
    )


@pytest.mark.parametrize("curve", [crossing, sometimes_diverging])
@pytest.mark.parametrize("seed", range(60))
def test_only_the_best_one_in_eta_are_promoted(seed: int, curve: Curve) -> None:
    resolved = variety(seed)
    workers = 1 + seed // 2 % 4
    simulation = Simulation(resolved, workers=workers, curve=curve, death=0.03, seed=seed)
    simulation.run()
    eta = resolved["scheduler"]["eta"]
    for promotion in promotions(simulation.events):
        within = promotion.rank < promotion.reached // eta
        assert within or promotion.last_resort, promotion


@pytest.mark.parametrize("curve", [crossing, sometimes_diverging])
@pytest.mark.parametrize("seed", range(60))
def test_ending_the_hopeless_early_changes_nothing_else(seed: int, curve: Curve) -> None:
    resolved = variety(seed)
    options = {key: value for key, value in resolved["scheduler"].items() if key != "name"}
    early = Simulation(resolved, curve=curve)
    late = Simulation(resolved, curve=curve, scheduler=WithoutHopeless(**options))
    one, other = early.run(), late.run()
    assert [trial.id for trial in one.completed()] == [trial.id for trial in other.completed()]
    assert list(promotions(early.events)) == list(promotions(late.events))


def test_the_hopeless_end_before_the_study_does() -> None:
    simulation = Simulation(document(trials=20))
    simulation.run()
    reasons = [event["reason"] for event in simulation.events if event["event"] == "trial_ended"]
    assert any(reason.startswith("too far behind") for reason in reasons)


def test_the_highest_rung_is_filled_before_new_trials_are_started() -> None:
    simulation = Simulation(document(trials=30, baseline=False))
    simulation.run()
    promoted = [event["trial"] for event in simulation.events if event["event"] == "decision"]
    created = [event["trial"] for event in simulation.events if event["event"] == "trial_created"]
    assert len(set(promoted)) == len(created) == 30
    first = next(promotions(simulation.events))
    assert first.reached == 3, "the third trial at a rung makes the best of them promotable"


def test_many_trials_spend_far_less_than_their_full_budgets() -> None:
    state = Simulation(document(trials=27, baseline=False)).run()
    spent = sum(trial.fraction for trial in state.trials.values())
    assert spent < 27 * 0.5
    assert len(state.completed()) >= 3


def test_equal_values_are_ranked_by_number() -> None:
    simulation = Simulation(document(trials=9, baseline=False), curve=lambda params, step: 1.0)
    state = simulation.run()
    assert [trial.id for trial in state.completed()] == ["0000"]


def test_a_trial_that_diverges_after_its_promotion_does_not_end_the_search() -> None:
    best = 0.5
    resolved = document(trials=2, baseline=False)

    def curve(params: Any, step: int) -> float:
        value = abs(params["x"] - best)
        leads = value == min(abs(x - best) for x in proposed)
        return math.nan if step > 8 and leads else 1 + value

    proposed = [trial.params["x"] for trial in Simulation(resolved).run().trials.values()]
    state = Simulation(resolved, curve=curve).run()
    outcomes = {trial.outcome for trial in state.trials.values()}
    assert outcomes == {Outcome.DIVERGED, Outcome.COMPLETED}


def test_the_baseline_takes_no_place_at_a_rung() -> None:
    simulation = Simulation(document(trials=4, eta=3))
    simulation.run()
    first = next(promotions(simulation.events))
    assert first.reached == 3
    assert all(event["trial"] != "0000" for event in simulation.events if "decision" in event)


@pytest.mark.parametrize(
    ("eta", "rungs", "shares"),
    [(3, 3, (1 / 9, 1 / 3, 1.0)), (2, 2, (0.5, 1.0)), (4, 1, (1.0,)), (1.5, 2, (1 / 1.5, 1.0))],
)
def test_rungs_are_shares_that_end_with_the_whole_budget(
    eta: float, rungs: int, shares: tuple[float, ...]
) -> None:
    assert asha.create(context(), eta=eta, rungs=rungs).rungs == pytest.approx(shares)


@pytest.mark.parametrize("eta", [1, 0, -3, 1.0, math.nan, math.inf, 10**400, "3", None, True])
def test_a_reduction_factor_that_makes_no_ladder_is_refused(eta: Any) -> None:
    with pytest.raises(UserError, match="reduction factor"):
        asha.create(context(), eta=eta)


@pytest.mark.parametrize("rungs", [0, -1, 11, 2.0, "3", None, True])
def test_a_number_of_rungs_that_makes_no_ladder_is_refused(rungs: Any) -> None:
    with pytest.raises(UserError, match="rungs"):
        asha.create(context(), rungs=rungs)


def test_both_mistakes_are_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        asha.create(context(), eta=0, rungs=0)
    assert len(caught.value.problems) == 2
