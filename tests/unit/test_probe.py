"""What cannot run here is found by trying it, and tried once an environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tune_app.space.domains import Choice, Fixed, Space
from tune_app.training.preflight import preflight, probe_cache
from tune_app.training.preflight.messages import Impossible, Probed
from tune_app.training.preflight.probe import ABSURD, examine

ROOT = Path(__file__).parents[2]


def elsewhere(parameter: str, value: Any, env: dict[str, str], path: str = "") -> Probed:
    """A probe in a process of its own."""
    code = (
        "import json, sys; from dataclasses import asdict\n"
        "from tune_app.training.preflight.probe import examine\n"
        "print(json.dumps(asdict(examine(*json.loads(sys.argv[1]), 'cpu'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([parameter, value])],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, str(ROOT)])), **env},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return Probed(**json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "body",
    [
        "raise RuntimeError('no kernels')",
        "import zope_that_is_not_there",
        "raise SystemExit(1)",
        "",
    ],
)
def test_an_apex_that_is_not_nvidias_is_told_from_one_that_is_missing(
    tmp_path: Path, body: str
) -> None:
    (tmp_path / "apex").mkdir()
    (tmp_path / "apex" / "__init__.py").write_text(body)
    row = elsewhere("optim", "adamw_apex_fused", {}, str(tmp_path))
    assert "is broken, or not NVIDIA's" in str(row.reason)
    assert row.reason != "NVIDIA apex is not installed"


def test_without_a_compiler_nothing_compiles(tmp_path: Path) -> None:
    cold = {"PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cold"), "CXX": ""}
    row = elsewhere("torch_compile", True, cold)
    assert str(row.reason).startswith("does not compile: ")
    assert row.seconds is None


@pytest.mark.parametrize("speed", [1 / 30, 1 / ABSURD, 0.5, 1.9])
def test_a_precision_is_left_out_by_its_measured_speed(speed: float) -> None:
    def timer(dtype: torch.dtype, device: str) -> float:
        return 1.0 if dtype == torch.float32 else 1.0 / speed

    row = examine("bf16", True, "cpu", timer)
    assert row.speed == pytest.approx(speed)
    assert (row.reason is not None) == (speed <= 1 / ABSURD)
    if row.reason is not None:
        assert row.reason == f"{1 / speed:.0f} times slower than float32 on this CPU"


def test_half_precision_needs_a_gpu_and_its_speed_is_told_all_the_same() -> None:
    row = examine("fp16", True, "cpu", lambda dtype, device: 1.0)
    assert row.reason == "mixed precision in float16 needs a GPU"
    assert row.speed == 1.0


def test_a_dtype_that_does_not_multiply_is_impossible() -> None:
    def timer(dtype: torch.dtype, device: str) -> float:
        if dtype == torch.bfloat16:
            raise RuntimeError("not implemented for 'BFloat16'")
        return 1.0

    assert "not implemented" in str(examine("bf16", True, "cpu", timer).reason)


@pytest.mark.parametrize(("value", "runs"), [("eager", True), ("sdpa", True), ("flas", False)])
def test_attentions_are_tried(value: str, runs: bool) -> None:
    assert (examine("attn_implementation", value, "cpu").reason is None) == runs


class Counting:
    """An examiner that counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def __call__(self, parameter: str, value: Any, accelerator: str) -> Probed:
        self.asked.append((parameter, value))
        return Probed(parameter, value, None if value else "no", speed=0.5)


WANTED: list[tuple[str, Any]] = [("bf16", True), ("bf16", False), ("bf16", True), ("optim", "sgd")]


def test_what_was_tried_here_is_not_tried_again(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    rows = probe_cache.examine_all(WANTED, "cpu", tmp_path, first)
    assert first.asked == [("bf16", True), ("bf16", False), ("optim", "sgd")]
    assert probe_cache.examine_all(WANTED, "cpu", tmp_path, second) == rows
    assert second.asked == []
    probe_cache.examine_all([*WANTED, ("fp16", True)], "cpu", tmp_path, second)
    assert second.asked == [("fp16", True)]


@pytest.mark.parametrize(
    "content",
    ["", "rubbish", "[]", "{}", '{"environment": {}, "rows": {}}', "rows", "null"],
)
def test_a_broken_cache_is_measured_anew(tmp_path: Path, content: str) -> None:
    rows = probe_cache.examine_all(WANTED, "cpu", tmp_path, Counting())
    (path,) = (tmp_path / "probes").iterdir()
    good = json.loads(path.read_text())
    if content == "rows":
        content = json.dumps({**good, "rows": {key: {"value": 3} for key in good["rows"]}})
    path.write_text(content)
    again = Counting()
    assert probe_cache.examine_all(WANTED, "cpu", tmp_path, again) == rows
    assert len(again.asked) == 3
    assert json.loads(path.read_text()) == good


@pytest.mark.parametrize("change", [{"torch": "1.0"}, {"apex": "new"}, {"compiler": [None, None]}])
def test_another_environment_is_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    probe_cache.examine_all(WANTED, "cpu", tmp_path, Counting())
    there = {**probe_cache.environment("cpu"), **change}
    monkeypatch.setattr(probe_cache, "environment", lambda accelerator: there)
    again = Counting()
    probe_cache.examine_all(WANTED, "cpu", tmp_path, again)
    assert len(again.asked) == 3


def test_a_cache_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    rows = probe_cache.examine_all(WANTED, "cpu", tmp_path / "file", Counting())
    assert len(rows) == 3


def test_only_values_of_the_space_can_be_impossible() -> None:
    space: Space = {"optim": Choice(("sgd", "adafactor")), "bf16": Fixed(False)}
    rows = [
        Probed("optim", "sgd", "no"),
        Probed("optim", "adafactor", None),
        Probed("bf16", True, "slow"),
        Probed("fp16", True, "slow"),
    ]
    assert preflight.impossible(space, rows) == [Impossible("optim", "sgd", "no")]
