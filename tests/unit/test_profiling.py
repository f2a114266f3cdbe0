"""Speed and memory at the corners of a space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tune_app.space.domains import Choice, Domain, Fixed, Float, Int
from tune_app.training import segment
from tune_app.training.preflight import profiling
from tune_app.training.preflight.values import COUNTS


def defaults(name: str) -> Any:
    return {COUNTS[0]: 8, COUNTS[1]: 1, "optim": "adamw_torch", "bf16": False}.get(name)


def test_the_corners_are_the_smallest_and_largest_batch_and_each_other_costly_choice() -> None:
    space: dict[str, Domain] = {
        "learning_rate": Float(1e-4, 1e-2, log=True),
        COUNTS[0]: Choice((8, 4, 16)),
        COUNTS[1]: Int(1, 4),
        "optim": Choice(("adafactor", "adamw_torch")),
        "bf16": Choice((True, False)),
        "size": Fixed("nano"),
    }
    chosen = profiling.choose(space, defaults)
    told = [(c[COUNTS[0]], c[COUNTS[1]], c["optim"], c["bf16"]) for c in chosen]
    assert told == [
        (4, 1, "adamw_torch", False),
        (16, 4, "adamw_torch", False),
        (16, 4, "adafactor", False),
        (16, 4, "adamw_torch", True),
    ]
    assert chosen[0]["learning_rate"] == pytest.approx(1e-3)
    assert all("size" not in c for c in chosen)


def test_a_space_without_batches_has_one_corner() -> None:
    assert profiling.choose({"learning_rate": Float(0.1, 0.3)}, defaults) == [
        {"learning_rate": pytest.approx(0.2)}
    ]


def test_warming_up_is_not_timed_and_enough_is_enough() -> None:
    class Control:
        should_training_stop = False

    times = iter([0.0, 30.0, 31.0, 31.5, 32.0, 40.0])
    watch, control = profiling.Stopwatch(lambda: next(times)), Control()
    for _ in range(4):
        watch.on_step_end(None, None, control)
    assert not control.should_training_stop
    assert watch.seconds_per_step() == 0.5
    watch.on_step_end(None, None, control)
    assert control.should_training_stop


@pytest.fixture
def small(tmp_path: Path) -> dict[str, Any]:
    text = "\n".join(f"{i} люди должны читать книги и море {i * i}." for i in range(1500))
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    return {
        "dataset": Fixed(str(tmp_path / "text.txt")),
        "block_size": Fixed(32),
        "vocab_size": Fixed(512),
        "eval_tokens": Fixed(1024),
    }


def test_a_corner_is_measured_by_training(small: dict[str, Any], tmp_path: Path) -> None:
    study = {"trainable": "causal_lm", "accelerator": "cpu", "seed": 0}
    params = {COUNTS[0]: 4, COUNTS[1]: 2, "optim": "sgd"}
    found = profiling.measure(study, small, params, tmp_path / "cache")
    assert found.error == ""
    assert found.tokens_per_step == 4 * 2 * 32
    assert found.tokens_per_s > 0
    assert found.evaluation_s > 0
    assert found.peak_bytes > 0
    # Plain SGD has no state: its checkpoint is the weights alone.
    assert found.checkpoint_bytes == 4 * found.parameters
    adam = profiling.measure(study, small, {**params, "optim": "adamw_torch"}, tmp_path / "cache")
    assert adam.checkpoint_bytes == pytest.approx(12 * found.parameters, rel=0.01)


def test_a_corner_that_does_not_run_says_why(small: dict[str, Any], tmp_path: Path) -> None:
    study = {"trainable": "causal_lm", "accelerator": "cpu", "seed": 0}
    found = profiling.measure(study, small, {"optim": "adamw_apex_fused"}, tmp_path / "cache")
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
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = segment.make_trainer

    def make_trainer(loaded: Any, params: Any, data: Any, **options: Any) -> Any:
        if params[COUNTS[0]] > 5:
            raise MemoryError
        return real(loaded, params, data, **options)

    monkeypatch.setattr(segment, "make_trainer", make_trainer)
    study = {"trainable": "causal_lm", "accelerator": "cpu", "seed": 0}
    params = {COUNTS[0]: 4, COUNTS[1]: 2}
    assert profiling.largest_batch(study, small, params, tmp_path / "cache") == 5
