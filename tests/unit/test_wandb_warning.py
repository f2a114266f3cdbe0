"""A person is told that W&B is away: once, in one line, with what to do about it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.story import Story
from tests.support.wandb_server import Server, Trouble, serving
from tune_app.trackers import wandb as wandb_tracker

TERMINAL = 71
"""Characters beside the time in a line of a narrow one."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(tmp_path) as found:
        # Errors of a server are asked about again for a minute otherwise.
        soon = {"WANDB__GRAPHQL_RETRY_MAX": "1", "WANDB_INIT_TIMEOUT": "5"}
        for name, value in {**found.environment, **soon}.items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    folder = tmp_path / "tiny"
    folder.mkdir()
    told = Story(folder, wandb_tracker.create(folder))
    yield told
    for mirror in processes.below(os.getpid(), str(folder)):
        # It would wait for W&B for ten minutes more.
        processes.end([*processes.below(mirror.pid, ""), mirror])
        mirror.wait()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = (r for r in caplog.records if r.name.startswith("tune_app"))
    return [r.getMessage() for r in found if r.levelno >= logging.WARNING]


def tell_until_warned(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1200):
        story.tell("finding", text=f"finding {number}")
        if warnings(caplog):
            return
        time.sleep(0.1)
    pytest.fail("nobody was told")


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (None, "nobody answers"),
        (Trouble(delay_s=3600.0, only="model"), "nobody answers"),
        (Trouble(status=401), "error 401"),
    ],
)
def test_it_is_said_once_in_one_line_when_nobody_takes_the_runs(
    server: Server,
    story: Story,
    caplog: pytest.LogCaptureFixture,
    trouble: Trouble | None,
    reason: str,
) -> None:
    if trouble is not None:
        server.trouble = trouble
    else:
        server.die()
    story.start()
    story.complete(0)
    tell_until_warned(story, caplog)
    story.complete(1)
    story.tell("study_ended", reason="done")
    assert story.tracker is not None
    story.tracker.close(0.5)
    (said,) = warnings(caplog)
    assert said.startswith(f"W&B mirror waits: {reason}; ")
    assert said.endswith("python -m tune_app mirror tiny")
    assert "\n" not in said
    assert len(said) <= TERMINAL
    assert story.state.ended == "done"


def test_nothing_is_said_when_all_is_well(
    server: Server, story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    story.start()
    story.complete(0)
    story.tell("study_ended", reason="done")
    assert story.tracker is not None
    story.tracker.close(60.0)
    assert warnings(caplog) == []
