"""One trial on a worker, without Ray: what is reported, what resumes, what equals plain Trainer."""

from __future__ import annotations

import errno
import json
import math
import multiprocessing
import os
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState

from tests.support.segments import (
    Recorder,
    cache_of,
    corpus,
    last_checkpoint,
    losses,
    over_passes,
    run,
    task,
)
from tune_app.budget import Unit, horizon
from tune_app.core.definition import Budget
from tune_app.core.task import Task
from tune_app.storage.disk_faults import is_storage_fault
from tune_app.training import reporter, trainable

__all__ = ["corpus", "task"]


def test_a_trial_reports_at_its_rungs_and_completes(task: Task, tmp_path: Path) -> None:
    recorder = run(task, Recorder(tmp_path))
    reports = recorder.reports()
    assert [r["rung"] for r in reports if r["rung"] is not None] == [0, 1, 2]
    assert [r["step"] for r in reports if r["rung"] is not None] == [3, 9, 27]
    assert all(r["checkpoint"] for r in reports if r["rung"] is not None)
    assert [r["step"] for r in reports if "eval_loss" in r["metrics"]] == list(range(3, 28, 3))
    assert reports[-1]["tokens"] == 27 * 8 * 32
    assert reports[-1]["fraction"] == 1.0
    assert recorder.of("trial_ended")["outcome"] == "completed"


def test_what_runs_is_recorded(task: Task, tmp_path: Path) -> None:
    effective = run(task, Recorder(tmp_path)).of("trial_effective")["effective"]
    assert effective["optimizer"] == "torch.optim.adamw.AdamW"
    assert effective["autocast"] is None
    assert effective["compiled"] is False
    assert effective["tokens_per_step"] == 256
    assert len(effective["learning_rate"]) == 11
    assert effective["learning_rate"][0] == 0
    assert max(effective["learning_rate"]) == pytest.approx(2e-3, rel=0.01)


@pytest.mark.parametrize(
    ("asked", "key", "value"),
    [
        ({"bf16": True}, "autocast", "bfloat16"),
        ({"torch_compile": True}, "compiled", True),
        ({"optim": "adafactor"}, "optimizer", "transformers.optimization.Adafactor"),
        ({"optim": "adamw_torch_fused"}, "optimizer", "torch.optim.adamw.AdamW"),
    ],
)
def test_what_is_asked_for_is_what_runs(
    task: Task, tmp_path: Path, asked: dict[str, Any], key: str, value: Any
) -> None:
    short = replace(task, rungs=(1.0,), budget=replace(task.budget, amount=512))
    recorder = run(replace(short, params={**task.params, **asked}), Recorder(tmp_path))
    assert recorder.of("trial_ended")["outcome"] == "completed", recorder.of("trial_ended")
    assert recorder.of("trial_effective")["effective"][key] == value


def test_nothing_of_a_trial_stays_for_the_next_one(task: Task, tmp_path: Path) -> None:
    short = replace(task, rungs=(1.0,), budget=replace(task.budget, amount=512))
    before = dict(os.environ)
    run(replace(short, params={**task.params, "bf16": True}), Recorder(tmp_path))
    assert dict(os.environ) == before
    plain = run(short, Recorder(tmp_path / "second"))
    assert plain.of("trial_effective")["effective"]["autocast"] is None


def test_a_paused_trial_goes_on_bit_exactly(task: Task, tmp_path: Path) -> None:
    whole = run(task, Recorder(tmp_path / "whole"))
    parts = [run(task, Recorder(tmp_path / "parts", pause_at=(0, 1)))]
    for _ in range(2):
        checkpoint = last_checkpoint(parts[-1], tmp_path / "parts")
        parts.append(run(task, Recorder(tmp_path / "parts", pause_at=(1,)), checkpoint))
    assert len(parts[0].reports()) < len(whole.reports())
    assert losses(parts) == losses([whole])


@pytest.mark.parametrize(
    ("accumulation", "pause"),
    [
        *((4, 10), (4, 11), (4, 12), (4, 21), (4, 22), (4, 25)),
        *((1, 42), (3, 14), (5, 9), (50, 1), (50, 2)),
    ],
)
def test_it_goes_on_bit_exactly_over_the_end_of_a_pass(
    task: Task, tmp_path: Path, accumulation: int, pause: int
) -> None:
    """Before, at and after the last step of a pass, which has fewer micro-batches than others."""
    many = over_passes(task, accumulation, pause)
    whole = run(many, Recorder(tmp_path / "whole"))
    first = run(many, Recorder(tmp_path / "parts", pause_at=(0,)))
    assert first.reports()[-1]["step"] == pause
    checkpoint = last_checkpoint(first, tmp_path / "parts")
    second = run(many, Recorder(tmp_path / "parts"), checkpoint)
    assert second.of("trial_ended")["outcome"] == "completed", second.of("trial_ended")
    assert losses([first, second]) == losses([whole])
    assert whole.reports()[-1]["tokens"] == second.reports()[-1]["tokens"] == 3 * 42 * 4 * 32
    ran = [r.of("trial_effective")["effective"]["tokens_per_step"] for r in (whole, second)]
    assert ran == [accumulation * 4 * 32] * 2


@pytest.mark.parametrize("pause", [10, 11, 13])
def test_another_batch_size_than_asked_is_refused_wherever_a_trial_goes_on(
    task: Task, tmp_path: Path, pause: int
) -> None:
    many = over_passes(task, 4, pause)
    first = run(many, Recorder(tmp_path, pause_at=(0,)))
    path = tmp_path / "deaf.py"
    path.write_text(
        textwrap.dedent("""
            from trainables import causal_lm
            from trainables.causal_lm import Config, prepare
            def build(config, data, args):
                args.per_device_train_batch_size = 2
                return causal_lm.build(config, data, args)
        """)
    )
    deaf = replace(many, trainable=str(path))
    ended = run(deaf, Recorder(tmp_path), last_checkpoint(first, tmp_path)).of("trial_ended")
    assert ended["outcome"] == "failed"
    # A full step with half the batch is as long as the short one, which is step 11.
    seen_at = 12 if pause == 10 else pause + 1
    assert f"tokens of step {seen_at}: asked for 512, runs 256" in ended["reason"]


def test_an_evaluation_of_several_sets_is_one_report(task: Task, tmp_path: Path) -> None:
    """Half of it would be without the metric of a study that another set tells."""
    path = tmp_path / "two_sets.py"
    path.write_text(
        textwrap.dedent("""
            from trainables import causal_lm
            from trainables.causal_lm import Config, prepare
            def build(config, data, args):
                trainer = causal_lm.build(config, data, args)
                trainer.eval_dataset = {"near": data.evaluation, "far": data.evaluation}
                return trainer
        """)
    )
    both = replace(task, trainable=str(path))
    recorder = run(both, Recorder(tmp_path))
    evaluated = [
        (report["step"], {n for n in report["metrics"] if n.startswith("eval_")})
        for report in recorder.reports()
        if report["step"] % 3 == 0
    ]
    sets = {"eval_near_loss", "eval_far_loss"}
    assert evaluated == [(step, sets) for step in range(3, 28, 3)]
    assert recorder.of("trial_ended")["outcome"] == "completed"


def test_an_interrupted_trial_saves_and_goes_on(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_app.training.reporter.INTERRUPT_POLL_S", 0.0)
    whole = run(task, Recorder(tmp_path / "whole"))
    first = run(task, Recorder(tmp_path / "parts", stop_at=12))
    checkpoint = tmp_path / "parts" / first.of("trial_interrupted")["checkpoint"]
    assert "trial_ended" not in [event for event, _ in first.sent]
    second = run(task, Recorder(tmp_path / "parts"), checkpoint)
    final = [losses([recorder])[27][0] for recorder in (whole, second)]
    assert final[0] == final[1]


class Telegraph(Recorder):
    """A driver in another process, as far as this one sees it: messages go to a file at once."""

    def send(self, event: str, **fields: Any) -> None:
        with open(self._folder / "sent", "a", encoding="utf-8") as file:
            file.write(json.dumps([event, fields]) + "\n")
        time.sleep(0.02)


def run_and_kill(task: Task, folder: Path, at_step: int, begin: Path | None = None) -> Recorder:
    """Kills the process of a trial some time after it told of `at_step`; gives what it told."""
    heard = Recorder(folder)
    child = multiprocessing.get_context("fork").Process(
        target=run, args=(task, Telegraph(folder), begin)
    )
    child.start()
    for event, fields in lines(folder / "sent", child):
        heard.sent.append((event, fields))
        if event == "report" and fields["step"] >= at_step:
            break
    child.kill()
    child.join()
    (folder / "sent").unlink()
    return heard


def lines(path: Path, writer: BaseProcess) -> Iterator[Any]:
    """What stands in a file that another process is writing."""
    while not path.exists():
        assert writer.is_alive()
        time.sleep(0.005)
    with open(path, encoding="utf-8") as file:
        while True:
            line = file.readline()
            if line.endswith("\n"):
                yield json.loads(line)
            else:
                assert writer.is_alive()
                file.seek(file.tell() - len(line.encode()))
                time.sleep(0.005)


@pytest.mark.parametrize("accumulation", [1, 3])
def test_a_trial_whose_process_is_killed_between_rungs_goes_on_bit_exactly(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulation: int
) -> None:
    monkeypatch.setattr("tune_app.training.reporter.SAVE_EVERY_S", 0.0)
    monkeypatch.setattr("tune_app.training.reporter.SAVE_SHARE", math.inf)
    budget = replace(task.budget, unit=Unit.STEPS, amount=27)
    params = {**task.params, "gradient_accumulation_steps": accumulation}
    task = replace(task, budget=budget, params=params)
    whole = run(task, Recorder(tmp_path / "whole"))
    parts = [run_and_kill(task, tmp_path / "parts", at_step=2)]
    for step in (14, 28):
        checkpoint = last_checkpoint(parts[-1], tmp_path / "parts")
        last = step == 28
        parts.append(
            run(task, Recorder(tmp_path / "parts"), checkpoint)
            if last
            else run_and_kill(task, tmp_path / "parts", at_step=step, begin=checkpoint)
        )
    starts = [part.reports()[0]["step"] for part in parts]
    assert starts == [1, 3, 15]
    assert losses(parts) == losses([whole])


def test_a_trial_shows_signs_of_life_at_every_step_and_batch_that_it_evaluates(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_app.training.reporter.ALIVE_EVERY_S", 0.0)
    sent = [event for event, _ in run(task, Recorder(tmp_path)).sent]
    assert sent.count("alive") >= 27 + 9


def test_checkpoints_between_rungs_are_written_as_often_as_they_are_worth_it(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_app.training.reporter.SAVE_EVERY_S", 0.0)
    monkeypatch.setattr("tune_app.training.reporter.SAVE_SHARE", math.inf)
    often = run(task, Recorder(tmp_path / "often"))
    monkeypatch.setattr("tune_app.training.reporter.SAVE_SHARE", 1e-9)
    rarely = run(task, Recorder(tmp_path / "rarely"))
    saved = [[r["step"] for r in x.reports() if r["checkpoint"]] for x in (often, rarely)]
    assert saved == [list(range(1, 28)), [1, 3, 9, 27]]
    assert losses([often]) == losses([rarely])


def test_a_trial_that_died_after_its_last_step_only_says_so(task: Task, tmp_path: Path) -> None:
    whole = run(task, Recorder(tmp_path))
    checkpoint = last_checkpoint(whole, tmp_path)
    again = run(task, Recorder(tmp_path), checkpoint)
    assert [event for event, _ in again.sent] == ["trial_ended"]
    assert again.of("trial_ended")["outcome"] == "completed"


def test_a_trial_equals_plain_trainer_to_the_last_digit(task: Task, tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments, set_seed

    recorder = run(task, Recorder(tmp_path / "ours"))
    loaded = trainable.load("causal_lm")
    config = loaded.config(task.params)
    data = loaded.module.prepare(config, cache_of(task), print)
    args = TrainingArguments(
        output_dir=str(tmp_path / "plain"),
        learning_rate=2e-3,
        per_device_train_batch_size=4,
        per_device_eval_batch_size=16,
        gradient_accumulation_steps=2,
        lr_scheduler_type="cosine",
        warmup_steps=3,
        max_steps=27,
        optim="adamw_torch",
        dataloader_drop_last=True,
        seed=7,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    set_seed(7)
    trainer = loaded.module.build(config, data, args)
    assert type(trainer) is Trainer
    trainer.train()
    assert trainer.evaluate()["eval_loss"] == recorder.reports()[-1]["metrics"]["eval_loss"]


def test_a_diverging_trial_is_told_as_diverged(task: Task, tmp_path: Path) -> None:
    wild = {**task.params, "learning_rate": 1e6, "optim": "sgd", "max_grad_norm": 0.0}
    ended = run(replace(task, params=wild), Recorder(tmp_path)).of("trial_ended")
    assert ended["outcome"] == "diverged", ended


def test_a_resumed_trial_explodes_where_the_undisturbed_one_would(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    plan = horizon(27, 256, [1.0], 9)
    heartbeat = reporter.HeartbeatSender(recorder)
    resumed = reporter.Reporter(recorder, plan, 1.0, lambda step, tokens: None, heartbeat)
    history = [{"loss": 8.0, "step": 1}, {"loss": 1.0, "step": 2}]
    state = TrainerState(global_step=4, log_history=history)
    arguments: Any = None
    resumed.on_log(arguments, state, TrainerControl(), {"loss": 20.0})
    with pytest.raises(reporter.Diverged, match="40 at step 4"):
        resumed.on_log(arguments, state, TrainerControl(), {"loss": 40.0})


@pytest.mark.parametrize("loss", [math.nan, 40.0])
def test_who_diverges_at_a_rung_does_not_come_to_it(tmp_path: Path, loss: float) -> None:
    """The driver would take the worker back there for want of an evaluation."""
    recorder = Recorder(tmp_path, pause_at=(0,))
    plan = horizon(27, 256, [1 / 9, 1.0], 9)
    heartbeat = reporter.HeartbeatSender(recorder)
    told = reporter.Reporter(recorder, plan, 1.0, lambda step, tokens: None, heartbeat)
    state = TrainerState(global_step=3, log_history=[{"loss": 8.0, "step": 1}])
    arguments: Any = None
    with pytest.raises(reporter.Diverged):
        told.on_log(arguments, state, TrainerControl(), {"loss": loss})
    with pytest.raises(reporter.Diverged):
        told.on_evaluate(arguments, state, TrainerControl(), {"eval_loss": math.nan})
    assert [report["rung"] for report in recorder.reports()] == [None, None]
    assert plan.rung_at(3) == 0


def test_an_error_of_the_trainable_fails_the_trial_with_its_traceback(
    task: Task, tmp_path: Path
) -> None:
    path = tmp_path / "broken.py"
    path.write_text(
        textwrap.dedent("""
            from trainables.causal_lm import Config, prepare
            def build(config, data, args):
                raise RuntimeError("no such layer")
        """)
    )
    broken = replace(task, trainable=str(path))
    ended = run(broken, Recorder(tmp_path)).of("trial_ended")
    assert ended["outcome"] == "failed"
    assert ended["reason"] == "RuntimeError: no such layer"
    assert "broken.py" in ended["error"]


def cramped(task: Task, folder: Path, fits: int, **params: Any) -> Task:
    """The task on a device where no more than `fits` examples fit into memory."""
    path = folder / "cramped.py"
    path.write_text(
        textwrap.dedent(f"""
            import torch
            from trainables import causal_lm
            from trainables.causal_lm import Config, prepare
            def build(config, data, args):
                trainer = causal_lm.build(config, data, args)
                forward = trainer.model.forward
                def cramped(input_ids=None, **rest):
                    if trainer.model.training and len(input_ids) > {fits}:
                        raise torch.OutOfMemoryError("tried to allocate 80 GB")
                    return forward(input_ids=input_ids, **rest)
                trainer.model.forward = cramped
                return trainer
        """)
    )
    return replace(task, trainable=str(path), params={**task.params, **params})


def test_a_trial_out_of_memory_runs_the_same_steps_in_half_the_micro_batches(
    task: Task, tmp_path: Path
) -> None:
    whole = run(task, Recorder(tmp_path / "whole"))
    small = cramped(task, tmp_path, fits=2)
    ((event, told),) = run(small, Recorder(tmp_path / "first")).sent
    assert (event, told["per_device_train_batch_size"]) == ("batch_halved", 2)
    assert told["gradient_accumulation_steps"] == 4
    assert told["reason"] == "OutOfMemoryError: tried to allocate 80 GB"
    again = run(replace(small, is_halved=True), Recorder(tmp_path / "again"))
    assert again.of("trial_ended")["outcome"] == "completed", again.of("trial_ended")
    effective = again.of("trial_effective")["effective"]
    assert (effective["micro_batch"], effective["accumulation"]) == (2, 4)
    assert effective["tokens_per_step"] == 256
    assert again.reports()[-1]["tokens"] == whole.reports()[-1]["tokens"]
    assert list(losses([again])) == list(losses([whole]))
    both = [recorder.reports()[-1]["metrics"]["eval_loss"] for recorder in (whole, again)]
    assert both[0] == pytest.approx(both[1], rel=1e-3)


def tens(task: Task, accumulation: int, pause: int) -> Task:
    """Two passes of 16 micro-batches of ten; in fives a pass could have one more half."""
    params = {**task.params, "per_device_train_batch_size": 10}
    loaded = trainable.load("causal_lm")
    data = loaded.module.prepare(loaded.config(params), cache_of(task), print)
    assert len(data.train) // 5 == 2 * 16 + 1
    return over_passes(replace(task, params=params), accumulation, pause, 2, micro_batches=16)


@pytest.mark.parametrize("accumulation", [1, 2, 3, 50])
def test_half_the_micro_batch_makes_the_same_passes(
    task: Task, tmp_path: Path, accumulation: int
) -> None:
    many = tens(task, accumulation, pause=1)
    whole = run(many, Recorder(tmp_path / "whole"))
    halves = run(replace(many, is_halved=True), Recorder(tmp_path / "halves"))
    assert halves.of("trial_ended")["outcome"] == "completed", halves.of("trial_ended")
    ran = halves.of("trial_effective")["effective"]
    assert (ran["micro_batch"], ran["tokens_per_step"]) == (5, accumulation * 10 * 32)
    for ours, theirs in zip(halves.reports(), whole.reports(), strict=True):
        assert (ours["step"], ours["tokens"]) == (theirs["step"], theirs["tokens"])
        assert ours["metrics"] == pytest.approx(theirs["metrics"], rel=1e-3)


@pytest.mark.parametrize("pause", [7, 8, 12])
def test_a_trial_goes_on_in_half_the_micro_batch_where_it_was(
    task: Task, tmp_path: Path, pause: int
) -> None:
    many = tens(task, 2, pause)
    whole = run(many, Recorder(tmp_path / "whole"))
    first = run(many, Recorder(tmp_path / "parts", pause_at=(0,)))
    checkpoint = last_checkpoint(first, tmp_path / "parts")
    again = replace(many, is_halved=True)
    second = run(again, Recorder(tmp_path / "parts"), checkpoint)
    assert second.of("trial_ended")["outcome"] == "completed", second.of("trial_ended")
    for ours, theirs in zip(second.reports()[::-1], whole.reports()[::-1], strict=False):
        assert (ours["step"], ours["tokens"]) == (theirs["step"], theirs["tokens"])
        assert ours["metrics"] == pytest.approx(theirs["metrics"], rel=1e-3)


@pytest.mark.parametrize(("size", "is_halved"), [(4, True), (3, False)])
def test_a_trial_that_cannot_be_halved_again_is_out_of_memory(
    task: Task, tmp_path: Path, size: int, is_halved: bool
) -> None:
    small = cramped(task, tmp_path, fits=1, per_device_train_batch_size=size)
    recorder = run(replace(small, is_halved=is_halved), Recorder(tmp_path))
    assert recorder.of("trial_ended")["outcome"] == "out_of_memory"


def test_storage_that_fails_is_no_fault_of_the_trial(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("tune_app.storage.checkpoints.os.rename", fail)
    recorder = run(task, Recorder(tmp_path))
    assert recorder.of("segment_lost")["reason"].endswith("Input/output error")
    assert "trial_ended" not in [event for event, _ in recorder.sent]


def test_a_worker_that_comes_back_and_its_successor_leave_each_other_what_they_write(
    task: Task, tmp_path: Path
) -> None:
    class Lost(Recorder):
        """Another worker has the trial, begins and ends, while this one is about to publish."""

        is_whole = False

        def publish(self, folder: Path, step: int) -> str:
            run(task, Recorder(tmp_path, pause_at=(0,)))
            self.is_whole = (folder / "model.safetensors").exists()
            return super().publish(folder, step)

    assert run(task, Lost(tmp_path, pause_at=(0,))).is_whole
    assert [path.name for path in (tmp_path / "checkpoints" / "0000").iterdir()] == ["step-3"]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (OSError(errno.ESTALE, "Stale file handle"), True),
        (RuntimeError("Error while serializing: I/O error: (os error 5)"), True),
        (RuntimeError("Error while serializing: I/O error: (os error 2)"), False),
        (FileNotFoundError(errno.ENOENT, "No such file"), False),
        (ValueError("no such layer"), False),
    ],
)
def test_storage_is_blamed_for_its_own_faults_only(error: Exception, fault: bool) -> None:
    assert is_storage_fault(error) is fault


def test_running_something_else_than_asked_fails_the_trial(task: Task, tmp_path: Path) -> None:
    path = tmp_path / "deaf.py"
    path.write_text(
        textwrap.dedent("""
            import torch
            from trainables import causal_lm
            from trainables.causal_lm import Config, prepare
            def build(config, data, args):
                trainer = causal_lm.build(config, data, args)
                trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=1e-3)
                return trainer
        """)
    )
    deaf = replace(task, trainable=str(path))
    ended = run(deaf, Recorder(tmp_path)).of("trial_ended")
    assert ended["outcome"] == "failed"
    assert "asked for torch.optim.adamw.AdamW, runs torch.optim.sgd.SGD" in ended["reason"]


def test_a_budget_in_seconds_fixes_its_steps_before_the_first(task: Task, tmp_path: Path) -> None:
    timed = replace(task, budget=Budget(Unit.SECONDS, 1.5, trials=1, evaluations=3))
    recorder = run(timed, Recorder(tmp_path))
    steps = recorder.of("trial_effective")["effective"]["max_steps"]
    assert steps > 3
    assert recorder.reports()[-1]["step"] == steps
    assert math.isclose(recorder.reports()[-1]["fraction"], 1.0)


def test_the_best_model_loads_with_plain_transformers(task: Task, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    checkpoint = last_checkpoint(run(task, Recorder(tmp_path)), tmp_path)
    assert (checkpoint / "model.safetensors").exists()
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    tokens = AutoTokenizer.from_pretrained(checkpoint)("люди", return_tensors="pt")
    assert model(tokens["input_ids"]).logits.shape[-1] == len(
        AutoTokenizer.from_pretrained(checkpoint)
    )


def test_names_with_dots_reach_the_arguments_as_mappings() -> None:
    loaded = trainable.load("causal_lm")
    params = {"lr_scheduler_kwargs.num_cycles": 3, "size": "nano"}
    assert loaded.arguments(params)["lr_scheduler_kwargs"] == {"num_cycles": 3}
    assert not loaded.name_problems(params)
    assert loaded.name_problems(["lr_scheduler_kwarg.num_cycles"])
    assert loaded.defaults([*params, "optim"]) == {"size": "nano", "optim": "adamw_torch"}


def rates(recorder: Recorder) -> dict[int, float]:
    """The learning rate of the last step before each report that has it."""
    found = [(report["step"], report["metrics"]) for report in recorder.reports()]
    return {step: m["learning_rate"] for step, m in found if "learning_rate" in m}


def taken_over(task: Task, folder: Path, **changes: Any) -> tuple[Recorder, Recorder]:
    """A trial that is paused at its second rung, and one that goes on from there with changes."""
    first = run(task, Recorder(folder / "source", pause_at=(1,)))
    checkpoint = last_checkpoint(first, folder / "source")
    changed = replace(
        task,
        params={**task.params, **changes},
        has_new_values=True,
        max_steps=27,
    )
    return first, run(changed, Recorder(folder / "other"), checkpoint)


def test_a_changed_learning_rate_counts_from_the_step_of_the_checkpoint_on(
    task: Task, tmp_path: Path
) -> None:
    whole = run(task, Recorder(tmp_path / "whole"))
    _, other = taken_over(task, tmp_path, learning_rate=4e-3)
    assert other.of("trial_ended")["outcome"] == "completed", other.of("trial_ended")
    after = rates(other)
    assert min(after) > 9
    assert after == pytest.approx({step: 2 * rates(whole)[step] for step in after})
    effective = other.of("trial_effective")["effective"]["learning_rate"]
    assert max(effective) == pytest.approx(4e-3, rel=0.01)
    final = [recorder.reports()[-1]["metrics"]["eval_loss"] for recorder in (whole, other)]
    assert final[0] != final[1]


def test_a_takeover_without_a_change_goes_on_bit_exactly(task: Task, tmp_path: Path) -> None:
    whole = run(task, Recorder(tmp_path / "whole"))
    first, other = taken_over(task, tmp_path)
    assert losses([first, other]) == losses([whole])


def test_a_changed_weight_decay_counts(task: Task, tmp_path: Path) -> None:
    whole = run(task, Recorder(tmp_path / "whole"))
    _, other = taken_over(task, tmp_path, weight_decay=0.5)
    assert rates(other)[27] == rates(whole)[27]
    final = [recorder.reports()[-1]["metrics"]["eval_loss"] for recorder in (whole, other)]
    assert final[0] != final[1]
