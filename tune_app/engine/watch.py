"""Sees what Ray does not tell: workers that hang are ended, and a head that is gone is noticed."""

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

    def of(self, controller: Any) -> None:
        """Tune's controller, in the wrapper that it gives to schedulers."""
        self._controller = controller._tune_controller

    def end(self, segment: str) -> bool:
        """Ends the process of a segment that hangs; False where it has none yet.

        Its future fails at once; Ray ends a process that does not end itself after 5 s.
        """
        tracked = self._controller._trial_to_actor.get(self._controller.get_trial(segment))
        actor, _ = self._actors().get(tracked, (None, None))
        if actor is not None:
            ray.kill(actor)
        return actor is not None

    def is_given_up(self, segment: str) -> bool:
        """Whether Tune has ended it without a word: its process could not be used again."""
        trial = self._controller.get_trial(segment)
        return trial is not None and bool(trial.is_finished())

    def end_all(self) -> None:
        """Ends all processes, those that wait for another segment as well."""
        for actor, _ in self._actors().values():
            ray.kill(actor)

    def _actors(self) -> dict[Any, tuple[Any, Any]]:
        manager = self._controller._actor_manager if self._controller else None
        return manager._live_actors_to_ray_actors_resources if manager else {}


PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Ray's own variable: after so long without a head it ends its processes, the driver unheard."""

GONE_SHARE = 0.75
"""A head that takes no connection for so much of that time is gone."""

KNOCK_EVERY_S = 5.0


def head() -> tuple[str, int] | None:
    """Where Ray's head listens; None through ray://, where its own address is not ours to reach."""
    if client.is_connected():
        return None
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    return host, int(port)


def patience_s() -> float:
    """How long a head may be away: longer where one with GCS fault tolerance is waited for."""
    return GONE_SHARE * float(os.environ.get(PATIENCE, "60"))


@contextmanager
def lifeline(address: tuple[str, int] | None, on_gone: Callable[[], None]) -> Iterator[None]:
    """Calls `on_gone`, in a thread, when nobody answers at `address` any more."""
    if address is None:
        yield
        return
    over = threading.Event()
    most_s = patience_s()

    def watch() -> None:
        missing_s = 0.0
        while not over.wait(KNOCK_EVERY_S):
            if _answers(address):
                missing_s = 0.0
                continue
            missing_s += KNOCK_EVERY_S
            if missing_s >= most_s:
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
