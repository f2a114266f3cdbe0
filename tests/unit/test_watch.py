"""What the engine watches besides Ray: the head itself."""

from __future__ import annotations

import socket
import threading

import pytest

from tune_app.engine import watch


def test_a_head_that_is_gone_is_noticed_and_one_that_answers_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "KNOCK_EVERY_S", 0.1)
    monkeypatch.setenv(watch.PATIENCE, "0.4")
    gone, server = threading.Event(), socket.create_server(("127.0.0.1", 0), backlog=100)
    with watch.lifeline(server.getsockname(), gone.set):
        assert not gone.wait(1.0)
        server.close()
        assert gone.wait(30)


def test_a_head_that_nobody_can_knock_at_is_not_watched() -> None:
    before = threading.active_count()
    with watch.lifeline(None, lambda: None):
        assert threading.active_count() == before
