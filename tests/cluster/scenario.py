"""What happens to the cluster, in order."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import machines
from tests.cluster.checks import check_study, check_token
from tests.cluster.machines import Machine
from tests.cluster.scene import TRIAL, WAIT_S, Scenario

STUDY = Path(__file__).parent / "study.yaml"
AWAY_S = 60.0
"""After so long without a head Ray's processes end, unless they are told to be more patient."""


@contextmanager
def _power(scenario: Scenario) -> Iterator[None]:
    try:
        yield
    finally:
        machines.stop_all([scenario.head, *scenario.workers])


def run(folder: Path, redis: bool) -> int:
    """All of it; 0 if everything held.

    Args:
        folder: for all that is written.
        redis: whether the head keeps its books in a Redis (Ray's GCS fault tolerance).
    """
    machines.sh("mount", "--make-rprivate", "/")
    (folder / "laptop_ray").mkdir()
    Path("/tmp/ray").mkdir(exist_ok=True)
    machines.sh("mount", "--bind", str(folder / "laptop_ray"), "/tmp/ray")
    machines.make_network()
    scenario = Scenario(folder, redis)
    print(f"logs in {folder}", flush=True)
    with _power(scenario):
        try:
            _play(scenario)
        except AssertionError as error:
            scenario.say(f"FAILED: {error}")
            return 1
    scenario.say("all of it held")
    return 0


def _play(it: Scenario) -> None:
    first, second, third = it.workers
    _up(it, [first, second])
    check_token(it)

    where = it.workers[0].name if it.redis else "the head"
    it.say(f"the study starts on {where}: python -m tune_app.run study.yaml --address … ")
    driver = it.drive(f"tune_app.run {STUDY} --name faults", "driver.log")
    it.wait(lambda: len(it.ends()) >= 1, "the first trial has ended")

    _cut_a_link(it, second, third)
    _cut_a_power(it, third)
    driver = _lose_the_head(it, driver, [first, second])

    it.wait(lambda: driver.poll() is not None, "the driver has ended", 3 * WAIT_S)
    check_study(it, driver.returncode)
    it.say(f"nodes alive at the end: {it.nodes()} (the head, and the workers that came back)")
    _down(it)


def _cut_a_link(it: Scenario, second: Machine, third: Machine) -> None:
    it.say(f"FAULT: the link of {second.name} is cut while it trains")
    it.wait(lambda: it.busy(second), f"a trial is on {second.name}")
    losses = it.losses()
    second.cut()

    it.say(f"ADDED: {third.name}, which joins the running cluster")
    it.switch_on(third)
    it.laptop.join(third, it.head)
    it.wait(lambda: third.runs(TRIAL), f"a trial runs on {third.name}")
    it.wait(lambda: it.losses() > losses, f"the trial on {second.name} is given to another worker")
    it.say(f"the link of {second.name} is mended")
    second.mend()
    it.wait(lambda: it.nodes() == 4, f"{second.name} is back by itself")


def _cut_a_power(it: Scenario, machine: Machine) -> None:
    it.say(f"FAULT: {machine.name} loses its power while it trains")
    it.wait(lambda: it.busy(machine), f"a trial is on {machine.name}")
    losses = it.losses()
    machine.kill()
    it.wait(lambda: it.losses() > losses, "its trial is given to another worker")


def _lose_the_head(
    it: Scenario, driver: subprocess.Popen[bytes], workers: list[Machine]
) -> subprocess.Popen[bytes]:
    """The driver dies with it and is resumed; with a Redis it lives elsewhere and goes on."""
    it.say("FAULT: the head loses its power while trials run")
    it.wait(lambda: any(it.busy(worker) for worker in workers), "a trial trains")
    begun, losses = [worker.began("raylet") for worker in workers], it.losses()
    it.head.kill()
    if it.redis:
        time.sleep(AWAY_S)
    else:
        it.wait(lambda: driver.poll() is not None, "nobody hears of the driver any more")
    it.say("the head is switched on again; ray up")
    it.switch_on(it.head)
    it.laptop.up()
    it.wait(lambda: it.nodes() == 1 + len(workers), "head and both workers are in the cluster")
    same = [worker.began("raylet") for worker in workers] == begun
    assert same == it.redis, "with a Redis the workers stay, and without one they start anew"
    if not it.redis:
        it.say("python -m tune_app resume faults --address …")
        return it.drive("tune_app resume faults", "driver.log")
    assert driver.poll() is None, "the driver has ended"
    assert it.losses() == losses, "a trial was lost"
    it.say("  the driver and its trials have gone on all the while")
    return driver


def _up(it: Scenario, workers: list[Machine]) -> None:
    it.say("three machines are switched on; ray up")
    it.laptop.build()
    for machine in (it.head, *workers):
        it.switch_on(machine)
    redis = machines.start_redis(it.folder / "redis") if it.redis else None
    it.laptop.write(it.head, workers, redis)
    it.laptop.up()
    it.wait(lambda: it.nodes() == 3, "head and both workers are in the cluster")


def _down(it: Scenario) -> None:
    it.say("ray down")
    it.laptop.down()
    # Ray stops the head; that of a worker ends by itself when it has missed the head for a minute.
    left = (it.head, *it.workers[:2])
    it.wait(lambda: not any(machine.runs("raylet") for machine in left), "no Ray runs anywhere")
