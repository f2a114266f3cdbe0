"""The display of a running study: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TextIO

from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from tune_app.analysis import format
from tune_app.analysis.summary import incumbent
from tune_app.console import table
from tune_app.console.output import PIPE_WIDTH
from tune_app.core.journal import Event
from tune_app.core.state import StudyState
from tune_app.space.domains import Fixed, describe

REFRESH_PER_S = 4

DATA_SIZES = {
    "documents": "documents",
    "characters": "characters",
    "vocab_size": "tokens in the vocabulary",
    "train_tokens": "tokens to train on",
    "train_examples": "examples to train on",
    "eval_tokens": "tokens to evaluate on",
    "eval_examples": "examples to evaluate on",
}
"""Facts of a trainable's data that are shown, in this order."""


class Screen(Protocol):
    """A tracker that shows the study to the user, and can print a line."""

    console: Console

    def say(self, text: str) -> None:
        """Prints a line."""
        ...

    def last_words(self, text: str) -> None:
        """Prints a line at once, also from a signal handler: the process ends after it."""
        ...

    def opening(self, state: StudyState) -> None:
        """Prints what the session will do."""
        ...

    def on_event(self, event: Event, state: StudyState) -> None:
        """See `Tracker.on_event`."""
        ...

    def close(self, timeout_s: float) -> None:
        """See `Tracker.close`."""
        ...


def create(stream: TextIO, place: object, clock: Callable[[], float] = time.time) -> Screen:
    """The screen for the stream: live on a terminal, else plain; `place` is the study's address."""
    terminal = stream.isatty()
    width = None if terminal else PIPE_WIDTH
    console = Console(file=stream, highlight=False, soft_wrap=not terminal, width=width)
    return LiveScreen(console, place, clock) if terminal else PlainScreen(console, place, clock)


class PlainScreen:
    """Prints one line for each important event, with the time since the start."""

    def __init__(self, console: Console, place: object, clock: Callable[[], float]) -> None:
        self.console = console
        self._place = place
        self._clock = clock
        self._begun = clock()

    def say(self, text: str) -> None:
        self.console.print(f"[dim]\\[{self._stamp()}][/dim] {escape(text)}")

    def last_words(self, text: str) -> None:
        # Not through rich, which would buffer the line if it was interrupted while printing.
        self.console.file.write(f"[{self._stamp()}] {text}\n")

    def opening(self, state: StudyState) -> None:
        for line in opening_lines(state, self._place):
            self.say(line)

    def on_event(self, event: Event, state: StudyState) -> None:
        line = line_of(event, state)
        if line is not None:
            self.say(line)

    def close(self, timeout_s: float) -> None:
        """Does nothing."""

    def _stamp(self) -> str:
        return f"{format.duration(self._clock() - self._begun):>6}"


class LiveScreen(PlainScreen):
    """Prints lines above a table that is redrawn `REFRESH_PER_S` times a second.

    Rich draws the table in a thread, from a separate copy of the state to which that thread applies
    the events: the driver's state may change during drawing, and the driver does not wait for it.
    """

    def __init__(self, console: Console, place: object, clock: Callable[[], float]) -> None:
        super().__init__(console, place, clock)
        self._drawn: StudyState | None = None
        self._news: deque[Event] = deque()
        """Events that were not applied to `_drawn` yet."""
        self._live: Live | None = None

    def on_event(self, event: Event, state: StudyState) -> None:
        if self._drawn is None:
            self._drawn = state.copy()
        else:
            self._news.append(event)
        if event["event"] in ("choice_dropped", "finding", "study_prepared"):
            super().on_event(event, state)
        if self._live is None and state.trials:
            self._live = Live(
                get_renderable=self._render,
                console=self.console,
                refresh_per_second=REFRESH_PER_S,
                transient=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def last_words(self, text: str) -> None:
        if self._live is not None:
            # The table's last line is not terminated, and the cursor is hidden.
            self.console.file.write(f"\n{Control.show_cursor(True)}")
        super().last_words(text)

    def close(self, timeout_s: float) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _render(self) -> Group | Text:
        """Rich calls this in one thread at a time."""
        if self._drawn is None:
            return Text("")
        while self._news:
            self._drawn.apply(self._news.popleft())
        return table.render(self._drawn, self._clock(), self.console.size)


def opening_lines(state: StudyState, place: object) -> list[str]:
    """Lines at the start of a session: the study, its folder, metric and budget."""
    study, budget = state.definition, state.definition.budget
    lines = [
        f"study {state.name}: {study.source}",
        f"folder {place} (logs in logs/)",
        f"{study.metric.goal} {state.metric}: {budget.trials} trials of at most "
        f"{format.count(budget.amount)} {budget.unit}, {study.searcher.name} "
        f"and {study.scheduler.name}, seed {study.seed}",
    ]
    if earlier := study.earlier_runs:
        runs = "one earlier run says" if len(earlier) == 1 else f"{len(earlier)} earlier runs say"
        lines.append(f"it begins with what {runs}")
    if not state.trials:
        lines += [f"note: {text}" for text in state.findings]
    if state.trials:
        done = sum(trial.outcome is not None for trial in state.trials.values())
        lines.append(f"resuming: {len(state.trials)} trials begun, {done} of them ended")
    return lines


def data_lines(facts: Mapping[str, Any]) -> list[str]:
    """One line about the data, if the trainable provides facts about it."""
    sizes = [
        f"{format.tokens(facts[key])} {words}"
        for key, words in DATA_SIZES.items()
        if isinstance(facts.get(key), (int, float))
    ]
    head = f"corpus {facts['corpus']}: " if facts.get("corpus") else "data: "
    return [head + ", ".join(sizes)] if sizes else []


def space_lines(state: StudyState) -> list[str]:
    """The prepared space: one line per searched parameter, one for all fixed ones."""
    domains, constraints = state.definition.space, state.definition.required
    when = {name: f" if {text}" for name, text in state.definition.when.items()}
    width = max(map(len, domains))
    lines = [
        f"  {name:<{width}}  {describe(domain)}{when.get(name, '')}"
        for name, domain in domains.items()
        if not isinstance(domain, Fixed)
    ]
    constants = [
        f"{name}={describe(domain)}{when.get(name, '')}"
        for name, domain in domains.items()
        if isinstance(domain, Fixed)
    ]
    lines += ["  fixed: " + ", ".join(constants)] if constants else []
    return lines + [f"  only with {text}" for text in constraints]


def line_of(event: Event, state: StudyState) -> str | None:
    """The line for an event, None for events that are not shown."""
    match event["event"]:
        case "choice_dropped":
            value = format.value(event["value"])
            return f"left out: {event['parameter']} = {value} ({event['reason']})"
        case "finding":
            return f"note: {event['text']}"
        case "study_prepared":
            return "\n".join([*data_lines(event["data"]), "the space:", *space_lines(state)])
        case "segment_started" if event["segment"] == 1:
            trial = state.trials[event["trial"]]
            return f"trial {trial.id} starts ({trial.kind}): {format.params(trial.params)}"
        case "segment_started":
            share = format.share(state.trials[event["trial"]].fraction)
            return f"trial {event['trial']} goes on from {share}"
        case "trial_exploited":
            values = format.params(event["params"])
            return f"trial {event['trial']} takes over from trial {event['source']}: {values}"
        case "segment_lost":
            return f"trial {event['trial']} lost its worker ({event['reason']}): to be begun again"
        case "batch_halved":
            size = event["per_device_train_batch_size"]
            return f"trial {event['trial']} ran out of memory: again in micro-batches of {size}"
        case "trial_interrupted":
            return f"trial {event['trial']} has saved a checkpoint"
        case "report" if event["rung"] is not None:
            return _rung_line(event, state)
        case "trial_ended":
            return _end_line(event, state)
        case _:
            return None


def _rung_line(event: Event, state: StudyState) -> str:
    value = event["metrics"].get(state.reported_metric)
    line = (
        f"trial {event['trial']} at {format.share(event['fraction'])}, "
        f"{format.tokens(event['tokens'])} tokens: {state.reported_metric} {format.loss(value)}"
    )
    best = incumbent(state)
    if best is None:
        return line
    at = format.share(best.fraction)
    return f"{line} (best {format.loss(best.value)}, trial {best.trial} at {at})"


def _end_line(event: Event, state: StudyState) -> str:
    text = f"trial {event['trial']} {event['outcome'].replace('_', ' ')}"
    if event["value"] is not None:
        text += f": {state.metric} {format.loss(event['value'])}"
    reason = event.get("reason") or ""
    return f"{text}: {reason.splitlines()[0]}" if reason else text
