"""Trials of two processes each: one study in which some of them fail, die and are stopped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.support import processes
from tests.support.segments import Recorder
from tests.system.conftest import Shell, ends, trial_workers
from tune_app.core.definition import StudyDefinition
from tune_app.core.task import Task
from tune_app.training import segment

STUDY = """
method: grid
metric: {name: final_eval_loss, goal: minimize}
parameters:
  fault: {values: [none, raise]}
  learning_rate: {values: [0.003, 1.0e-7, 1.0e-8]}
  vocab_size: {value: 512}
  block_size: {value: 64}
  eval_tokens: {value: 2048}
tune:
  trainable: TRAINABLE
  budget: {tokens: 40000, evaluations: 3}
  resources: {processes: 2, concurrent: 1}
  scheduler: asha
  constraints: learning_rate == 0.003 or fault == 'none'
  trackers: []
"""

TRAINABLE = '''
"""A language model whose second process dies in the baseline, and raises where it is asked.

It dies twice: the first process meets it at once, and later than it is waited for.
"""
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from trainables import causal_lm
from trainables.causal_lm import prepare, sample
from tune_app.engine.worker_group import ABORT_AFTER_S

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Config(causal_lm.Config):
    fault: str = "dies"


def build(config, data, args):
    trainer = causal_lm.build(config, data, args)
    rank = os.environ.get("RANK", "-alone")
    with open(HERE / f"rank{rank}", "a") as file:
        print(os.getpid(), file=file)
    forward = trainer.model.forward

    def faulty(input_ids=None, **rest):
        step = trainer.state.global_step if trainer.model.training else None
        if config.fault == "raise" and step == 2 and rank == "1":
            raise RuntimeError("only the second one")
        first_time = HERE / f"step-{step}-of-{rank}"
        if config.fault == "dies" and step in (20, 30) and not first_time.exists():
            first_time.touch()
            if rank == "1":
                os.kill(os.getpid(), signal.SIGKILL)
            if step == 30:
                time.sleep(ABORT_AFTER_S + 3)
        return forward(input_ids=input_ids, **rest)

    trainer.model.forward = faulty
    return trainer
'''


@dataclass
class Ran:
    """What the study left behind."""

    folder: Path
    events: list[dict[str, Any]]
    ended_with_their_worker: bool
    """The other processes of a trial whose worker was killed were gone before the study was."""

    def of(self, event: str) -> list[dict[str, Any]]:
        return [item for item in self.events if item["event"] == event]

    def processes(self, rank: int) -> list[str]:
        """The process that had this rank, for each segment that began."""
        return (self.folder / f"rank{rank}").read_text().split()


def rank_processes(driver: int) -> list[psutil.Process]:
    """The processes of trials with a rank above 0."""
    return processes.below(driver, "RankWorker")


@pytest.fixture(scope="module")
def ran(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("worker_group")
    (folder / "faulty.py").write_text(TRAINABLE)
    study = folder / "study.yaml"
    study.write_text(STUDY.replace("TRAINABLE", str(folder / "faulty.py")))
    process = shell.start("run", str(study), "--name", "worker_group")
    shell.wait_for("worker_group", lambda events: "0000" in ends(events), "the end of its baseline")
    followers = rank_processes(process.pid)
    assert followers
    trial_workers(process.pid)[0].kill()
    gone, _ = psutil.wait_procs(followers, timeout=60)
    was_running = process.poll() is None
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    return Ran(folder, shell.journal("worker_group"), len(gone) == len(followers) and was_running)


def test_a_step_has_the_tokens_of_both_processes(ran: Ran) -> None:
    effective = {e["trial"]: e["effective"] for e in ran.of("trial_effective")}
    assert len(effective) == 5
    for values in effective.values():
        assert values["processes"] == 2
        assert values["tokens_per_step"] == 2 * 8 * 64
        assert values["max_steps"] == 40_000 // (2 * 8 * 64)
    assert all(r["tokens"] == r["step"] * 2 * 8 * 64 for r in ran.of("report"))


def test_a_trial_whose_second_process_died_ends_as_one_process_with_twice_the_batch(
    ran: Ran, shell: Shell, tmp_path: Path
) -> None:
    lost = [(e["trial"], e["reason"]) for e in ran.of("segment_lost")[:2]]
    assert lost == [("0000", "its process of rank 1 died")] * 2
    begun = [e for e in ran.of("segment_started") if e["trial"] == "0000"]
    assert [item["checkpoint"] for item in begun] == [None, *["checkpoints/0000/step-13"] * 2]
    torch.set_num_threads(1)
    study = StudyDefinition.from_document(ran.of("study_started")[0]["study"])
    alone = Recorder(tmp_path)
    alone.paths = replace(alone.paths, cache=shell.cache)
    fixed = {"vocab_size": 512, "block_size": 64, "eval_tokens": 2048}
    segment.run(
        Task(
            trial="0000",
            params={**fixed, "per_device_train_batch_size": 16, "fault": "none"},
            seed=study.seed,
            trainable=study.trainable,
            budget=study.budget,
            rungs=study.rungs,
            accelerator=study.accelerator,
        ),
        alone,
    )
    reported = {r["step"]: r["metrics"] for r in ran.of("report") if r["trial"] == "0000"}
    assert list(reported) == [report["step"] for report in alone.reports()]
    for report in alone.reports():
        assert reported[report["step"]] == pytest.approx(report["metrics"], rel=1e-3)


def test_what_one_process_raises_is_told_with_its_own_traceback(ran: Ran) -> None:
    params = {e["trial"]: e["params"] for e in ran.of("trial_created")}
    (end,) = [e for e in ran.of("trial_ended") if params[e["trial"]].get("fault") == "raise"]
    assert (end["outcome"], end["reason"]) == ("failed", "RuntimeError: only the second one")
    assert 'raise RuntimeError("only the second one")' in end["error"]


def test_trials_are_stopped_and_others_run_in_the_same_processes(ran: Ran) -> None:
    outcomes = list(ends(ran.events).values())
    assert outcomes.count("completed") == 2
    assert outcomes.count("stopped") == 2
    # One process per rank at first. Rank 1 died twice, then a worker, and its rank 1 with it.
    assert len(set(ran.processes(0))) == 2
    assert len(set(ran.processes(1))) == 4
    # The segment whose worker was killed may not have begun to train.
    segments = len(ran.of("segment_started"))
    assert all(len(ran.processes(rank)) in (segments - 1, segments) for rank in (0, 1))


def test_the_other_processes_of_a_killed_worker_die_with_it(ran: Ran) -> None:
    assert ran.of("segment_lost")[-1]["reason"] == "its worker process died"
    assert ran.ended_with_their_worker
