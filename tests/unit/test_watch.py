"""What the engine watches besides Ray: processes by their number and age, and the head itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from tune_app.engine import watch


def test_a_process_is_killed_by_its_number_and_age_even_when_stopped() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    born = watch._born(child.pid)
    child.send_signal(signal.SIGSTOP)
    watch.end_process(child.pid, born + "0")
    assert child.poll() is None
    watch.end_process(child.pid, born)
    assert child.wait() == -signal.SIGKILL
    watch.end_process(child.pid, born)
    assert watch._born(os.getpid())


def test_a_head_that_is_gone_is_noticed_and_one_that_answers_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "KNOCK_EVERY_S", 0.02)
    monkeypatch.setenv(watch.PATIENCE, "0.08")
    gone, server = threading.Event(), socket.create_server(("127.0.0.1", 0), backlog=100)
    with watch.lifeline(server.getsockname(), gone.set):
        assert not gone.wait(0.3)
        server.close()
        assert gone.wait(30)


def test_a_head_that_nobody_can_knock_at_is_not_watched() -> None:
    before = threading.active_count()
    with watch.lifeline(None, lambda: None):
        assert threading.active_count() == before
