"""A study in a bucket that loses its driver and its machine; and what of it is secret.

One search is all there is here: starting Ray is what costs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import processes
from tests.support.object_server import SECRET, object_server
from tests.system.conftest import (
    SMALL,
    TIMEOUT_S,
    Shell,
    ends,
    events_in,
    kill_group,
    trial_workers,
)

TOKEN = "0123456789abcdef-a-token-of-tests-0123456789"
WANDB_KEY = "f" * 8 + "0123456789abcdef0123456789abcdef"
SECRETS = (SECRET, TOKEN, WANDB_KEY)
PLACE = ("--storage", "s3://studies/of/tests")
CHANGES = ("resources.concurrent=2", "budget.trials=5", "budget.tokens=72000")
NOBODY_GETS_IN = {"dashboard": 401, "jobs": 401, "gcs": "refused refused joined"}
SHORT_LEASE = """
import sys
from tune_app.storage import lease
lease.LEASE_S, lease.REFRESH_S = 12.0, 1.0
from tune_app.__main__ import main
sys.exit(main())
"""

pytestmark = pytest.mark.usefixtures("no_orphans")


class Machine(Shell):
    """A machine with secrets in its environment; a dead driver's lease is short here."""

    def start(
        self, *words: str, program: tuple[str, ...] = ("-c", SHORT_LEASE)
    ) -> subprocess.Popen[str]:
        return super().start(*words, program=program)

    def copy(self) -> Path:
        """The working copy of the study."""
        (found,) = (self.cache / "studies").glob("*/lost")
        return found

    def journal(self, name: str) -> list[dict[str, Any]]:
        found = (self.cache / "studies").glob(f"*/{name}/journal.jsonl")
        return [event for path in found for event in events_in(path.read_bytes())]


@pytest.fixture
def machine(shell: Shell, tmp_path: Path) -> Iterator[Machine]:
    with object_server() as environment:
        secrets = {
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_AUTH_MODE": "token",
            "WANDB_API_KEY": WANDB_KEY,
            "WANDB_MODE": "offline",
        }
        (tmp_path / "folder").mkdir()
        for part in shell.cache.iterdir() if shell.cache.exists() else ():
            if part.is_dir() and part.name != "studies":
                shutil.copytree(part, tmp_path / "cache" / part.name)
        yield Machine(tmp_path / "folder", tmp_path / "cache", environment | secrets)


def test_a_bucket_survives_driver_and_machine_and_nobody_gets_in_or_finds_a_secret(
    machine: Machine, tmp_path: Path
) -> None:
    driver = machine.start(
        *("run", str(SMALL), "--name", "lost", *PLACE),
        *(word for change in CHANGES for word in ("--set", change)),
    )
    machine.wait_for("lost", lambda events: bool(_rungs(events)), "a rung")
    session = _ray_session(driver.pid)
    with _held(driver.pid):
        assert _refusals(driver.pid) == NOBODY_GETS_IN
        _check_no_secret_in_command_lines()
        second = machine.run("resume", "lost", *PLACE)
    assert second.returncode == 2
    assert f"already running: process {driver.pid} on " in second.stderr

    machine.wait_for("lost", _goes_on_after_an_end, "a report after an end")
    kill_group(driver, signal.SIGKILL)
    driver.communicate(timeout=30)
    # The machine goes down: what Ray left behind goes with its driver.
    processes.end(processes.started(session))
    lost = tmp_path / "lost"
    machine.copy().rename(lost)
    _download(machine, tmp_path / "at-death")
    # What was written here and not pushed yet may be lost: nobody has acted on it.
    before = _pushed(tmp_path / "at-death" / "lost")
    assert events_in((lost / "journal.jsonl").read_bytes())[: len(before)] == before
    assert ends(before)

    early = machine.run("resume", "lost", *PLACE)
    if early.returncode:
        (seconds,) = re.findall(r"its lease expires in (\d+) s", early.stderr)
        time.sleep(int(seconds) + 1)
    resumed = early if early.returncode == 0 else machine.run("resume", "lost", *PLACE)
    assert resumed.returncode == 0, resumed.stderr
    after = machine.journal("lost")
    assert after[: len(before)] == before
    assert len(ends(after)) == 5

    shutil.rmtree(machine.copy())
    shown = json.loads(machine.run("show", "lost", *PLACE, "--json").stdout)
    assert (shown["status"], shown["folder"]) == ("ended", "s3://studies/of/tests/lost")
    assert machine.run("report", "lost", *PLACE).returncode == 0
    _download(machine, tmp_path / "bucket")
    best = tmp_path / "bucket" / "lost" / shown["best"]["checkpoint"]
    assert (best / "model.safetensors").stat().st_size > 100_000
    assert (tmp_path / "bucket" / "lost" / "report" / "report.md").exists()
    for folder in (lost, machine.cache, tmp_path / "bucket", Path(session)):
        assert _holding_secrets(folder) == []
    said = resumed.stdout + resumed.stderr + second.stderr
    assert not any(secret in said for secret in SECRETS)


@contextmanager
def _held(driver: int) -> Iterator[None]:
    """Suspends the trials: so the study cannot end before all is asked."""
    held = trial_workers(driver)
    for worker in held:
        worker.suspend()
    try:
        yield
    finally:
        for worker in held:
            worker.resume()


def _pushed(study: Path) -> list[dict[str, Any]]:
    """The journal of a study as a bucket holds it."""
    newest = max((study / "journal").iterdir())
    return events_in(b"".join(path.read_bytes() for path in sorted(newest.iterdir())))


def _goes_on_after_an_end(events: list[dict[str, Any]]) -> bool:
    """Whether the driver has acted on a trial's end: it has taken a trial's next message."""
    told = [event["event"] for event in events]
    return "trial_ended" in told and "report" in told[told.index("trial_ended") :]


def _rungs(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [e for e in events if e["event"] == "report" and e["rung"] is not None]


def _option(driver: int, word: str, name: str) -> str:
    (line, *_) = map(processes.command_line, processes.below(driver, word))
    words = line.replace("=", " ").split()
    return words[words.index(name) + 1]


def _ray_session(driver: int) -> str:
    return _option(driver, "gcs_server", "--session-dir")


def _refusals(driver: int) -> dict[str, Any]:
    """What the servers of a local Ray answer to a client without the token."""
    gcs = _option(driver, "raylet/raylet", "--gcs-address")
    web = f"http://{_option(driver, 'raylet/raylet', '--webui')}"
    return {
        "dashboard": _status(f"{web}/api/cluster_status"),
        "jobs": _status(f"{web}/api/jobs/"),
        "gcs": _join(gcs),
    }


def _status(url: str) -> int:
    try:
        return int(urllib.request.urlopen(url, timeout=30).status)
    except urllib.error.HTTPError as error:
        return error.code


def _join(address: str) -> str:
    """Asks the cluster's store as somebody with no token, with a wrong one, and with the right."""
    code = (
        "import sys\n"
        "from ray._raylet import GcsClient\n"
        "from ray.exceptions import AuthenticationError\n"
        "try:\n"
        "    GcsClient(address=sys.argv[1]).internal_kv_keys(b'', b'session', timeout=60)\n"
        "except AuthenticationError:\n"
        "    print('refused')\n"
        "else:\n"
        "    print('joined')\n"
    )
    said = []
    for change in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "w" * 40}, {}):
        environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, **change}
        command = [sys.executable, "-c", code, address]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        said.append(done.stdout.strip())
    return " ".join(said)


def _check_no_secret_in_command_lines() -> None:
    for secret in SECRETS:
        assert processes.started(secret) == []


def _holding_secrets(folder: Path) -> list[str]:
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            found += [str(path) for secret in SECRETS if secret.encode() in data]
    return found


def _download(machine: Machine, target: Path) -> None:
    code = (
        "import os, sys; from pyarrow import fs\n"
        "s3 = fs.S3FileSystem(endpoint_override=os.environ['AWS_ENDPOINT_URL'])\n"
        "fs.copy_files('studies/of/tests', sys.argv[1], s3, fs.LocalFileSystem())"
    )
    target.mkdir()
    command = [sys.executable, "-c", code, str(target)]
    subprocess.run(command, env={**os.environ, **machine.environment}, check=True)
