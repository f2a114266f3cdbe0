"""What happens to the cluster, in order, and what must be true after it."""

from __future__ import annotations

import json
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster import machines
from tests.cluster.laptop import ROOT, Laptop
from tests.cluster.machines import Machine
from tune_app.state import StudyState
from tune_app.trial import Status

Events = list[dict[str, Any]]

STUDY = Path(__file__).parent / "study.yaml"
TRIALS = 20
TRIAL = "ImplicitFunc"
"""What Ray calls a process that trains."""

WAIT_S = 420.0
SITE_PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))


class Scenario:
    """The cluster, its study, and the log of what was seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begun = time.monotonic()
        self.storage = folder / "studies"
        self.laptop = Laptop(folder)
        self.head, *self.workers = (Machine(n, folder / f"machine{n}") for n in (10, 11, 12, 13))
        self.seen = 0

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.begun:5.0f} s] {text}", flush=True)

    def switch_on(self, machine: Machine) -> None:
        machine.start(self.laptop.public_key)
        _own_environment(machine)

    def journal(self) -> Events:
        path = self.storage / "faults" / "journal.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def news(self) -> Events:
        """What the journal says since the last call; the worst of it is told."""
        events = self.journal()
        new, self.seen = events[self.seen :], len(events)
        for event in new:
            if event["event"] in ("segment_lost", "trial_ended", "study_ended"):
                words = [
                    f"{key}={event[key]}"
                    for key in ("trial", "outcome", "reason")
                    if event.get(key)
                ]
                self.say(f"    journal: {event['event']} {' '.join(words)}")
        return new

    def wait(self, wanted: Callable[[], bool], what: str, most_s: float = WAIT_S) -> None:
        """Waits for something; tells how long it took."""
        begun = time.monotonic()
        while not wanted():
            self.news()
            if time.monotonic() > begun + most_s:
                raise AssertionError(f"it never came to this: {what}")
            time.sleep(0.5)
        self.news()
        self.say(f"  {what}, after {time.monotonic() - begun:.0f} s")

    def ends(self) -> dict[str, dict[str, Any]]:
        """The end of each trial; a second end of one is a mistake."""
        found: dict[str, dict[str, Any]] = {}
        for event in self.journal():
            if event["event"] == "trial_ended":
                assert event["trial"] not in found, f"trial {event['trial']} ended twice"
                found[event["trial"]] = event
        return found

    def losses(self) -> int:
        return sum(event["event"] == "segment_lost" for event in self.journal())

    def busy(self, machine: Machine) -> bool:
        """Whether a trial certainly trains there: as many are running as there are processes."""
        state = StudyState()
        for event in self.journal():
            state.apply(event)
        places = sum(worker.runs(TRIAL) for worker in self.workers)
        return machine.runs(TRIAL) and len(state.with_status(Status.RUNNING)) >= places

    def nodes(self) -> int:
        """How many nodes the head takes for alive."""
        listed = self.laptop.on_head("ray list nodes --filter state=ALIVE --format json --limit 99")
        return len(re.findall(r'"node_ip": "', listed))


def _own_environment(machine: Machine) -> None:
    """A machine's virtual environment: everything that is installed here, but not this package."""
    bin_ = machine.home / "tune_app_venv" / "bin"
    machines.sh(sys.executable, "-m", "venv", "--without-pip", str(bin_.parent))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = bin_.parent / "lib" / version / "site-packages"
    # By its path alone: .pth files in that folder, as of an editable install, are not read.
    (site / "others.pth").write_text(SITE_PACKAGES + "\n")
    (bin_ / "ray").write_text(f'#!/bin/sh\nexec {bin_}/python -m ray.scripts.scripts "$@"\n')
    (bin_ / "ray").chmod(0o755)


@contextmanager
def _power(scenario: Scenario) -> Iterator[None]:
    try:
        yield
    finally:
        machines.stop_all([scenario.head, *scenario.workers])


def run(folder: Path) -> int:
    """All of it; 0 if everything held."""
    machines.sh("mount", "--make-rprivate", "/")
    (folder / "laptop_ray").mkdir()
    Path("/tmp/ray").mkdir(exist_ok=True)
    machines.sh("mount", "--bind", str(folder / "laptop_ray"), "/tmp/ray")
    machines.make_network()
    scenario = Scenario(folder)
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
    _check_token(it)

    it.say("the study starts on the head: python -m tune_app.run study.yaml --address … ")
    command = (
        f"cd {ROOT / 'tests'} && python -m tune_app.run {STUDY} --address {it.head.ip}:6379 "
        f"--storage {it.storage} --name faults"
    )
    driver = it.laptop.start_on_head(command, it.folder / "driver.log")
    it.wait(lambda: len(it.ends()) >= 1, "the first trial has ended")
    before = it.ends()

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

    it.say(f"FAULT: {third.name} loses its power while it trains")
    it.wait(lambda: it.busy(third), f"a trial is on {third.name}")
    losses = it.losses()
    third.kill()
    it.wait(lambda: it.losses() > losses, "its trial is given to another worker")

    it.wait(lambda: driver.poll() is not None, "the driver has ended", 3 * WAIT_S)
    _check_study(it, driver.returncode, before)
    it.say(f"nodes alive at the end: {it.nodes()} (the head, and the workers that came back)")
    _down(it)


def _up(it: Scenario, workers: list[Machine]) -> None:
    it.say("three machines are switched on; ray up")
    it.laptop.build()
    for machine in (it.head, *workers):
        it.switch_on(machine)
    it.laptop.write(it.head, workers)
    it.laptop.up()
    it.wait(lambda: it.nodes() == 3, "head and both workers are in the cluster")


def _check_token(it: Scenario) -> None:
    for machine in (it.head, *it.workers[:2]):
        mode = stat.S_IMODE((machine.home / ".ray" / "auth_token").stat().st_mode)
        assert mode == 0o600, f"the token on {machine.name} has mode {mode:o}"
    stranger = (
        "RAY_AUTH_TOKEN=0123456789abcdef0123456789abcdef python -c "
        f"'import ray; ray.init(\"{it.head.ip}:6379\")' >/dev/null 2>&1 || echo refused"
    )
    assert "refused" in it.laptop.on_head(stranger), "another token is taken"
    status = "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8265/api/jobs/"
    assert "401" in it.laptop.on_head(status), "the dashboard answers without a token"
    outside = f"curl -s -m 3 http://{it.head.ip}:8265/ >/dev/null || echo closed"
    assert "closed" in it.laptop.on_head(outside), "the dashboard is open to the network"
    it.say("  the token is a file of mode 0600 everywhere; who has another is refused; the")
    it.say("  dashboard is on loopback alone and asks for the token")


def _check_study(it: Scenario, code: int | None, before: dict[str, dict[str, Any]]) -> None:
    said = (it.folder / "driver.log").read_text(encoding="utf-8", errors="replace")
    assert code == 0, f"the driver ended with {code}:\n{said[-3000:]}"
    assert "Traceback" not in said
    ends = it.ends()
    assert len(ends) == TRIALS, f"{len(ends)} trials ended, not {TRIALS}"
    outcomes = {end["outcome"] for end in ends.values()}
    assert outcomes <= {"completed", "stopped"}, outcomes
    assert before.items() <= ends.items(), "a finished trial changed"
    events = it.journal()
    assert events[-1]["event"] == "study_ended"
    created = [event["trial"] for event in events if event["event"] == "trial_created"]
    assert len(set(created)) == len(created), "a trial was created twice"
    rungs = [
        (e["trial"], e["rung"]) for e in events if e["event"] == "report" and e["rung"] is not None
    ]
    assert len(set(rungs)) == len(rungs), "a rung was counted twice"
    assert not it.head.runs(TRIAL), "a trial ran on the head"
    _check_secret(it)
    segments = sum(event["event"] == "segment_started" for event in events)
    it.say(
        f"  {len(ends)} trials in {segments} segments, {it.losses()} of them lost; no trial and no "
        "rung twice; those that had ended before the faults are as they were"
    )


def _check_secret(it: Scenario) -> None:
    """The token is nowhere but in its own files."""
    token = it.laptop.token.read_text().strip()
    for machine in (it.head, *it.workers[:2]):
        assert not machine.runs(token), f"the token is in a command line on {machine.name}"
    for path in it.folder.rglob("*"):
        if path.is_file() and path.name != "auth_token" and token.encode() in path.read_bytes():
            raise AssertionError(f"the token is in {path}")
    it.say("  the token is in no other file and in no command line")


def _down(it: Scenario) -> None:
    it.say("ray down")
    it.laptop.down()
    # Ray stops the head; that of a worker ends by itself when it has missed the head for a minute.
    left = (it.head, *it.workers[:2])
    it.wait(lambda: not any(machine.runs("raylet") for machine in left), "no Ray runs anywhere")
