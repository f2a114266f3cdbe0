"""What a person sees: the live table, the plain lines, the closing words."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, ConsoleDimensions

from tests.support import synthetic
from tests.support.simulated import Simulation, document
from tune_app import plugins
from tune_app.analysis.importance_words import in_full
from tune_app.console import closing, commands, forecast, screens, table
from tune_app.core import journal
from tune_app.core.state import StudyState, rebuild
from tune_app.storage.study import FolderStudy


@pytest.fixture
def events(tmp_path: Path) -> list[dict[str, Any]]:
    synthetic.write(tmp_path)
    return journal.read(tmp_path / journal.FILE_NAME)[0]


@pytest.fixture
def state(events: list[dict[str, Any]]) -> StudyState:
    return rebuild(events)


def shown(content: Any, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(content)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 150])
@pytest.mark.parametrize("height", [12, 50])
def test_the_table_fits_the_terminal(state: StudyState, width: int, height: int) -> None:
    now = (state.updated or 0) + 1
    text = shown(table.render(state, now, ConsoleDimensions(width, height)), width)
    lines = text.rstrip().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    assert "best" in text


def test_every_moment_of_a_study_can_be_drawn(events: list[dict[str, Any]]) -> None:
    state = StudyState()
    for event in events:
        state.apply(event)
        text = shown(table.render(state, event["time"], ConsoleDimensions(120, 40)), 120)
        assert f"trials {len(state.trials)}/" in text


def test_the_forecast_never_promises_the_end_while_trials_run(
    events: list[dict[str, Any]],
) -> None:
    state = StudyState()
    for event in events:
        state.apply(event)
        left = forecast.remaining_s(state, 100.0)
        if left is not None and state.ended is None and forecast.certain_runs(state) > 0:
            assert left > 0


@pytest.mark.parametrize("scheduler", plugins.names("scheduler"))
@pytest.mark.parametrize("trials", [20, 300])
def test_the_cost_of_a_study_is_foreseen_whatever_the_scheduler(
    scheduler: str, trials: int
) -> None:
    resolved = document(scheduler={"name": scheduler}, trials=trials, seed=1)
    study = Simulation(resolved, workers=4, max_steps=1000).run()
    foreseen = forecast.expected_runs(study)
    assert foreseen == pytest.approx(forecast.spent_runs(study), rel=0.3)


@pytest.mark.parametrize("width", [60, 240])
def test_paths_and_commands_are_never_cut(state: StudyState, tmp_path: Path, width: int) -> None:
    folder = tmp_path / ("long" * 30)
    (folder / "report").mkdir(parents=True)
    (folder / "report" / "report.md").touch()
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    closing.write(console, in_full(state), FolderStudy(folder), tmp_path)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert str(folder / "report" / "report.md") in text
    assert commands.verb("show", folder.name, tmp_path) in text


def test_plain_lines_tell_each_trial_once(events: list[dict[str, Any]]) -> None:
    stream = io.StringIO()
    screen = screens.create(stream, Path())
    state = StudyState()
    for event in events:
        state.apply(event)
        screen.on_event(event, state)
    text = stream.getvalue()
    assert "\x1b" not in text
    for trial in state.trials.values():
        assert text.count(f"trial {trial.id} starts") == 1
        assert text.count(f"trial {trial.id} {str(trial.outcome).replace('_', ' ')}") == 1


def test_markup_in_values_is_shown_as_it_is(events: list[dict[str, Any]]) -> None:
    stream = io.StringIO()
    screen = screens.create(stream, Path())
    screen.say("a [red]path[/red] with [brackets]")
    assert "a [red]path[/red] with [brackets]" in stream.getvalue()


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", [io.StringIO, Tty])
def test_last_words_are_out_at_once_and_leave_the_terminal_as_it_was(
    kind: type[io.StringIO], events: list[dict[str, Any]], state: StudyState
) -> None:
    stream = kind()
    screen = screens.create(stream, Path())
    screen.on_event(events[0], state)
    # A signal comes in the middle of another line.
    with screen.console:
        screen.console.print("half a line")
        screen.last_words("the end; [b]resume[/b]")
        said = stream.getvalue()
    screen.close(0)
    assert said.endswith("the end; [b]resume[/b]\n")
    if stream.isatty():
        assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")


def many_trials(count: int) -> Iterator[dict[str, Any]]:
    """A study's events: each trial begins, reports at the first rung and waits; some end."""
    yield {"event": "study_started", "time": 0.0, "study": document(trials=count)}
    for number in range(count):
        name, time = f"{number:04d}", float(number)
        told = {"trial": name, "time": time}
        params = {"x": number / count}
        yield (
            told
            | {"event": "trial_created", "number": number, "kind": "search"}
            | {"params": params}
        )
        yield told | {"event": "segment_started", "segment": 1, "checkpoint": None}
        spent = {"step": 10, "tokens": 100, "fraction": 1 / 9, "seconds": 1.0}
        yield told | {"event": "report", "rung": 0, "metrics": {"eval_loss": params["x"]}} | spent
        yield told | {"event": "decision", "rung": 0, "decision": "pause"}
        if number % 3 == 0:
            yield told | {"event": "trial_ended", "outcome": "stopped", "value": None}


@pytest.fixture
def often_switched() -> Iterator[None]:
    """Threads take turns as often as they can, so that what may come between comes between."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.usefixtures("often_switched")
def test_a_table_is_drawn_in_one_thread_while_another_adds_thousands_of_trials(
    monkeypatch: pytest.MonkeyPatch, resumed: bool
) -> None:
    monkeypatch.setattr(screens, "REFRESH_PER_S", 10_000)
    broken: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", broken.append)
    stream, state, events = Tty(), StudyState(), list(many_trials(3000))
    screen = screens.create(stream, Path())
    begun = 5000 if resumed else 0
    for event in events[:begun]:
        state.apply(event)
    for event in events[begun:]:
        state.apply(event)
        screen.on_event(event, state)
    screen.close(0)
    assert not broken
    assert "trials 3000/3000 (1000 ended)" in stream.getvalue()
    assert state == rebuild(events)


@pytest.mark.parametrize("height", [12, 40])
def test_trials_are_shown_running_ones_first_then_paused_then_ended_and_the_best_of_each(
    height: int,
) -> None:
    state = rebuild(many_trials(60))
    for name in ("0058", "0031"):
        event = {"event": "segment_started", "trial": name, "segment": 2, "checkpoint": None}
        state.apply(event | {"time": 99.0})
    text = shown(table.render(state, 100.0, ConsoleDimensions(120, height)), 120)
    drawn = [word for line in text.splitlines() if (word := line.strip("★ ")[:4]).isdigit()]
    paused = [f"{number:04d}" for number in range(60) if number % 3 and number not in (31, 58)]
    assert drawn == sorted(["0031", "0058", *paused[: height - 11]])
    assert f"and {60 - len(drawn)} more" in text


def test_a_command_names_the_interpreter_that_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(sys.executable).parent
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(folder))
    assert commands.verb("show", "x", Path("studies")) == "python -m tune_app show x"
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(folder.parent)
    relative = Path(folder.name) / "python"
    assert (
        commands.verb("show", "x", Path("s t")) == f"{relative} -m tune_app show x --storage 's t'"
    )
