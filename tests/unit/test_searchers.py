"""What is particular to each searcher; tests/contracts holds all of them to what they share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.searches import PLANE, distance, history, late_mean, report, resolved, state_of
from tests.support.simulated import MemoryJournal, Simulation, searched
from tune_app.core.state import rebuild
from tune_app.core.trial import Outcome
from tune_app.errors import UserError
from tune_app.searchers import _tried, grid, tpe
from tune_app.searchers import random as random_search
from tune_app.space.domains import Choice, Fixed, Float, Int, Space, identity


def test_tpe_comes_nearer_to_the_optimum_than_random_draws() -> None:
    seeds = range(4)
    model = [late_mean("tpe", seed) for seed in seeds]
    draws = [late_mean("random", seed) for seed in seeds]
    assert sum(model) < 0.6 * sum(draws)


def test_tpe_learns_at_the_edge_of_what_constraints_allow() -> None:
    """The best values of all are forbidden; the best that are allowed are 0.08 away."""
    below = ["x + y <= 0.5"]
    model = [late_mean("tpe", seed, constraints=below) - 0.08 for seed in range(3)]
    draws = [late_mean("random", seed, constraints=below) - 0.08 for seed in range(3)]
    assert sum(model) < 0.75 * sum(draws)


def test_tpe_learns_of_parameters_that_count_sometimes_only() -> None:
    space: Space = {"kind": Choice(("a", "b")), "x": Float(0.0, 1.0), "y": Float(0.0, 1.0)}

    def curve(params: Mapping[str, Any], step: int) -> float:
        assert len(params) == 2
        if params["kind"] == "a":
            return float((params["x"] - 0.2) ** 2)
        return float(0.05 + (params["y"] - 0.7) ** 2)

    when = {"x": "kind == 'a'", "y": "kind == 'b'"}
    model = [late_mean("tpe", seed, space, curve, when=when) for seed in range(3)]
    draws = [late_mean("random", seed, space, curve, when=when) for seed in range(3)]
    assert sum(model) < 0.5 * sum(draws)


def test_tpe_maximises_where_that_is_the_goal() -> None:
    metric = {"name": "final_eval_loss", "goal": "maximize"}
    study = resolved(PLANE, trials=40, searcher="tpe", scheduler={"name": "fifo"}, metric=metric)
    state = Simulation(study, curve=lambda params, step: -distance(params)).run()
    late = [distance(trial.params) for trial in searched(state)][25:]
    assert sum(late) / len(late) < 0.15


SILENT = [Outcome.FAILED, Outcome.LOST, Outcome.CANCELLED]


@pytest.mark.parametrize("outcome", SILENT)
@pytest.mark.parametrize("value", [None, 0.0])
def test_an_end_that_says_nothing_of_the_values_does_not_move_tpe(
    outcome: Outcome, value: float | None
) -> None:
    searcher = tpe.create(PLANE, seed=0, startup=5)
    before = searcher.suggest(state_of(PLANE, *history()), 20)
    extra = [({"x": 0.95 - i / 100, "y": 0.05}, value, outcome.value) for i in range(6)]
    assert searcher.suggest(state_of(PLANE, *history(), *extra), 20) == before


@pytest.mark.parametrize("outcome", [Outcome.DIVERGED, Outcome.COMPLETED])
def test_an_end_that_says_something_does(outcome: Outcome) -> None:
    searcher = tpe.create(PLANE, seed=0, startup=5)
    before = searcher.suggest(state_of(PLANE, *history()), 20)
    value = 0.0 if outcome is Outcome.COMPLETED else None
    extra = [({"x": 0.25, "y": 0.6}, value, outcome.value)]
    assert searcher.suggest(state_of(PLANE, *history(), *extra), 20) != before


def test_silent_trials_do_not_lift_the_rung_of_the_model() -> None:
    """A rung counts as filled by trials that say something only."""
    searcher = tpe.create(PLANE, seed=0, startup=3)
    journal = MemoryJournal()
    journal.append("study_started", study=resolved(PLANE, rungs=2))
    for number, (params, value, _) in enumerate(history()):
        name = f"{number:04d}"
        journal.append(
            "trial_created", trial=name, number=number, kind="search", params=dict(params)
        )
        journal.append("report", trial=name, **report(value))
        journal.append("trial_ended", trial=name, outcome="stopped")
    before = searcher.suggest(rebuild(journal.events), 50)
    for number in range(20, 26):
        name = f"{number:04d}"
        params = {"x": number / 30, "y": 0.5}
        journal.append("trial_created", trial=name, number=number, kind="search", params=params)
        journal.append("report", trial=name, **{**report(0.0), "rung": 1})
        journal.append("trial_ended", trial=name, outcome="lost")
    assert searcher.suggest(rebuild(journal.events), 50) == before


def test_diverged_trials_push_tpe_away() -> None:
    """Half of the line diverges; the rest is flat, so that nothing else speaks for a place."""
    line: Space = {"x": Float(0.0, 1.0)}
    good = [({"x": 0.025 * i}, 1.0, "completed") for i in range(1, 20)]
    bad = [({"x": 0.5 + 0.025 * i}, None, "diverged") for i in range(1, 20)]
    asked = [
        tpe.create(line, seed=seed, startup=5).suggest(state_of(line, *good, *bad), 50)
        for seed in range(20)
    ]
    safe = sum(params["x"] < 0.55 for params in asked if params is not None)
    assert safe >= 16


def test_tpe_can_be_asked_while_a_trial_has_just_reported_nan() -> None:
    nan: Any = float("nan")
    state = state_of(PLANE, *history(), ({"x": 0.5, "y": 0.5}, nan, None))
    assert tpe.create(PLANE, seed=0, startup=3).suggest(state, 30) is not None


def test_trials_outside_of_the_space_are_passed_over() -> None:
    """A choice that was dropped on a resume, or a baseline beyond the range."""
    searcher = tpe.create(PLANE, seed=0, startup=3)
    before = searcher.suggest(state_of(PLANE, *history()), 30)
    foreign = [({"x": 7.0, "y": 0.5}, 0.0, "completed"), ({"x": 0.5}, 0.0, "completed")]
    assert searcher.suggest(state_of(PLANE, *history(), *foreign), 30) == before


def test_tpe_tries_all_of_a_small_space_before_it_gives_up() -> None:
    space: Space = {"a": Int(1, 5), "b": Choice(("x", "y", "z"))}
    study = resolved(space, trials=40, searcher="tpe", scheduler={"name": "fifo"})
    state = Simulation(study, curve=lambda params, step: abs(params["a"] - 3) + 1.0).run()
    assert len(state.trials) == 15


def test_weighted_draws_follow_their_weights() -> None:
    space: Space = {"a": Choice(("x", "y"), (0.9, 0.1)), "b": Float(0.0, 1.0)}
    searcher = random_search.create(space, seed=0)
    asked = [searcher.suggest(state_of(space), number) for number in range(300)]
    assert 250 < sum(params["a"] == "x" for params in asked if params is not None) < 290


def test_a_grid_goes_through_all_combinations_in_the_order_of_the_file() -> None:
    space: Space = {"a": Choice(("x", "y")), "n": Fixed(0), "b": Float(0.0, 0.5, step=0.25)}
    study = resolved(space, trials=20, searcher="grid", scheduler={"name": "fifo"})
    state = Simulation(study, curve=lambda params, step: 1.0).run()
    asked = [(trial.params["a"], trial.params["b"]) for trial in state.trials.values()]
    assert asked == [(a, b) for a in ("x", "y") for b in (0.0, 0.25, 0.5)]


def test_a_grid_names_every_parameter_that_it_cannot_list() -> None:
    space: Space = {"a": Float(0.0, 1.0), "b": Int(1, 3), "c": Int(0, 2**50)}
    with pytest.raises(UserError) as caught:
        grid.create(space, seed=0)
    assert [problem.where for problem in caught.value.problems] == ["parameters.a", "parameters.c"]


@pytest.mark.parametrize("startup", [0, -1, 2.0, "3", None, True])
def test_a_number_of_startup_trials_that_makes_no_sense_is_refused(startup: Any) -> None:
    with pytest.raises(UserError, match="startup trials"):
        tpe.create(PLANE, seed=0, startup=startup)


def test_random_streams_depend_on_all_of_their_parts() -> None:
    streams = {_tried.stream(*parts) for parts in [(0, "a", 1), (0, "a", 2), (1, "a", 1)]}
    assert len(streams) == 3
    assert all(0 <= stream < 2**32 for stream in streams)
    assert _tried.stream(0, "tpe", 1) == 3466703530


def test_what_was_tried_is_known_by_value_and_type_whatever_the_order() -> None:
    space: Space = {"a": Choice((1, 1.0, True)), "n": Fixed("x")}
    seen = _tried.Seen(space)(state_of(space, ({"a": 1}, None, None)))
    assert not _tried.is_new({"n": "x", "a": 1}, space, seen)
    assert _tried.is_new({"a": 1.0}, space, seen)
    assert _tried.is_new({"a": True}, space, seen)
    assert json.loads(next(iter(seen))) == {"a": 1, "n": "x"}
    first = _tried.first_untried(space, seen)
    assert first is not None
    assert identity(first) == identity({"a": 1.0})
