"""What the journal of a disturbed study says, held against what it must say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from benchmarks.chaos import toy
from tune_app.core.journal import FILE_NAME, Event, read
from tune_app.core.state import StudyState
from tune_app.core.trial import Status
from tune_app.plugins import make


@dataclass
class Verdict:
    """Counts; all but `finished`, `decisions` and `stays_cut` are to be 0."""

    finished: int = 0
    lost: int = 0
    doubled: int = 0
    unreadable: int = 0
    not_ended: int = 0
    wrong_values: int = 0
    decisions: int = 0
    other_decisions: int = 0
    stays_cut: int = 0
    """Stays on a worker some of whose steps had to be done again."""
    steps_again: int = 0
    most_again: int = 0
    """Checkpoint intervals that were done again after one cut, at the most, rounded up."""
    notes: list[str] = field(default_factory=list)

    def add(self, other: Verdict) -> None:
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            whole = max(mine, theirs) if item.name == "most_again" else mine + theirs
            setattr(self, item.name, whole)


def judge(folder: Path, known: dict[str, Event], right: dict[tuple[str, int], float]) -> Verdict:
    """The verdict over a study that has ended.

    Args:
        known: the ends of trials that were in the journal before a disturbance.
        right: the objective by trial and step of an undisturbed study; empty for toy trials, which
            tell it themselves.
    """
    verdict = Verdict()
    try:
        events, tail = read(folder / FILE_NAME)
    except Exception as error:
        verdict.unreadable = 1
        verdict.notes.append(str(error))
        return verdict
    verdict.unreadable += tail is not None
    _ends(events, known, verdict)
    state = _replayed(events, verdict)
    verdict.not_ended += state.ended is None
    _values(events, state, right, verdict)
    _work(folder / toy.STEP_LOG, verdict)
    return verdict


def _ends(events: list[Event], known: dict[str, Event], verdict: Verdict) -> None:
    ends: dict[str, Event] = {}
    for event in events:
        if event["event"] == "trial_ended":
            verdict.doubled += event["trial"] in ends
            ends[event["trial"]] = event
        elif event["event"] in ("segment_started", "report"):
            verdict.doubled += event["trial"] in ends
    verdict.finished = len(ends)
    for trial, before in known.items():
        if ends.get(trial) != before:
            verdict.lost += 1
            verdict.notes.append(f"trial {trial} had ended: {before}, now: {ends.get(trial)}")


def _replayed(events: list[Event], verdict: Verdict) -> StudyState:
    """Folds the journal and asks fresh plug-ins again before each decision."""
    state = StudyState()
    for event in events:
        for is_equal in _asked_again(event, state):
            verdict.decisions += 1
            if not is_equal:
                verdict.other_decisions += 1
                verdict.notes.append(f"decided otherwise: {event}")
        state.apply(event)
    created = [trial.number for trial in state.trials.values()]
    verdict.doubled += created != list(range(len(created)))
    return state


def _asked_again(event: Event, state: StudyState) -> Iterator[bool]:
    kind, trial = event["event"], state.trials.get(event.get("trial", ""))
    if kind == "trial_created" and event["kind"] == "search":
        again = make.searcher(state.definition).suggest(state, event["number"])
        yield again == event["params"]
    if trial is None:
        return
    scheduler = make.scheduler(state.definition)
    if kind == "decision":
        yield scheduler.decide(state, trial, event["rung"]).value == event["decision"]
    if kind == "segment_started" and trial.status is Status.PAUSED and not trial.due:
        yield trial in (scheduler.promote(state, False), scheduler.promote(state, True))
    if kind == "trial_ended" and event["reason"].startswith("too far behind"):
        yield trial in scheduler.hopeless(state)


def _values(
    events: list[Event],
    state: StudyState,
    right: dict[tuple[str, int], float],
    verdict: Verdict,
) -> None:
    """Every value that was ever reported, and that each trial's reports are those of one run."""
    expected: dict[str, dict[int, float]] = {}
    for event in events:
        if event["event"] != "report" or "eval_loss" not in event["metrics"]:
            continue
        trial, step, told = event["trial"], event["step"], event["metrics"]["eval_loss"]
        if not right and trial not in expected:
            expected[trial] = toy.expected(state.trials[trial].params)
        want = right[trial, step] if right else expected[trial][step]
        if told != want:
            verdict.wrong_values += 1
            verdict.notes.append(f"trial {trial} step {step}: {told}, undisturbed {want}")
    for known in state.trials.values():
        steps = [report.step for report in known.reports]
        verdict.doubled += steps != sorted(set(steps))


def _work(folder: Path, verdict: Verdict) -> None:
    """Steps that were done again, from what the trials noted as they did them."""
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        lines: list[Any] = [line.split() for line in path.read_text().splitlines()]
        stays = [[int(step) for _, step in rows] for _, rows in groupby(lines, lambda row: row[0])]
        for before, after in pairwise(stays):
            again = max(0, before[-1] - after[0] + 1)
            verdict.stays_cut += again > 0
            verdict.steps_again += again
            verdict.most_again = max(verdict.most_again, -(-again // toy.SAVE_STEPS))
            if again > toy.SAVE_STEPS:
                verdict.notes.append(f"trial {path.name}: {again} steps done again")
