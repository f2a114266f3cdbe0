"""Speed and memory of a few configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.simulated import defined
from tune_app.budget import ACCUMULATION, MICRO_BATCH
from tune_app.core.definition import StudyDefinition
from tune_app.space.domains import Choice, Domain, Fixed, Float, Int, to_document
from tune_app.training import segment
from tune_app.training.preflight import profiling
from tune_app.training.stopwatch import Stopwatch


def defaults(name: str) -> Any:
    return {MICRO_BATCH: 8, ACCUMULATION: 1, "optim": "adamw_torch", "bf16": False}.get(name)


def test_the_configurations_are_the_smallest_and_largest_batch_and_each_other_costly_choice() -> (
    None
):
    space: dict[str, Domain] = {
        "learning_rate": Float(1e-4, 1e-2, log=True),
        MICRO_BATCH: Choice((8, 4, 16)),
        ACCUMULATION: Int(1, 4),
        "optim": Choice(("adafactor", "adamw_torch")),
        "bf16": Choice((True, False)),
        "size": Fixed("nano"),
    }
    chosen = profiling.choose(space, defaults)
    told = [(c[MICRO_BATCH], c[ACCUMULATION], c["optim"], c["bf16"]) for c in chosen]
    assert told == [
        (4, 1, "adamw_torch", False),
        (16, 4, "adamw_torch", False),
        (16, 4, "adafactor", False),
        (16, 4, "adamw_torch", True),
    ]
    assert chosen[0]["learning_rate"] == pytest.approx(1e-3)
    assert all("size" not in c for c in chosen)


def test_a_space_without_batches_has_one_configuration() -> None:
    assert profiling.choose({"learning_rate": Float(0.1, 0.3)}, defaults) == [
        {"learning_rate": pytest.approx(0.2)}
    ]


def test_warming_up_is_not_timed_and_enough_is_enough() -> None:
    class Control:
        should_training_stop = False

    times = iter([0.0, 30.0, 31.0, 31.5, 32.0, 40.0])
    watch, control = Stopwatch(4.0, lambda: next(times)), Control()
    for _ in range(4):
        watch.on_step_end(None, None, control)
    assert not control.should_training_stop
    assert watch.durations() == [0.5, 0.5]
    watch.on_step_end(None, None, control)
    assert control.should_training_stop


@pytest.fixture
def small(tmp_path: Path) -> StudyDefinition:
    text = "\n".join(f"{i} люди должны читать книги и море {i * i}." for i in range(1500))
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    space = {
        "dataset": Fixed(str(tmp_path / "text.txt")),
        "block_size": Fixed(32),
        "vocab_size": Fixed(512),
        "eval_tokens": Fixed(1024),
    }
    parameters = {name: to_document(domain) for name, domain in space.items()}
    return defined(trainable="causal_lm", accelerator="cpu", parameters=parameters)


def test_a_configuration_is_measured_by_training(small: StudyDefinition, tmp_path: Path) -> None:
    params = {MICRO_BATCH: 4, ACCUMULATION: 2, "optim": "sgd"}
    found = profiling.measure(small, params, tmp_path / "cache")
    assert found.error == ""
    assert found.tokens_per_step == 4 * 2 * 32
    assert found.tokens_per_s > 0
    assert found.evaluation_s > 0
    assert found.peak_bytes > 0
    # Plain SGD has no state: its checkpoint is the weights alone.
    assert found.checkpoint_bytes == 4 * found.parameters
    adam = profiling.measure(small, {**params, "optim": "adamw_torch"}, tmp_path / "cache")
    assert adam.checkpoint_bytes == pytest.approx(12 * found.parameters, rel=0.01)


def test_a_configuration_that_does_not_run_says_why(small: StudyDefinition, tmp_path: Path) -> None:
    found = profiling.measure(small, {"optim": "adamw_apex_fused"}, tmp_path / "cache")
    assert found.error.startswith("ModuleNotFoundError")
    assert found.tokens_per_s == 0


@pytest.mark.parametrize(("room", "found"), [(1, 1), (7, 7), (8, 8), (100, 64), (0, 0), (33, 33)])
def test_the_largest_batch_that_fits_is_found_by_doubling_and_halving(
    room: int, found: int
) -> None:
    asked: list[int] = []

    def fits(size: int) -> bool:
        asked.append(size)
        return size <= room

    assert profiling.largest(fits, limit=64) == found
    assert len(asked) <= 14
    assert max(asked) <= 64


def test_a_batch_that_does_not_fit_is_no_error(
    small: StudyDefinition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = segment.make_trainer

    def make_trainer(loaded: Any, params: Any, data: Any, **options: Any) -> Any:
        if params[MICRO_BATCH] > 5:
            raise MemoryError
        return real(loaded, params, data, **options)

    monkeypatch.setattr(segment, "make_trainer", make_trainer)
    params = {MICRO_BATCH: 4, ACCUMULATION: 2}
    assert profiling.largest_batch(small, params, tmp_path / "cache") == 5
