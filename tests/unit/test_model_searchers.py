"""What searchers with a model make of what happens: `gp`, `tpe`, `bohb` and `auto` alike."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tests.support.searchers import LEARNING
from tests.support.searches import PLANE, distance, history, late_mean, resolved, state_of
from tests.support.simulated import MemoryJournal, Simulation, searched
from tune_app import plugins
from tune_app.core.ports import Searcher
from tune_app.core.state import StudyState, rebuild
from tune_app.core.trial import Outcome
from tune_app.searchers import _gaussian_process, auto, bohb, gp
from tune_app.space.domains import Choice, Float, Int, Space, contains, identity

LIKE_GP = ("gp", "tpe", "auto")
"""Those that know of pending trials, of memory and of priors."""
LINE: Space = {"x": Float(0.0, 1.0)}
Told = tuple[Mapping[str, Any], float | None, str | None]


def create(name: str, space: Space, seed: int = 0) -> Searcher:
    made: Searcher = plugins.load("searcher", name).create(space, seed)
    return made


def suggestions(name: str, space: Space, state: StudyState, seeds: int = 20) -> list[Any]:
    """What is asked for next, by seed."""
    found = [create(name, space, seed).suggest(state, 60) for seed in range(seeds)]
    return [params for params in found if params is not None]


def line(x: float, value: float | None, outcome: str | None = "completed") -> Told:
    return {"x": x}, value, outcome


@pytest.mark.parametrize("name", LEARNING)
def test_a_model_comes_nearer_to_the_optimum_than_random_draws(name: str) -> None:
    model = [late_mean(name, seed) for seed in range(2)]
    draws = [late_mean("random", seed) for seed in range(2)]
    assert sum(model) < 0.75 * sum(draws)


@pytest.mark.parametrize("name", LEARNING)
def test_a_model_maximises_where_that_is_the_goal(name: str) -> None:
    metric = {"name": "final_eval_loss", "goal": "maximize"}
    study = resolved(PLANE, trials=36, searcher=name, scheduler={"name": "fifo"}, metric=metric)
    state = Simulation(study, curve=lambda params, step: -distance(params)).run()
    late = [distance(trial.params) for trial in searched(state)][24:]
    # A third of the draws of bohb is random, at 0.4 on average.
    assert np.median(late) < (0.35 if name == "bohb" else 0.15)


@pytest.mark.parametrize("name", LEARNING)
def test_where_trials_diverge_no_more_are_sent(name: str) -> None:
    """Half of the line diverges; the rest is flat, so that nothing else speaks for a place."""
    good = [line(0.025 * i, 1.0) for i in range(1, 20)]
    bad = [line(0.5 + 0.025 * i, None, "diverged") for i in range(1, 20)]
    asked = suggestions(name, LINE, state_of(LINE, *good, *bad))
    safe = sum(params["x"] < 0.55 for params in asked)
    # A third of the draws of bohb is random.
    assert safe >= (12 if name == "bohb" else 16)


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("last", [None, "diverged"])
def test_a_slope_that_ends_in_divergence_is_followed_to_its_edge(
    name: str, last: str | None
) -> None:
    """As of learning rates: the larger the better, until it is too large."""
    good = [line(0.03 * i, 2.0 - 0.03 * i) for i in range(1, 20)]
    bad = [line(x, None, last) for x in (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0) if last]
    asked = [params["x"] for params in suggestions(name, LINE, state_of(LINE, *good, *bad))]
    assert np.median(asked) > 0.4
    if last:
        assert np.median(asked) < 0.7


@pytest.mark.parametrize("name", LIKE_GP)
def test_where_memory_did_not_suffice_no_more_are_sent(name: str) -> None:
    """The best values lie towards what does not fit."""
    good = [line(0.025 * i, 2 - 0.025 * i) for i in range(1, 20)]
    bad = [line(0.525 + 0.05 * i, None, "out_of_memory") for i in range(10)]
    asked = suggestions(name, LINE, state_of(LINE, *good, *bad))
    drawn = suggestions(name, LINE, state_of(LINE, *good))
    beyond, tempted = (sum(p["x"] > 0.55 for p in those) for those in (asked, drawn))
    assert beyond <= 5
    assert beyond < tempted


@pytest.mark.parametrize("name", ["gp", "tpe"])
def test_what_does_not_fit_is_learnt_before_many_trials_have_a_value(name: str) -> None:
    good = [line(x, 1.0) for x in (0.1, 0.3)]
    bad = [line(0.4 + 0.05 * i, None, "out_of_memory") for i in range(12)]
    asked = suggestions(name, LINE, state_of(LINE, *good, *bad))
    assert sum(params["x"] < 0.4 for params in asked) >= 16


def test_bohb_counts_what_does_not_fit_in_memory_among_the_bad_trials() -> None:
    """Good places lie so far apart that their wide kernels lead it to one end."""
    good = [line(x + 0.01 * i, 0.01 * i) for i in range(6) for x in (0.18, 0.78)]
    usual = [line(0.05 * i, 1.0) for i in range(20)]
    full = [line(0.9 + 0.01 * i, None, "out_of_memory") for i in range(11)]
    drawn = suggestions("bohb", LINE, state_of(LINE, *good, *usual))
    asked = suggestions("bohb", LINE, state_of(LINE, *good, *usual, *full))
    before, after = (sum(p["x"] >= 0.9 for p in those) for those in (drawn, asked))
    # A third of the draws is random.
    assert after <= 3 < 10 <= before


@pytest.mark.parametrize("name", LEARNING)
def test_a_study_in_which_nothing_fits_goes_on(name: str) -> None:
    bad = [line(0.04 * i, None, "out_of_memory") for i in range(1, 20)]
    assert create(name, LINE).suggest(state_of(LINE, *bad), 30) is not None
    lost = [line(0.04 * i, None, "diverged") for i in range(1, 20)]
    assert create(name, LINE).suggest(state_of(LINE, *lost), 30) is not None


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.LOST, Outcome.CANCELLED])
@pytest.mark.parametrize("value", [None, 0.0])
def test_an_end_that_says_nothing_of_the_values_moves_no_model(
    name: str, outcome: Outcome, value: float | None
) -> None:
    before = create(name, PLANE).suggest(state_of(PLANE, *history()), 40)
    extra = [({"x": 0.95 - i / 100, "y": 0.05}, value, outcome.value) for i in range(6)]
    assert create(name, PLANE).suggest(state_of(PLANE, *history(), *extra), 40) == before


@pytest.mark.parametrize("name", LIKE_GP)
def test_workers_that_ask_at_once_are_sent_to_different_places(name: str) -> None:
    """Eight trials run and none has reported: the ninth keeps away from them."""
    seen = [({"x": x / 5 + 0.1, "y": y / 5 + 0.1}, None) for x in range(5) for y in range(5)]
    state = state_of(PLANE, *[(params, distance(params), "completed") for params, _ in seen])
    asked: list[dict[str, Any]] = []
    for number in range(25, 33):
        running = [(params, None, None) for params in asked]
        known = [(params, distance(params), "completed") for params, _ in seen]
        params = create(name, PLANE).suggest(state_of(PLANE, *known, *running), number)
        assert params is not None
        asked.append(params)
    alone = [create(name, PLANE).suggest(state, number) for number in range(25, 33)]
    assert _closest(asked) > 0.3 * _closest([params for params in alone if params])
    assert _closest(asked) > 1e-3
    assert np.mean([distance(params) for params in asked]) < 0.25


def _closest(asked: list[dict[str, Any]]) -> float:
    points = np.array([[params["x"], params["y"]] for params in asked])
    apart = np.abs(points[:, None] - points[None, :]).sum(axis=2)
    return float(apart[np.triu_indices(len(points), 1)].min())


@pytest.mark.parametrize("name", LIKE_GP)
def test_of_two_places_that_promise_as_much_the_one_without_trials_is_taken(name: str) -> None:
    known = [line(0.1 * i, min(abs(0.1 * i - 0.2), abs(0.1 * i - 0.8))) for i in range(11)]
    crowd = [line(0.8 + 0.01 * i, None, None) for i in range(-5, 6)]
    alone = suggestions(name, LINE, state_of(LINE, *known))
    crowded = suggestions(name, LINE, state_of(LINE, *known, *crowd))
    near = [sum(abs(p["x"] - 0.8) < 0.06 for p in those) for those in (alone, crowded)]
    assert near[1] < near[0]


RIGHT = {"x": {"value": 0.2, "width": 0.1}, "y": {"value": 0.7, "width": 0.1}}
WRONG = {"x": {"value": 0.95, "width": 0.05}, "y": {"value": 0.05, "width": 0.05}}


def distances(name: str, prior: dict[str, Any], seed: int = 0, trials: int = 50) -> list[float]:
    """Of each trial from the best point, in their order."""
    study = resolved(
        PLANE, trials=trials, searcher=name, scheduler={"name": "fifo"}, prior=prior, seed=seed
    )
    state = Simulation(study, curve=distance).run()
    return [distance(trial.params) for trial in searched(state)]


@pytest.mark.parametrize("name", LIKE_GP)
def test_a_prior_is_followed_at_first_and_on_if_it_is_right(name: str) -> None:
    first = [distances(name, RIGHT, seed, trials=1)[0] for seed in range(12)]
    assert np.median(first) < 0.2
    right = [found for seed in range(8) for found in distances(name, RIGHT, seed, trials=12)]
    wrong = [found for seed in range(8) for found in distances(name, WRONG, seed, trials=12)]
    assert np.mean(right) < 0.75 * np.mean(wrong)


@pytest.mark.parametrize("name", LIKE_GP)
def test_a_wrong_prior_is_outgrown(name: str) -> None:
    assert np.median([np.median(distances(name, WRONG, seed)[38:]) for seed in range(2)]) < 0.15


@pytest.mark.parametrize("name", LEARNING)
def test_a_model_learns_on_what_a_tight_constraint_leaves(name: str) -> None:
    """A thousandth of the plane: what is drawn around a good trial is nearly never allowed."""
    space: Space = {"x": Float(0.0, 1.0), "y": Float(0.0, 1.0), "z": Float(0.0, 1.0)}
    constraints = {"constraints": ["abs(x - y) < 0.0005"]}

    def late(searcher: str) -> float:
        means = [
            late_mean(searcher, seed, space, lambda p, step: abs(p["z"] - 0.3), **constraints)
            for seed in range(2)
        ]
        return sum(means)

    assert late(name) < 0.7 * late("random")


@pytest.mark.parametrize("name", LEARNING)
def test_a_model_stays_within_constraints_and_learns_at_their_edge(name: str) -> None:
    study = resolved(
        PLANE,
        trials=36,
        searcher=name,
        scheduler={"name": "fifo"},
        constraints=["x + y <= 0.5"],
    )
    state = Simulation(study, curve=distance).run()
    proposed = [trial.params for trial in searched(state)]
    assert all(params["x"] + params["y"] <= 0.5 for params in proposed)
    late = [distance(params) - 0.08 for params in proposed[24:]]
    assert np.median(late) < 0.12


@pytest.mark.parametrize("name", LEARNING)
def test_a_model_learns_of_parameters_that_count_sometimes_only(name: str) -> None:
    space: Space = {"kind": Choice(("a", "b")), "x": Float(0.0, 1.0), "y": Float(0.0, 1.0)}

    def curve(params: Mapping[str, Any], step: int) -> float:
        assert len(params) == 2
        if params["kind"] == "a":
            return float((params["x"] - 0.2) ** 2)
        return float(0.3 + (params["y"] - 0.7) ** 2)

    when = {"x": "kind == 'a'", "y": "kind == 'b'"}
    study = resolved(space, trials=40, searcher=name, scheduler={"name": "fifo"}, when=when)
    state = Simulation(study, curve=curve).run()
    late = [trial.params["kind"] for trial in searched(state)][25:]
    assert late.count("a") > len(late) / 2


@pytest.mark.parametrize("name", LEARNING)
def test_the_same_arrivals_are_answered_alike_with_several_workers(name: str) -> None:
    """Also by searchers made anew, as after a crash: nothing hangs on what was asked before."""
    study = resolved(PLANE, trials=24, searcher=name, seed=7, scheduler={"name": "asha"})
    one, other = (Simulation(study, workers=4, curve=distance) for _ in range(2))
    one.run()
    other.run()
    assert one.events == other.events
    for count in (len(one.events) // 2, len(one.events) - 3):
        state = rebuild(one.events[:count])
        number = len(state.trials)
        anew = create(name, PLANE, seed=7)
        assert anew.suggest(state, number) == create(name, PLANE, seed=7).suggest(state, number)


@pytest.mark.parametrize("name", LEARNING)
def test_the_space_may_have_weights_steps_and_words(name: str) -> None:
    space: Space = {
        "optim": Choice(("a", "b", "c"), (0.8, 0.1, 0.1)),
        "batch": Choice((16, 32, 64, 128)),
        "dropout": Float(0.0, 0.5, step=0.1),
    }

    def curve(params: Mapping[str, Any], step: int) -> float:
        size = abs(math.log2(params["batch"]) - 6)
        return float((params["optim"] != "b") + size + params["dropout"])

    study = resolved(space, trials=40, searcher=name, scheduler={"name": "fifo"})
    proposed = [t.params for t in searched(Simulation(study, curve=curve).run())]
    assert all(contains(space[key], value) for p in proposed for key, value in p.items())
    assert min(curve(params, 1) for params in proposed) == 0.0


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("huge", [1e30, -1e30])
def test_huge_values_break_no_model(name: str, huge: float) -> None:
    trials = [*history(), ({"x": 0.5, "y": 0.5}, huge, "completed")]
    params = create(name, PLANE).suggest(state_of(PLANE, *trials), 40)
    assert params is not None
    assert all(math.isfinite(value) for value in params.values())


def test_auto_hands_over_once_trials_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    state = state_of(PLANE, *history())
    searcher = create("auto", PLANE)
    assert searcher.suggest(state, 30) == create("gp", PLANE).suggest(state, 30)
    monkeypatch.setattr(auto, "HANDOVER", 20)
    assert create("auto", PLANE).suggest(state, 30) == create("tpe", PLANE).suggest(state, 30)


def test_a_gp_hands_over_where_its_cost_would_grow_too_large() -> None:
    state = state_of(PLANE, *history())
    asked, later = (create(name, PLANE).suggest(state, gp.HANDOVER) for name in ("gp", "tpe"))
    assert asked == later
    before = create("gp", PLANE).suggest(state, gp.HANDOVER - 1)
    assert before != create("tpe", PLANE).suggest(state, gp.HANDOVER - 1)


def test_a_gp_fits_its_kernels_once_while_nothing_new_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two kernels: of losses, and of where memory sufficed."""
    fits, fit = [], _gaussian_process.fit

    def counted(*data: Any) -> Any:
        fits.append(data)
        return fit(*data)

    monkeypatch.setattr(_gaussian_process, "fit", counted)
    full = [({"x": 0.9, "y": 0.1 * i}, None, "out_of_memory") for i in range(3)]
    searcher, state = create("gp", PLANE), state_of(PLANE, *history(), *full)
    asked = [searcher.suggest(state, number) for number in range(20, 24)]
    assert len(fits) == 2
    assert asked[-1] == create("gp", PLANE).suggest(state, 23)


def test_a_gp_learns_from_trials_that_were_stopped_early() -> None:
    """All that is known of the better half comes from the lowest rung."""
    journal = MemoryJournal()
    journal.append("study_started", study=resolved(LINE, rungs=3))
    for number in range(20):
        name, x = f"{number:04d}", number / 19
        journal.append("trial_created", trial=name, number=number, kind="search", params={"x": x})
        spent = {"step": 2, "tokens": 20, "fraction": 1 / 9, "seconds": 1.0}
        metrics = {"eval_loss": abs(x - 0.8)}
        journal.append("report", trial=name, **spent, metrics=metrics, rung=0, checkpoint=None)
        journal.append("trial_ended", trial=name, outcome="stopped")
    state = rebuild(journal.events)
    for name in LEARNING:
        asked = [params["x"] for params in suggestions(name, LINE, state)]
        assert np.median(np.abs(np.array(asked) - 0.8)) < 0.25, name


def test_bohb_widens_choices_by_the_spread_of_their_indexes() -> None:
    space: Space = {"x": Float(0, 1), "optim": Choice(("a", "b", "c"))}
    runs = [({"x": 0.05 * n, "optim": "abc"[n % 3]}, float(n), "completed") for n in range(20)]
    state = state_of(space, *runs)
    searcher = bohb.create(space, 0)
    densities = searcher._densities(
        searcher._observations.read(state, state.definition.constraints)
    )
    assert densities is not None
    indexes = [n % 3 for n in range(3, 20)]
    reference = 1.06 * np.std(indexes) * len(indexes) ** (-1 / 6)
    assert densities[1].widths[1] == pytest.approx(reference)


SEEDED: Space = {**PLANE, "seed": Choice((0, 1, 2, 3))}


def seeded(seeds: Callable[[int], int], bad: int | None = None) -> StudyState:
    """A history whose seeds are given by number; with a `bad` one all are bad."""
    trials = [
        ({**params, "seed": seeds(number)}, value + 5 * (seeds(number) == bad), end)
        for number, (params, value, end) in enumerate(history(40))
    ]
    return state_of(SEEDED, *trials)


@pytest.mark.parametrize("name", LEARNING)
def test_no_model_chooses_by_the_seed_or_learns_from_it(name: str) -> None:
    searcher = create(name, SEEDED)
    one = [searcher.suggest(seeded(lambda n: n % 4), number) for number in range(50, 58)]
    other = [create(name, SEEDED).suggest(seeded(lambda n: 0), n) for n in range(50, 58)]
    known = [params for params in one if params is not None]
    assert one == other
    assert all(params.keys() == {"x", "y", "seed"} for params in known)


@pytest.mark.parametrize("name", LEARNING)
def test_seeds_that_were_good_are_proposed_no_more_often_than_others(name: str) -> None:
    state = seeded(lambda n: n % 2, bad=1)
    proposed = [create(name, SEEDED).suggest(state, number) for number in range(50, 130)]
    counts = Counter(params["seed"] for params in proposed if params is not None)
    assert min(counts[seed] for seed in range(4)) >= 8


@pytest.mark.parametrize("name", LEARNING)
def test_values_may_depend_on_the_seed(name: str) -> None:
    space: Space = {
        "extra": Float(0.0, 1.0),
        "x": Float(0.0, 1.0),
        "seed": Choice((0, 1, 2)),
        "kind": Choice(("a", "b")),
    }
    rules = {
        "when": {"extra": "seed == 1", "seed": "kind == 'a'"},
        "constraints": ["seed != 2 or x < 0.5"],
    }
    study = resolved(space, trials=60, searcher=name, scheduler={"name": "fifo"}, **rules)
    state = Simulation(study, curve=lambda params, step: params["x"]).run()
    constraints = state.definition.constraints
    proposed = [trial.params for trial in state.trials.values()]
    assert len({identity(params) for params in proposed}) == len(proposed) == 60
    for params in proposed:
        assert constraints.allows(params)
        assert ("seed" in params) == (params["kind"] == "a")
        assert ("extra" in params) == (params.get("seed") == 1)
    assert {params.get("seed") for params in proposed[30:]} == {None, 0, 1, 2}


@pytest.mark.parametrize("name", LEARNING)
def test_a_model_proposes_the_best_values_again_with_another_seed(name: str) -> None:
    """Of a space of choices, the best one is repeated more often than chance would."""
    space: Space = {"kind": Choice(tuple("abcdefgh")), "seed": Int(0, 10_000)}
    study = resolved(space, trials=80, searcher=name, scheduler={"name": "fifo"})

    def curve(params: Mapping[str, Any], step: int) -> float:
        return "abcdefgh".index(params["kind"]) + float(params["seed"]) / 10_000

    state = Simulation(study, curve=curve).run()
    late = [trial.params["kind"] for trial in state.trials.values()][40:]
    # A third of the draws of bohb is random.
    assert late.count("a") >= (12 if name == "bohb" else 20)
