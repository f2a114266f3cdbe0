"""The live table: the trials with their values, progress and loss."""

from __future__ import annotations

import heapq
import math

from rich.console import ConsoleDimensions, Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tune_app.analysis import format
from tune_app.analysis.facts import Incumbent
from tune_app.analysis.summary import incumbent
from tune_app.console import forecast
from tune_app.core.state import StudyState
from tune_app.core.trial import Kind, Outcome, Status, TrialState
from tune_app.space.domains import searched

MARGIN = 9
"""Lines of the terminal reserved for the header, the summary and the prompt."""

STYLES = {
    "running": "bold cyan",
    "paused": "yellow",
    "completed": "green",
    "stopped": "dim",
    "diverged": "red",
    "out_of_memory": "red",
    "failed": "red",
    "lost": "magenta",
    "cancelled": "dim",
}
OTHER_COLUMNS = 58
"""Width in characters of all columns except those of the searched values."""
NARROWEST, WIDEST = 5, 12


def render(state: StudyState, now: float, size: ConsoleDimensions) -> Group:
    """The table and the summary line, with as many trials as fit a terminal of this size.

    `now` is Unix seconds.
    """
    shown = _shown(state, max(3, size.height - MARGIN))
    width = _value_width(state, size.width)
    table = _head(state, width)
    best = incumbent(state)
    for trial in sorted(shown, key=lambda trial: trial.number):
        _row(table, trial, state, best is not None and best.trial == trial.id, width)
    hidden = len(state.trials) - len(shown)
    parts = [table, Text(f"  … and {hidden} more", "dim")] if hidden else [table]
    return Group(*parts, _summary(state, best, now))


def _shown(state: StudyState, most: int) -> list[TrialState]:
    """At most `most` trials: running ones first, then paused, then ended; each by last loss."""
    sign, metric = state.sign, state.reported_metric

    def loss(trial: TrialState) -> float:
        value = trial.latest(metric)
        return math.inf if value is None or math.isnan(value) else sign * value

    shown: list[TrialState] = []
    for status in (Status.RUNNING, Status.PAUSED, Status.ENDED):
        trials = state.rankings.with_status(status)
        shown += heapq.nsmallest(most - len(shown), trials, key=loss)
    return shown


def _searched(state: StudyState) -> list[str]:
    return list(searched(state.definition.space))


def _value_width(state: StudyState, terminal: int) -> int:
    names = max(1, len(_searched(state)))
    return min(WIDEST, max(NARROWEST, (terminal - OTHER_COLUMNS) // names - 2))


def _head(state: StudyState, width: int) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold", expand=False)
    table.add_column("trial", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in _searched(state):
        table.add_column(format.shorten(name, width), no_wrap=True, overflow="ellipsis")
    table.add_column(f"{state.definition.budget.unit} of budget", no_wrap=True, min_width=12)
    table.add_column(state.reported_metric, justify="right", no_wrap=True)
    return table


def _row(table: Table, trial: TrialState, state: StudyState, is_best: bool, width: int) -> None:
    word = str(trial.outcome or trial.status)
    style = STYLES.get(word, "")
    values = [
        format.shorten(format.value(trial.params[name]), width) if name in trial.params else ""
        for name in _searched(state)
    ]
    latest = trial.latest(state.reported_metric)
    name = f"{trial.id} default" if trial.kind is Kind.BASELINE else trial.id
    table.add_row(
        Text(("★ " if is_best else "  ") + name, "bold" if is_best else ""),
        Text(word.replace("_", " "), style),
        *(Text(value, "dim" if trial.outcome is Outcome.STOPPED else "") for value in values),
        _bar(trial),
        Text(format.loss(latest), "bold green" if is_best else ""),
    )


def _bar(trial: TrialState) -> Table:
    cell = Table.grid(padding=(0, 1))
    cell.add_row(
        ProgressBar(
            total=1.0,
            completed=trial.fraction,
            width=10,
            complete_style="cyan",
            finished_style="green",
        ),
        Text(f"{format.tokens(trial.tokens):>6}"),
    )
    return cell


def _summary(state: StudyState, best: Incumbent | None, now: float) -> Text:
    first = next(iter(state.trials.values()), None)
    begun = now if first is None else first.created
    session = state.sessions[-1][0]
    training = now - max(begun, session) + sum(end - start for start, end in state.sessions[:-1])
    ended = len(state.rankings.with_status(Status.ENDED))
    parts = [f"trials {len(state.trials)}/{state.trials_planned} ({ended} ended)"]
    if best is not None:
        at = format.share(best.fraction)
        parts.append(f"best {format.loss(best.value)} (trial {best.trial} at {at})")
    parts.append(f"elapsed {format.duration(now - session)}")
    left = forecast.remaining_s(state, training)
    parts.append(f"about {format.duration(left)} to go" if left is not None else "ETA …")
    return Text("  " + "  ·  ".join(parts), "bold")
