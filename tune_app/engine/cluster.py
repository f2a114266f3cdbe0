"""Starts a local Ray or connects to a running one; counts how many trials fit."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray

from tune_app.engine.resources import TrialResources
from tune_app.errors import Problem, UserError
from tune_app.storage.objects import settings

OBJECT_STORE_BYTES = 200_000_000
"""Trials exchange messages of a few hundred bytes; data goes through memory-mapped files."""

KNOCK_TIMEOUT_S = 10.0
"""The longest wait for the first TCP connection to a cluster."""

WORKER_ENVIRONMENT = {
    # glibc returns every large tensor to the system after each step, which costs a third of the
    # speed of small models on a CPU; these thresholds let it keep them.
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "2147483648",
    "MALLOC_TOP_PAD_": "268435456",
    # Each segment runs in a new thread, for which glibc would create a new arena: after 12 trials
    # one worker had grown to 2.5 GB instead of 0.7 GB.
    "MALLOC_ARENA_MAX": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "warning",
    # A trial that is asked to stop in the middle of a step may take this long to unwind.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "120",
}


GROWING = "ray_bootstrap_config.yaml"
"""The autoscaler's configuration, which `ray up` writes to the head's home folder."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A connected Ray cluster; `dashboard` is the URL of its dashboard, empty without one."""

    dashboard: str
    local: bool

    @property
    def grows(self) -> bool:
        """Whether an autoscaler can start machines; known only on the head."""
        return not self.local and (Path.home() / GROWING).is_file()

    def has_gpu(self) -> bool:
        """Whether any node has a GPU."""
        return bool(ray.cluster_resources().get("GPU", 0) > 0)

    def slots(self, trial: TrialResources) -> int:
        """How many trials fit on the cluster now; each must fit on one node."""
        return sum(trial.fit(node["Resources"]) for node in ray.nodes() if node["Alive"])

    def kinds(self, trial: TrialResources) -> dict[str, str]:
        """The id of one node for each kind of node that trials fit on."""
        node_ids: dict[str, str] = {}
        for node in ray.nodes():
            if node["Alive"] and trial.fit(node["Resources"]) > 0:
                node_ids.setdefault(kind_of(node["Resources"]), node["NodeID"])
        return dict(sorted(node_ids.items()))

    def describe(self) -> str:
        """CPUs, GPUs and nodes of the cluster, for people."""
        resources = ray.cluster_resources()
        nodes = sum(node["Alive"] for node in ray.nodes())
        gpus = int(resources.get("GPU", 0))
        parts = [f"{int(resources.get('CPU', 0))} CPUs"]
        parts += [f"{gpus} GPU{'s' * (gpus != 1)}"] if gpus else []
        parts += [f"{nodes} nodes"] if nodes > 1 else []
        return ", ".join(parts)


def kind_of(resources: Mapping[str, float]) -> str:
    """The kind of a node with these resources, for example "8 CPU, 1 GPU, A100"."""
    counts = [f"{resources[name]:g} {name}" for name in ("CPU", "GPU") if resources.get(name)]
    mark = "accelerator_type:"
    return ", ".join(
        counts + sorted(name.removeprefix(mark) for name in resources if name.startswith(mark))
    )


@contextmanager
def connect(address: str | None, cache: Path) -> Iterator[Cluster]:
    """Starts a local Ray for this process, or connects to the cluster at `address`.

    Raises:
        UserError: there is no Ray at `address`, or it refuses the token.
    """
    if address is None:
        _ensure_token()
    else:
        _check_address(address)
    environment = {
        **WORKER_ENVIRONMENT,
        **settings(),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
    }
    local = address is None
    options = (
        {
            "include_dashboard": True,
            "dashboard_host": "127.0.0.1",
            "object_store_memory": OBJECT_STORE_BYTES,
        }
        if local
        else {}
    )
    try:
        with _signals_kept():
            context = ray.init(
                address="local" if local else address,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": environment},
                **options,
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(_unreachable(address, error)) from error
    try:
        url = context.dashboard_url
        yield Cluster(dashboard=f"http://{url}" if url else "", local=local)
    finally:
        ray.shutdown()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keeps our SIGTERM handler, which `ray.init` replaces.

    Ray's processes inherit the ignored SIGHUP, so that they survive a closed terminal.
    """
    terminate = signal.getsignal(signal.SIGTERM)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGHUP, hang_up)


def _check_address(address: str) -> None:
    """Refuses an address where nothing listens; Ray would retry for minutes."""
    match = re.fullmatch(r"(?:ray://)?\[?([^/]+?)\]?:(\d+)", address)
    if match is None:
        if address != "auto":
            expected = "HOST:PORT, ray://HOST:PORT or auto"
            raise UserError(Problem("not an address of Ray", f"--address {address}", expected))
        return
    try:
        socket.create_connection((match[1], int(match[2])), KNOCK_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise UserError(_unreachable(address, error)) from error


def _unreachable(address: str | None, error: Exception) -> Problem:
    where = f"--address {address}" if address else "local Ray"
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    fix = "start one with `ray start --head`, or leave --address out" if address else ""
    return Problem(f"cannot connect to Ray: {reason}", where, fix=fix)


def _ensure_token() -> None:
    """Creates the token of local Ray clusters, readable by its owner only."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    path = Path.home() / ".ray" / "auth_token"
    if path.exists():
        path.chmod(0o600)
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
