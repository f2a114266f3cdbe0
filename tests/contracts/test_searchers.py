"""Every searcher that is found keeps the contract of `tune_app.core.ports.Searcher`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.support.simulated import Curve, Simulation, document, sometimes_diverging
from tune_app import plugins
from tune_app.core.definition import StudyDefinition
from tune_app.core.ports import Searcher
from tune_app.core.state import rebuild
from tune_app.errors import UserError
from tune_app.plugins import make
from tune_app.space.domains import (
    Choice,
    Drawn,
    Fixed,
    Float,
    Int,
    Space,
    contains,
    identity,
    searched,
    to_document,
)

MIXED = (1, 1.0, True, "1", None)
FINITE: Space = {
    "a": Choice(MIXED),
    "b": Int(1, 9, step=4),
    "c": Float(0.0, 0.3, step=0.1),
    "d": Choice(([1, 2], {"k": None})),
    "e": Fixed("constant"),
}
OPEN: Space = {
    "lr": Float(1e-5, 1e-1, log=True),
    "q": Float(0.05, 0.9, log=True, step=0.05),
    "n": Int(1, 1000, log=True),
    "m": Int(8, 512, log=True, step=8),
    "bell": Drawn("normal", 0.0, 2.0),
    "positive": Drawn("log_normal", -3.0, 1.0),
    "share": Drawn("beta", 1.0, 5.0),
    "rounded": Drawn("log_uniform", 3.0, 300.0, 8),
    **FINITE,
}
NAMES = plugins.names("searcher")


def resolved(name: str, space: Space, trials: int, **changes: Any) -> dict[str, Any]:
    parameters = {key: to_document(domain) for key, domain in space.items()}
    return document(searcher=name, parameters=parameters, trials=trials, baseline=False, **changes)


def spaces(name: str) -> list[Space]:
    """The spaces that a searcher takes; the finite one is for all of them."""
    try:
        plugins.load("searcher", name).create(OPEN, 0)
    except UserError:
        return [FINITE]
    return [FINITE, OPEN]


@pytest.mark.parametrize("name", NAMES)
def test_suggestions_are_new_inside_the_space_and_keep_their_types(name: str) -> None:
    for space in spaces(name):
        study = resolved(name, space, trials=25, seed=3)
        state = Simulation(study, workers=3, curve=sometimes_diverging).run()
        proposed = [trial.params for trial in state.trials.values()]
        assert len({identity(params) for params in proposed}) == len(proposed) == 25
        for params in proposed:
            assert params.keys() == searched(space).keys()
            for key, domain in searched(space).items():
                assert contains(domain, params[key]), (key, params[key])
                if isinstance(domain, (Int, Float)):
                    assert type(params[key]) is (int if isinstance(domain, Int) else float)


@pytest.mark.parametrize("name", NAMES)
def test_a_finite_space_is_proposed_as_a_whole_and_then_nothing(name: str) -> None:
    space: Space = {"a": Choice(MIXED), "b": Int(1, 2), "f": Fixed(0)}
    state = Simulation(resolved(name, space, trials=30), workers=2).run()
    assert len(state.trials) == 10
    searcher: Searcher = plugins.load("searcher", name).create(space, 0)
    assert searcher.suggest(state, 10) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_space_with_seeds_is_proposed_as_a_whole_as_well(name: str) -> None:
    space: Space = {"a": Choice(("x", "y", "z")), "seed": Int(0, 9), "b": Choice((True, False))}
    state = Simulation(resolved(name, space, trials=70), workers=2).run()
    assert len({identity(trial.params) for trial in state.trials.values()}) == 60
    assert len(state.trials) == 60


@pytest.mark.parametrize("name", NAMES)
def test_a_space_with_nothing_to_search_is_proposed_once(name: str) -> None:
    state = Simulation(resolved(name, {"f": Fixed(0)}, trials=5)).run()
    assert [trial.params for trial in state.trials.values()] == [{}]


@pytest.mark.parametrize("name", NAMES)
def test_asking_changes_neither_the_state_nor_the_next_answer(name: str) -> None:
    simulation = Simulation(resolved(name, spaces(name)[-1], trials=15))
    state = simulation.run()
    searcher: Searcher = plugins.load("searcher", name).create(spaces(name)[-1], 0)
    before = repr(state)
    first = searcher.suggest(state, 15)
    assert identity(searcher.suggest(state, 15)) == identity(first)
    fresh: Searcher = plugins.load("searcher", name).create(spaces(name)[-1], 0)
    assert identity(fresh.suggest(rebuild(simulation.events), 15)) == identity(first)
    assert repr(state) == before


DIGITS = Choice(tuple(range(10)))
TIGHT: Space = {"free": Choice(("x", "y")), **dict.fromkeys("abcd", DIGITS), "limit": Fixed(36)}
RULED: dict[str, Any] = {
    "constraints": ["n * size <= 12", "depth + n >= 4", "size != 2 or kind == 'deep'"],
    "when": {"depth": "kind == 'deep'", "extra": "depth > 2", "bias": "not narrow"},
}
RULED_SPACE: Space = {
    "extra": Choice(("p", "q")),
    "kind": Choice(("deep", "flat")),
    "depth": Int(1, 4),
    "n": Int(1, 8),
    "size": Choice((1, 2, 3)),
    "narrow": Choice((True, False)),
    "bias": Float(0.0, 0.2, step=0.1),
    "x": Fixed(1),
}


@pytest.mark.parametrize("name", NAMES)
def test_no_set_is_proposed_that_the_rules_forbid_or_that_was_there_before(name: str) -> None:
    study = resolved(name, RULED_SPACE, trials=60, seed=4, **RULED)
    state = Simulation(study, workers=3, curve=sometimes_diverging).run()
    constraints = StudyDefinition.from_document(study).constraints
    proposed = [trial.params for trial in state.trials.values()]
    assert len({identity(params) for params in proposed}) == len(proposed) == 60
    for params in proposed:
        assert constraints.allows(params)
        assert constraints.active(params) == params
        assert ("depth" in params) == (params["kind"] == "deep")
        assert ("extra" in params) == (params.get("depth", 0) > 2)
        assert all(contains(RULED_SPACE[key], value) for key, value in params.items())


@pytest.mark.parametrize("name", NAMES)
def test_a_tight_space_is_proposed_as_a_whole_and_quickly(name: str) -> None:
    """Of 20,000 combinations two are allowed."""
    study = resolved(name, TIGHT, trials=30, constraints=["a + b + c + d >= limit"])
    begun = time.perf_counter()
    state = Simulation(study).run()
    assert time.perf_counter() - begun < 10
    assert sorted(trial.params["free"] for trial in state.trials.values()) == ["x", "y"]
    assert "constraints" in str(state.ended)


@pytest.mark.parametrize("name", NAMES)
def test_sets_that_differ_in_inactive_parameters_only_are_one(name: str) -> None:
    space: Space = {"kind": Choice(("deep", "flat")), "depth": Int(1, 50)}
    study = resolved(name, space, trials=80, when={"depth": "kind == 'deep'"})
    state = Simulation(study).run()
    assert len(state.trials) == 51
    flat = [t.params for t in state.trials.values() if t.params["kind"] == "flat"]
    assert flat == [{"kind": "flat"}]


def signed(sign: int) -> Curve:
    return lambda params, step: sign * sum(map(ord, identity(params)))


@pytest.mark.parametrize("name", NAMES)
def test_a_searcher_says_truly_whether_it_learns_from_history(name: str) -> None:
    study = resolved(name, spaces(name)[-1], trials=40, seed=1, scheduler={"name": "fifo"})
    searcher: Searcher = make.searcher(StudyDefinition.from_document(study))
    assert type(searcher.learns_from_history) is bool
    proposed = []
    for sign in (1, -1):
        state = Simulation(study, curve=signed(sign)).run()
        proposed.append([trial.params for trial in state.trials.values()])
    assert (identity(proposed[0]) != identity(proposed[1])) == searcher.learns_from_history


@pytest.mark.parametrize("name", NAMES)
def test_a_prior_changes_no_searchers_contract(name: str) -> None:
    space = spaces(name)[-1]
    prior = {"b": {"value": 5, "width": 1.0}, "c": {"value": 0.1, "width": 0.1}}
    state = Simulation(resolved(name, space, trials=25, prior=prior)).run()
    proposed = [trial.params for trial in state.trials.values()]
    assert len({identity(params) for params in proposed}) == len(proposed) == 25
    assert all(contains(space[k], value) for params in proposed for k, value in params.items())


ASK = """
import json, sys
from tune_app.plugins import make
from tune_app.core.state import rebuild
state = rebuild(json.load(sys.stdin))
searcher = make.searcher(state.definition)
print(json.dumps([searcher.suggest(state, number) for number in (15, 16)]))
"""


@pytest.mark.parametrize("name", NAMES)
def test_another_process_with_other_hashes_gives_the_same_answer(name: str) -> None:
    plain = resolved(name, spaces(name)[-1], trials=15, seed=5)
    ruled = resolved(name, RULED_SPACE, trials=15, seed=5, **RULED)
    for study in (plain, ruled):
        _check_other_processes(study)


def _check_other_processes(study: dict[str, Any]) -> None:
    simulation = Simulation(study)
    simulation.run()
    answers = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", ASK],
            input=json.dumps(simulation.events),
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        answers.append(json.loads(done.stdout))
    assert identity(answers[0]) == identity(answers[1])
    assert None not in answers[0]


@pytest.mark.parametrize("name", NAMES)
def test_options_are_keywords_with_defaults(name: str) -> None:
    module = plugins.load("searcher", name)
    assert plugins.option_problems(module, {}, "") == []
    assert plugins.option_problems(module, {"no_such_option": 1}, "")
