"""A study sent to a cluster as a job: it starts machines, outlives its sender, obeys the verbs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.conftest import SMALL, Shell, ends, kill_group, ray_node

ROOT = Path(__file__).parents[2]
GCS, DASHBOARD, AGENT = 26479, 28265, 28266
ADDRESS = f"http://127.0.0.1:{DASHBOARD}"
TOKEN = "0123456789abcdef" * 4

# As cluster.yaml: no place for a trial on the head, one machine when a study asks for it. What
# Ray would fill in for a provider of its own is said here.
GROWS = {
    "cluster_name": "submit",
    "max_workers": 1,
    "upscaling_speed": 1.0,
    "idle_timeout_minutes": 10,
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "rsync_exclude": [],
    "rsync_filter": [],
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
    "provider": {"type": "fake_multinode", "gcs_address": f"127.0.0.1:{GCS}"},
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "machine": {
            "resources": {"CPU": 1},
            "node_config": {},
            "min_workers": 0,
            "max_workers": 1,
        },
    },
}

pytestmark = pytest.mark.usefixtures("no_orphans")


@dataclass
class Remote(Shell):
    """A laptop, from which the studies of the cluster's storage are seen."""

    def study(self, name: str) -> Path:
        return self.folder / "shared" / name

    def on_cluster(self, verb: str, *words: str) -> tuple[str, ...]:
        return (verb, *words, "--submit", ADDRESS, "--storage", str(self.folder / "shared"))


@pytest.fixture
def laptop(shell: Shell, tmp_path: Path) -> Iterator[Remote]:
    """In a folder with a trainable of its own; the cluster's head runs."""
    token = tmp_path / "home" / ".ray" / "auth_token"
    token.parent.mkdir(parents=True)
    token.write_text(TOKEN)
    token.chmod(0o600)
    (tmp_path / "home" / "ray_bootstrap_config.yaml").write_text(json.dumps(GROWS))
    environment = {"HOME": str(token.parents[1]), "PYTHONPATH": str(ROOT)}
    on_head = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TUNE_APP_CACHE": str(shell.cache),
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "0",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }
    head = ["--head", f"--port={GCS}", "--num-cpus=0", f"--dashboard-port={DASHBOARD}"]
    head += [f"--dashboard-agent-listen-port={AGENT}", "--object-store-memory=100000000"]
    head += [f"--autoscaling-config={token.parents[1] / 'ray_bootstrap_config.yaml'}"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.py").write_text(
        "from trainables.causal_lm import Config, build, prepare, sample\n"
    )
    with ray_node(*head, **environment, **on_head):
        yield Remote(tmp_path, shell.cache, environment)


def test_a_study_on_a_cluster_outlives_its_sender_and_obeys_the_verbs(laptop: Remote) -> None:
    words = ["trainable=mine/model.py", "budget.trials=2", "budget.tokens=240000", "scheduler=fifo"]
    changes = [part for word in words for part in ("--set", word)]
    sent = laptop.on_cluster("run", str(_study(laptop.folder)), "--name", "far", *changes)
    process = laptop.start(*sent)
    laptop.wait_for("far", lambda e: any(x["event"] == "report" for x in e), "a report")
    kill_group(process, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "waiting for the cluster to start a machine for a trial with 1 CPUs" in out
    assert "far continues on the cluster" in out
    assert f"stop far --storage {laptop.folder / 'shared'} --submit {ADDRESS}" in out
    assert "job_manager" not in out

    # The job's `stop` is the verb itself, on the machine of the driver.
    assert _ran(laptop, "stop", "far") == "far: interrupted\n"
    assert laptop.journal("far")[-1]["event"] == "study_interrupted"
    (row,) = json.loads(_ran(laptop, "list", "--json"))
    assert (row["name"], row["status"]) == ("far", "interrupted")

    # Code of another study, which trials must not find after the resume below.
    (laptop.folder / "mine" / "model.py").write_text("raise RuntimeError('of another study')\n")
    again = laptop.run(*sent)
    assert again.returncode == 2
    assert "a study named 'far' exists" in again.stdout + again.stderr

    resumed = _ran(laptop, "resume", "far")
    assert "resuming: " in resumed
    assert list(ends(laptop.journal("far")).values()) == ["completed"] * 2
    shown = json.loads(_ran(laptop, "show", "far", "--json"))
    assert shown["status"] == "ended"

    missing = laptop.run(*laptop.on_cluster("show", "fer"))
    assert missing.returncode == 2
    assert "did you mean 'far'?" in missing.stdout
    laptop.environment["RAY_AUTH_TOKEN"] = "f" * 64
    refused = laptop.run(*laptop.on_cluster("list"))
    assert refused.returncode == 2
    assert "refuses the token" in refused.stderr
    assert TOKEN not in refused.stderr + out + resumed


def _study(folder: Path) -> Path:
    path = folder / "far.yaml"
    path.write_text(SMALL.read_text(encoding="utf-8"), encoding="utf-8")
    return path


def _ran(laptop: Remote, verb: str, *words: str) -> str:
    done: subprocess.CompletedProcess[str] = laptop.run(*laptop.on_cluster(verb, *words))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
