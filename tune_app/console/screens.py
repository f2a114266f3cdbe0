"""What a person sees while a study runs: a live table on a terminal, plain lines elsewhere."""

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
"""Facts of a trainable's data that are worth a word, in the order they are told."""


class Screen(Protocol):
    """A tracker that a person looks at, and that can say a line."""

    console: Console

    def say(self, text: str) -> None: ...

    def last_words(self, text: str) -> None:
        """The same where the process ends right after it, whatever it is doing."""
        ...

    def opening(self, state: StudyState) -> None: ...

    def on_event(self, event: Event, state: StudyState) -> None: ...

    def close(self, timeout_s: float) -> None: ...


def create(stream: TextIO, place: object, clock: Callable[[], float] = time.time) -> Screen:
    """The screen that fits the stream."""
    terminal = stream.isatty()
    width = None if terminal else PIPE_WIDTH
    console = Console(file=stream, highlight=False, soft_wrap=not terminal, width=width)
    return LiveScreen(console, place, clock) if terminal else PlainScreen(console, place, clock)


class PlainScreen:
    """One line for everything worth knowing, with the seconds since the start."""

    def __init__(self, console: Console, place: object, clock: Callable[[], float]) -> None:
        self.console = console
        self._place = place
        self._clock = clock
        self._begun = clock()

    def say(self, text: str) -> None:
        self.console.print(f"[dim]\\[{self._stamp()}][/dim] {escape(text)}")

    def last_words(self, text: str) -> None:
        # Past rich: in the middle of another line it would keep this one for later.
        self.console.file.write(f"[{self._stamp()}] {text}\n")

    def opening(self, state: StudyState) -> None:
        for line in opening_lines(state, self._place):
            self.say(line)

    def on_event(self, event: Event, state: StudyState) -> None:
        line = told(event, state)
        if line is not None:
            self.say(line)

    def close(self, timeout_s: float) -> None:
        """Nothing to take down."""

    def _stamp(self) -> str:
        return f"{format.duration(self._clock() - self._begun):>6}"


class LiveScreen(PlainScreen):
    """The same lines above a table that redraws itself, so many times a second.

    It is drawn in a thread of its own, from a state of its own that it keeps up with the events:
    the driver's state changes while a table is drawn, and an event costs the driver no drawing.
    """

    def __init__(self, console: Console, place: object, clock: Callable[[], float]) -> None:
        super().__init__(console, place, clock)
        self._drawn: StudyState | None = None
        self._news: deque[Event] = deque()
        """Events that are not in `_drawn` yet."""
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
            # Its last line has no end yet, and it has hidden the cursor.
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
    """What is about to happen, before anything has."""
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
    """What is trained on, as far as the trainable tells; a warm cache makes it no less news."""
    sizes = [
        f"{format.tokens(facts[key])} {words}"
        for key, words in DATA_SIZES.items()
        if isinstance(facts.get(key), (int, float))
    ]
    head = f"corpus {facts['corpus']}: " if facts.get("corpus") else "data: "
    return [head + ", ".join(sizes)] if sizes else []


def space_lines(state: StudyState) -> list[str]:
    """The space as it will be searched, one line a parameter, the fixed ones in one."""
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


def told(event: Event, state: StudyState) -> str | None:
    """An event in one line, None for those that are not worth one."""
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
