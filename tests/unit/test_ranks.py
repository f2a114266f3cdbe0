"""Two processes that train one trial, without Ray: real gloo, real `Trainer`."""

from __future__ import annotations

import math
import multiprocessing
import os
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.segments import (
    Recorder,
    begun_at,
    corpus,
    last_checkpoint,
    losses,
    over_passes,
    run,
    task,
)
from tune_app.budget import Unit
from tune_app.core.definition import Budget
from tune_app.core.ports import LocalPaths
from tune_app.core.task import Task
from tune_app.core.trial import Outcome
from tune_app.training import reporter
from tune_app.training.attempt_result import AttemptResult, cause, ended, failure, lost
from tune_app.training.ranks import OtherRankContext, Rank, RankZeroContext
from tune_app.training.segment import attempt

__all__ = ["corpus", "task"]

STOPPED = "stopped"
"""The driver took the worker back."""


@dataclass
class Two:
    """How each of two processes ended, and what the first one said."""

    first: AttemptResult | str | None
    second: AttemptResult | str | None
    recorder: Recorder


def ending_of(task: Task, context: Any, rank: Rank) -> AttemptResult | str | None:
    torch.set_num_threads(1)
    try:
        return attempt(task, context, rank)
    except SystemExit:
        return STOPPED


# Forked from a process that has imported all and has no threads: those of this one hold locks.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([__name__, "trainables.causal_lm"])


def follow(
    task: Task, paths: LocalPaths, rendezvous: Path, patience_s: float | None, say: Any
) -> None:
    if patience_s is not None:
        reporter.SAVE_EVERY_S = reporter.INTERRUPT_POLL_S = patience_s
    say.send(ending_of(task, OtherRankContext(paths), Rank(1, rendezvous)))


def run_two(
    task: Task, recorder: Recorder, begin: Path | None = None, patience_s: float | None = None
) -> Two:
    """Runs a task in this process and another one, which saves and looks up as seldom as told."""
    hear, say = SERVER.Pipe(duplex=False)
    rendezvous = recorder.paths.checkpoints / "rendezvous"
    rendezvous.unlink(missing_ok=True)
    both = replace(begun_at(task, recorder, begin), processes=2)
    arguments = (both, recorder.paths, rendezvous, patience_s, say)
    other = SERVER.Process(target=follow, args=arguments, daemon=True)
    other.start()
    first = ending_of(both, RankZeroContext(recorder), Rank(0, rendezvous))
    assert hear.poll(60), "the second process never ended"
    second = hear.recv()
    other.join(60)
    return Two(first, second, recorder)


def completed(two: Two) -> Two:
    """Both say that all is done."""
    for result in (two.first, two.second):
        assert isinstance(result, AttemptResult), result
        assert result.fields.get("outcome") == "completed", result.fields
    return two


def test_two_processes_train_as_one_does_with_twice_the_micro_batch(
    task: Task, tmp_path: Path
) -> None:
    before = dict(os.environ)
    task = replace(task, budget=replace(task.budget, unit=Unit.EPOCHS, amount=2))
    two = completed(run_two(task, Recorder(tmp_path / "two"))).recorder
    large = {**task.params, "per_device_train_batch_size": 8}
    one = run(replace(task, params=large), Recorder(tmp_path / "one"))
    assert len(two.reports()) == len(one.reports())
    for ours, theirs in zip(two.reports(), one.reports(), strict=True):
        assert (ours["step"], ours["tokens"]) == (theirs["step"], theirs["tokens"])
        assert ours["metrics"] == pytest.approx(theirs["metrics"], rel=1e-4)
    ran = two.of("trial_effective")["effective"]
    assert (ran["processes"], ran["micro_batch"], ran["tokens_per_step"]) == (2, 4, 2 * 256)
    assert dict(os.environ) == before


def test_two_processes_stop_at_a_rung_together_and_go_on_bit_exactly(
    task: Task, tmp_path: Path
) -> None:
    # Dropout draws from the random state of each process.
    task = replace(task, params={**task.params, "dropout": 0.2})
    whole = completed(run_two(task, Recorder(tmp_path / "whole"))).recorder
    paused = run_two(task, Recorder(tmp_path / "parts", pause_at=(1,)))
    assert (paused.first, paused.second) == (STOPPED, STOPPED)
    checkpoint = last_checkpoint(paused.recorder, tmp_path / "parts")
    assert {path.name for path in checkpoint.glob("rng_state*")} == {
        "rng_state_0.pth",
        "rng_state_1.pth",
    }
    rest = completed(run_two(task, Recorder(tmp_path / "parts"), checkpoint)).recorder
    assert losses([paused.recorder, rest]) == losses([whole])


@pytest.mark.parametrize("pause", [10, 11, 15])
def test_two_processes_go_on_bit_exactly_over_the_end_of_a_pass(
    task: Task, tmp_path: Path, pause: int
) -> None:
    # 21 micro-batches of each process are 11 steps, the last of which has one.
    many = over_passes(task, 2, pause, passes=2, micro_batches=21)
    whole = completed(run_two(many, Recorder(tmp_path / "whole"))).recorder
    first = run_two(many, Recorder(tmp_path / "parts", pause_at=(0,))).recorder
    assert first.reports()[-1]["step"] == pause
    begin = last_checkpoint(first, tmp_path / "parts")
    second = completed(run_two(many, Recorder(tmp_path / "parts"), begin)).recorder
    assert losses([first, second]) == losses([whole])
    assert second.reports()[-1]["tokens"] == 2 * 21 * 2 * 4 * 32


def test_two_processes_make_the_same_passes_in_half_the_micro_batch(
    task: Task, tmp_path: Path
) -> None:
    # Of 168 examples four micro-batches of 18 in each of two processes, but nine of 9.
    params = {**task.params, "per_device_train_batch_size": 18}
    many = over_passes(replace(task, params=params), 1, 1, passes=2, micro_batches=4)
    whole = completed(run_two(many, Recorder(tmp_path / "whole"))).recorder
    halves = completed(run_two(replace(many, is_halved=True), Recorder(tmp_path))).recorder
    for ours, theirs in zip(halves.reports(), whole.reports(), strict=True):
        assert (ours["step"], ours["tokens"]) == (theirs["step"], theirs["tokens"])
        assert ours["metrics"]["train_loss"] == pytest.approx(
            theirs["metrics"]["train_loss"], rel=1e-3
        )


def test_the_first_process_alone_looks_at_the_clock_and_for_a_stop(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that a checkpoint is due at the first step, and never again but at rungs.
    monkeypatch.setattr(reporter, "SAVE_SHARE", 1e-9)
    monkeypatch.setattr(reporter, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(reporter, "INTERRUPT_POLL_S", 0.0)

    two = run_two(task, Recorder(tmp_path, stop_at=7), patience_s=math.inf)
    assert (two.first, two.second) == (None, None)
    saved = [report["step"] for report in two.recorder.reports() if report["checkpoint"]]
    assert saved == [1, 2, 5]
    assert two.recorder.of("trial_interrupted")["checkpoint"].endswith("step-8")


def test_a_budget_in_seconds_gives_two_processes_the_same_steps(task: Task, tmp_path: Path) -> None:
    timed = replace(task, budget=Budget(Unit.SECONDS, 1.0, trials=1, evaluations=3))
    two = completed(run_two(timed, Recorder(tmp_path)))
    steps = two.recorder.of("trial_effective")["effective"]["max_steps"]
    assert two.recorder.reports()[-1]["step"] == steps


def failing(task: Task, folder: Path, raised: str) -> Task:
    """The task with a trainable that raises in its second process, after some steps."""
    path = folder / "failing.py"
    path.write_text(
        textwrap.dedent(f"""
            import os
            import torch
            from trainables import causal_lm
            from trainables.causal_lm import Config, prepare
            def build(config, data, args):
                trainer = causal_lm.build(config, data, args)
                forward, steps = trainer.model.forward, []
                def fails(input_ids=None, **rest):
                    steps.append(1)
                    if os.environ["RANK"] == "1" and len(steps) == 12:
                        raise {raised}
                    return forward(input_ids=input_ids, **rest)
                trainer.model.forward = fails
                return trainer
        """)
    )
    return replace(task, trainable=str(path))


@pytest.mark.parametrize(
    ("raised", "event", "reason"),
    [
        ("RuntimeError('no such layer')", "trial_ended", "RuntimeError: no such layer"),
        ("torch.OutOfMemoryError('80 GB')", "batch_halved", "OutOfMemoryError: 80 GB"),
        ("OSError(5, 'Input/output error')", "segment_lost", "OSError: [Errno 5]"),
    ],
)
def test_what_fails_in_the_second_process_is_told_and_not_its_echo_in_the_first(
    task: Task, tmp_path: Path, raised: str, event: str, reason: str
) -> None:
    two = run_two(failing(task, tmp_path, raised), Recorder(tmp_path))
    assert isinstance(two.first, AttemptResult)
    assert isinstance(two.second, AttemptResult)
    told = cause(two.first, [two.second])
    assert told is two.second
    assert told.event == event
    assert told.fields["reason"].startswith(reason)
    if event == "trial_ended":
        assert "failing.py" in told.fields["error"]


def test_a_diverging_trial_diverges_in_both(task: Task, tmp_path: Path) -> None:
    wild = {**task.params, "learning_rate": 1e6, "optim": "sgd", "max_grad_norm": 0.0}
    two = run_two(replace(task, params=wild), Recorder(tmp_path))
    for result in (two.first, two.second):
        assert isinstance(result, AttemptResult)
        assert result.fields["outcome"] == "diverged"


def test_of_several_failures_the_first_is_told() -> None:
    done, echo = ended(Outcome.COMPLETED), failure(RuntimeError("closed by peer"), None, "")
    early, dead = replace(echo, at=echo.at - 1), replace(lost("died"), at=-math.inf)
    assert cause(echo, [None, done]) is echo
    assert cause(echo, [early, done]) is early
    assert cause(early, [echo]) is early
    assert cause(echo, [early, dead]) is dead


def test_who_has_completed_is_not_contradicted() -> None:
    done, late = ended(Outcome.COMPLETED), failure(RuntimeError("closed by peer"), None, "")
    assert cause(done, [late]) is done
    assert cause(None, [late]) is None
