"""Mistakes that a worker finds before the first trial, and a reader that goes away."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.simulated import defined
from tune_app.console.terminal import Outlet
from tune_app.engine.worker import preflight
from tune_app.errors import UserError
from tune_app.space.domains import Choice, Domain, Fixed, Float, Int, to_document
from tune_app.training import trainable
from tune_app.training.preflight import probe
from tune_app.training.preflight.messages import ProbeResults, Refused
from tune_app.training.preflight.values import value_problems

HEAD = """
from dataclasses import dataclass
@dataclass
class Config:
    learning_rate: float = 1e-3
def build(config, data, args): ...
"""


def places(space: dict[str, Domain]) -> list[str]:
    return [p.where for p in value_problems(trainable.load("causal_lm"), space)]


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("learning_rate", Choice((1e-3, "fast"))),
        ("learning_rate", Fixed(True)),
        ("per_device_train_batch_size", Float(2.0, 8.0)),
        ("per_device_train_batch_size", Int(0, 8)),
        ("gradient_accumulation_steps", Fixed(0)),
        ("bf16", Choice((True, "yes"))),
        ("tokenizer", Fixed(None)),
        ("size", Choice(("nano", "mega"))),
        ("block_size", Int(4, 64)),
        ("vocab_size", Fixed(5)),
    ],
)
def test_a_value_that_a_trial_would_refuse_is_found_where_it_stands(
    name: str, domain: Domain
) -> None:
    assert set(places({name: domain})) == {f"parameters.{name}"}


def test_values_that_fit_are_no_problem() -> None:
    space: dict[str, Domain] = {
        "learning_rate": Float(1e-5, 1e-2, log=True),
        "per_device_train_batch_size": Choice((4, 8)),
        "warmup_steps": Choice((0, 0.1)),
        "bf16": Choice((True, False)),
        "text_column": Fixed(None),
        "size": Choice(("nano", "micro")),
        "lr_scheduler_kwargs": Fixed({"num_cycles": 2}),
    }
    assert places(space) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("lr_scheduler_type", "cosin", "not a valid SchedulerType"),
        ("optim", "adamw_torc", "did you mean 'adamw_torch'?"),
        ("warmup_steps", -3, "warmup_steps"),
    ],
)
def test_what_transformers_refuses_is_probed(name: str, value: Any, words: str) -> None:
    assert words in str(probe.examine(name, value, "cpu").reason)
    assert probe.examine("lr_scheduler_type", "cosine", "cpu").reason is None


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        ("raise RuntimeError('no data')", "raised before the first trial: RuntimeError: no data"),
        ("raise SystemExit(3)", "raised before the first trial: SystemExit: 3"),
        ("return None", "prepare returned NoneType"),
    ],
)
def test_whatever_prepare_does_is_one_problem_with_its_traceback(
    tmp_path: Path, prepare: str, words: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"{HEAD}\ndef prepare(config, cache, log):\n    {prepare}\n")
    study = defined(
        trainable=str(path),
        parameters={"learning_rate": to_document(Fixed(0.1))},
        accelerator="cpu",
        working_directory=os.getcwd(),
    )
    first, *_, last = preflight(study, str(tmp_path), probing=False)
    assert first == ProbeResults((), ())
    assert isinstance(last, Refused)
    (problem,) = last.problems
    assert words in problem.what
    assert problem.where == f"trainable {path}"
    assert "Traceback" in last.traceback


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("class Config: ...", "Config is no dataclass"),
        (
            "from dataclasses import dataclass\n@dataclass\nclass Config:\n    width: int",
            "the field 'width' of Config has no default",
        ),
    ],
)
def test_a_config_without_defaults_is_refused(tmp_path: Path, config: str, words: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"{config}\nprepare = build = print\n")
    with pytest.raises(UserError, match=words):
        trainable.load(str(path))


def test_a_reader_that_goes_away_is_told_once_and_writing_goes_on() -> None:
    reading, writing = os.pipe()
    outlet = Outlet(writing)
    noticed: list[int] = []
    outlet.on_gone = lambda: noticed.append(1)
    outlet.write("first\n")
    assert os.read(reading, 100) == b"first\n"
    os.close(reading)
    for _ in range(3):
        assert outlet.write("more\n") == 5
        outlet.flush()
    outlet.close()
    assert noticed == [1]


def test_of_a_name_that_is_near_to_none_the_trainable_tells_its_own() -> None:
    far, near = trainable.load("causal_lm").name_problems(["zzz", "save_step"])
    assert far.fix.startswith("known: architecture, ")
    assert "adam_beta1" not in far.fix
    assert "save_steps" not in near.fix
