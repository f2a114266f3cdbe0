"""What the driver makes of a preflight's findings, without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import ray

from tests.support.simulated import MemoryJournal, document
from tune_app.core.recorder import Recorder
from tune_app.core.state import StudyState, rebuild
from tune_app.engine import driver as engine_driver
from tune_app.engine.cluster import GROWING, Cluster
from tune_app.engine.driver import Driver
from tune_app.errors import UserError
from tune_app.space.domains import Choice, Fixed, Int, Space, to_document
from tune_app.storage.study import FolderStudy
from tune_app.training.preflight.messages import Findings, Impossible, Probed, ProbeResults

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
        parameters=parameters,
        working_directory=".",
        **{"drop_impossible": True} | RULES | changes,
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
        "the untuned defaults break n >= 3: the baseline runs with them anyway"
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


PROBED = ProbeResults(
    (Impossible("optim", "apex", "not installed"),), (Probed("optim", "apex", "not installed"),)
)


@pytest.mark.parametrize("may_drop", [True, False])
def test_what_a_probe_finds_impossible_is_left_out_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, may_drop: bool
) -> None:
    node = {"Alive": True, "NodeID": "here", "Resources": {"CPU": 2.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [node])
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    asked = {"cpu": 1, "gpu": None, "processes": 1, "concurrent": None}
    made, state, _ = driver(
        tmp_path, resources=asked, drop_impossible=may_drop, baseline_params=None
    )
    made._cluster = Cluster(dashboard="", local=True)
    study = state.definition
    findings = Findings(DEFAULTS, {}, {}, study.budget, study.rungs)
    monkeypatch.setattr(engine_driver, "received", lambda *_: [PROBED, findings])
    if not may_drop:
        with pytest.raises(UserError, match='the choice "apex" cannot run here: not installed'):
            made.prepare(lambda line: None)
        return
    made.prepare(lambda line: None)
    assert state.definition.space["optim"] == Choice(("adamw", "sgd"))
    assert made.probed == PROBED.probed


@pytest.mark.parametrize("looks", range(4))
@pytest.mark.parametrize("grows", [False, True])
def test_a_node_that_leaves_before_preflight_is_waited_for_or_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: int, grows: bool
) -> None:
    """The only node is gone when it is looked at for the `looks + 1`-th time."""
    resources = {"CPU": 2.0}
    looked, waited, used = [0], [0], []

    def nodes() -> list[dict[str, Any]]:
        looked[0] += 1
        alive = looked[0] <= looks or waited[0] > 0
        return [{"Alive": alive, "NodeID": "here", "Resources": resources}]

    def wait(*_: Any) -> None:
        waited[0] += 1

    def received(
        _call: Any, _study: Any, _arguments: Any, _trial: Any, node: str
    ) -> list[dict[str, Any]]:
        used.append(node)
        return []

    monkeypatch.setattr(ray, "nodes", nodes)
    monkeypatch.setattr(ray, "cluster_resources", lambda: resources)
    monkeypatch.setattr(engine_driver, "wait_for_a_machine", wait)
    monkeypatch.setattr(engine_driver, "received", received)
    monkeypatch.setenv("HOME", str(tmp_path))
    if grows:
        (tmp_path / GROWING).touch()
    asked = {"cpu": 1, "gpu": None, "processes": 1, "concurrent": None}
    made, _, _ = driver(tmp_path, resources=asked)
    made._cluster = Cluster(dashboard="", local=False)
    if looks == 0 and not grows:
        with pytest.raises(UserError, match="fits on no node"):
            made.prepare(lambda line: None)
    else:
        made.prepare(lambda line: None)
        assert used == ["here"]
