"""The machine that a person sits at: it has the checkout, a key, a token, and `ray up`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import machines
from tests.cluster.machines import Machine

ROOT = Path(__file__).parents[2]
OBJECT_STORE = 100_000_000
PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s=300"


class Laptop:
    """Runs Ray's command line against the cluster of one file, as a person does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "laptop"
        self.key = self.home / ".ssh" / "id_ed25519"
        self.token = self.home / ".ray" / "auth_token"
        self.file = folder / "local.yaml"
        self.log = folder / "ray_up.log"
        machines.make_key(self.key)
        self.public_key = self.key.with_suffix(".pub").read_text()
        self.environment = {
            **os.environ,
            "HOME": str(self.home),
            "RAY_AUTH_MODE": "token",
            "RAY_UP_enable_autoscaler_v2": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": str(ROOT),
        }
        # Not by `ray` below: it would come into the log.
        generate = f"umask 077; {sys.executable} -m ray.scripts.scripts get-auth-token --generate"
        subprocess.run(generate, shell=True, check=True, capture_output=True, env=self.environment)

    def build(self) -> None:
        """What `make wheel` does."""
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
        subprocess.run(
            [*command, "--outdir", str(self.folder / "dist"), str(ROOT)],
            check=True,
            capture_output=True,
        )

    def write(self, head: Machine, workers: list[Machine], redis: str | None) -> None:
        """clusters/local.yaml with the addresses of the machines, and small.

        With a Redis, the head keeps its books there, as docs/cluster.md tells.
        """
        config: dict[str, Any] = yaml.safe_load((ROOT / "clusters" / "local.yaml").read_text())
        config["provider"]["head_ip"] = head.ip
        config["provider"]["worker_ips"] = [worker.ip for worker in workers]
        config["auth"] = {"ssh_user": "root", "ssh_private_key": str(self.key)}
        config["file_mounts"] = {
            remote: self._here(local) for remote, local in config["file_mounts"].items()
        }
        for key in ("head_setup_commands", "worker_setup_commands"):
            # /run is a machine's own here, as its disks would be.
            config[key] = [f"{line} --cache /run/tune_app" for line in config[key]]
        for key, added in (
            ("head_start_ray_commands", ""),
            ("worker_start_ray_commands", " --num-cpus=1"),
        ):
            config[key] = [
                line.replace("2000000000", f"{OBJECT_STORE}{added}") for line in config[key]
            ]
        if redis is not None:
            for key, added in (
                ("head_start_ray_commands", f"{PATIENCE} RAY_REDIS_ADDRESS={redis}"),
                ("worker_start_ray_commands", PATIENCE),
            ):
                config[key] = [
                    line.replace("ray start", f"{added} ray start") for line in config[key]
                ]
        self.file.write_text(yaml.safe_dump(config))

    def _here(self, local: str) -> str:
        if local == "dist":
            return str(self.folder / "dist")
        return local.replace("~", str(self.home)) if local[0] == "~" else str(ROOT / local)

    def ray(self, *words: str, timeout_s: float = 300) -> str:
        """One command of Ray's; what it says."""
        with open(self.log, "a") as log:
            log.write(f"$ ray {shlex.join(words)}\n")
            log.flush()
            done = subprocess.run(
                [sys.executable, "-m", "ray.scripts.scripts", *words],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout_s,
                cwd=ROOT,
            )
            log.write(done.stdout)
        if done.returncode != 0:
            raise AssertionError(f"ray {shlex.join(words)}:\n{done.stdout[-3000:]}")
        return done.stdout

    def up(self, *words: str) -> None:
        self.ray("up", str(self.file), "--yes", "--no-config-cache", *words)

    def join(self, machine: Machine, head: Machine) -> None:
        """Brings one more machine into the running cluster, as docs/cluster.md tells."""
        config = yaml.safe_load(self.file.read_text())
        for remote, local in config["file_mounts"].items():
            self._on(machine, f"mkdir -p {Path(remote).parent}")
            shell = shlex.join(self._ssh)
            slash = "/" if Path(local).is_dir() else ""
            target = f"root@{machine.ip}:{remote}{slash}"
            self._logged(["rsync", "-a", "-e", shell, local + slash, target])
        steps = [*config["worker_setup_commands"], *config["worker_start_ray_commands"]]
        for step in steps:
            self._on(machine, f"export RAY_HEAD_IP={head.ip}; {step}")

    @property
    def _ssh(self) -> list[str]:
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        # Of a machine without power nobody says that the connection has ended.
        options += ["ServerAliveInterval=5", "ServerAliveCountMax=3"]
        return ["ssh", "-i", str(self.key), *(part for o in options for part in ("-o", o))]

    def _on(self, machine: Machine, command: str) -> None:
        self._logged(self._remote(machine, command))

    def _remote(self, machine: Machine, command: str) -> list[str]:
        # As Ray itself does it.
        words = shlex.join(["bash", "--login", "-c", "-i", f"source ~/.bashrc; {command}"])
        return [*self._ssh, f"root@{machine.ip}", words]

    def _logged(self, command: list[str]) -> None:
        with open(self.log, "a") as log:
            subprocess.run(command, check=True, env=self.environment, stdout=log, stderr=log)

    def down(self) -> None:
        self.ray("down", str(self.file), "--yes")

    def on_head(self, command: str) -> str:
        return self.ray("exec", str(self.file), command)

    def start_on(self, machine: Machine, command: str, log: Path) -> subprocess.Popen[bytes]:
        """The same on any machine, beside what comes next."""
        words = self._remote(machine, command)
        with open(log, "wb") as file:
            return subprocess.Popen(
                words, env=self.environment, stdout=file, stderr=subprocess.STDOUT
            )
