"""Detects what Ray does not report: it ends hanging workers and notices that the head is gone."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.client import ray as client


class Workers:
    """The processes that run segments, as Tune's controller knows them."""

    def __init__(self) -> None:
        self._controller: Any = None

    def attach(self, controller: Any) -> None:
        """Sets Tune's controller, given in the wrapper that Tune passes to schedulers."""
        self._controller = controller._tune_controller

    def end(self, segment: str) -> bool:
        """Ends the process of a segment; False if it has no process yet.

        The segment's future fails at once; Ray kills the process if it still runs after 5 s.
        """
        tracked = self._controller._trial_to_actor.get(self._controller.get_trial(segment))
        actor, _ = self._actors().get(tracked, (None, None))
        if actor is not None:
            ray.kill(actor)
        return actor is not None

    def is_given_up(self, segment: str) -> bool:
        """Whether Tune ended the segment without a callback: its process could not be reused."""
        trial = self._controller.get_trial(segment)
        return trial is not None and bool(trial.is_finished())

    def end_all(self) -> None:
        """Ends all processes, idle ones included."""
        for actor, _ in self._actors().values():
            ray.kill(actor)

    def _actors(self) -> dict[Any, tuple[Any, Any]]:
        manager = self._controller._actor_manager if self._controller else None
        return manager._live_actors_to_ray_actors_resources if manager else {}


PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Ray's variable: after this time without a head Ray kills its processes, the driver included."""

GONE_SHARE = 0.75
"""The head counts as gone when it refuses connections for this share of that time."""

KNOCK_EVERY_S = 5.0


def head() -> tuple[str, int] | None:
    """Host and port of Ray's head; None through ray://, where they may not be reachable."""
    if client.is_connected():
        return None
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    return host, int(port)


def patience_s() -> float:
    """How long the head may be unreachable, in seconds.

    Users of GCS fault tolerance raise Ray's variable, and this time with it.
    """
    return GONE_SHARE * float(os.environ.get(PATIENCE, "60"))


@contextmanager
def lifeline(address: tuple[str, int] | None, on_gone: Callable[[], None]) -> Iterator[None]:
    """Calls `on_gone`, in a thread, once nothing has answered at `address` for `patience_s()`."""
    if address is None:
        yield
        return
    over = threading.Event()
    limit_s = patience_s()

    def watch() -> None:
        missing_s = 0.0
        while not over.wait(KNOCK_EVERY_S):
            if _answers(address):
                missing_s = 0.0
                continue
            missing_s += KNOCK_EVERY_S
            if missing_s >= limit_s:
                on_gone()
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _answers(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, KNOCK_EVERY_S).close()
    except OSError:
        return False
    return True
