"""What the driver makes of a preflight's findings, without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.simulated import MemoryJournal, document
from tune_app.core.recorder import Recorder
from tune_app.core.state import StudyState, rebuild
from tune_app.engine.cluster import Cluster
from tune_app.engine.driver import Driver
from tune_app.errors import UserError
from tune_app.space.domains import Choice, Fixed, Int, Space, to_document
from tune_app.storage.study import FolderStudy
from tune_app.training.preflight.found import Findings, Impossible

SPACE: Space = {
    "optim": Choice(("adamw", "apex", "sgd")),
    "momentum": Choice((0.0, 0.9)),
    "beta": Fixed(0.95),
    "n": Int(1, 9),
}
RULES: dict[str, Any] = {
    "constraints": ["n >= 3"],
    "when": {"momentum": "optim == 'sgd'", "beta": "optim == 'adamw'"},
}
DEFAULTS = {"optim": "adamw", "momentum": 0.9, "n": 1}


def driver(tmp_path: Path, **changes: Any) -> tuple[Driver, StudyState, MemoryJournal]:
    journal = MemoryJournal()
    parameters = {name: to_document(domain) for name, domain in SPACE.items()}
    resolved = document(
        parameters=parameters, drop_impossible=True, working_directory=".", **RULES | changes
    )
    needed = {"trainable": "causal_lm", "prompt": "", "accelerator": "cpu"}
    journal.append("study_started", study=resolved | needed)
    state = rebuild(journal.events)
    made = Driver(FolderStudy(tmp_path), Recorder(state, journal), cast(Cluster, None))
    return made, state, journal


def keep(made: Driver, space: Space) -> None:
    study = made._state.definition
    made._keep(Findings(DEFAULTS, {}, {}, study.budget, study.rungs), space)


def test_the_baseline_lacks_what_is_inactive_and_a_broken_constraint_is_told(
    tmp_path: Path,
) -> None:
    made, state, journal = driver(tmp_path)
    keep(made, SPACE)
    assert state.definition.baseline_params == {"optim": "adamw", "n": 1}
    assert state.findings == [
        "the untuned defaults break n >= 3: they run all the same, as the baseline"
    ]
    again = rebuild(journal.events)
    assert again.definition.when == RULES["when"]


def test_a_law_that_was_filled_in_replaces_the_wish_for_it(tmp_path: Path) -> None:
    made, state, _ = driver(tmp_path, prior={"step_law": {"octaves": 2}})
    keep(made, SPACE)
    assert (state.definition.beliefs, state.definition.step_law_octaves) == ({}, None)


def test_a_dropped_choice_that_leaves_nothing_allowed_ends_the_study_before_a_trial(
    tmp_path: Path,
) -> None:
    made, state, _ = driver(tmp_path, constraints=["optim == 'apex'"])
    space = made._without_impossible(SPACE, [Impossible("optim", "apex", "not installed")])
    with pytest.raises(UserError, match="the constraints allow no combination"):
        keep(made, space)
    assert state.definition.space["optim"] == SPACE["optim"]
