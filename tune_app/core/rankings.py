"""Rankings of a study's trials, updated with each event.

They can be derived from the trials; they are maintained so that no message of a worker needs a sort
or a search over ten thousand trials.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from typing import overload

from tune_app.core.trial import Kind, Outcome, Status, TrialState


class Ranking(Sequence[TrialState]):
    """Trials in ascending order of a value, ties by number."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, TrialState]] = []
        self._values: dict[int, float] = {}

    def add(self, trial: TrialState, value: float) -> None:
        """Inserts a trial that is not in the ranking yet."""
        place = bisect_left(self._entries, (value, trial.number))
        self._entries.insert(place, (value, trial.number, trial))
        self._values[trial.number] = value

    def remove(self, trial: TrialState) -> None:
        """Removes a trial of the ranking."""
        del self._entries[self.rank(trial)]
        del self._values[trial.number]

    def value(self, trial: TrialState) -> float:
        """The value by which a trial of the ranking is ordered."""
        return self._values[trial.number]

    def rank(self, trial: TrialState) -> int:
        """The number of trials before a trial of the ranking: 0 for the first."""
        return bisect_left(self._entries, (self._values[trial.number], trial.number))

    def __iter__(self) -> Iterator[TrialState]:
        return (entry[2] for entry in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> TrialState: ...
    @overload
    def __getitem__(self, index: slice) -> list[TrialState]: ...
    def __getitem__(self, index: int | slice) -> TrialState | list[TrialState]:
        if isinstance(index, slice):
            return [entry[2] for entry in self._entries[index]]
        return self._entries[index][2]


class Rankings:
    """All rankings of a study.

    The competitors of a bracket are all its trials except the baseline. "Best first" orders by the
    objective times its sign, so that lower is better.
    """

    def __init__(self) -> None:
        self._rankings: dict[Hashable, Ranking] = {}
        self._places: dict[str, dict[Hashable, float]] = {}
        self._brackets: set[int] = set()

    def with_status(self, status: Status) -> Ranking:
        """Trials with this status, by number."""
        return self._ranking(status)

    def due(self) -> Ranking:
        """Trials that want a worker before anything else, by number."""
        return self._ranking(DUE)

    def completed(self) -> Ranking:
        """Trials with a final value, best first, the baseline included."""
        return self._ranking(COMPLETED)

    def open(self, bracket: int = 0) -> Ranking:
        """Competitors that have not ended, by number."""
        return self._ranking((OPEN, bracket))

    def reached(self, rung: int, bracket: int = 0) -> Ranking:
        """Competitors with a value at `rung`, best first."""
        return self._ranking((REACHED, bracket, rung))

    def leaders(self, rung: int) -> list[TrialState]:
        """The best trial at `rung` of each bracket that has one."""
        brackets = [self.reached(rung, bracket) for bracket in self._brackets]
        return [reached[0] for reached in brackets if reached]

    def averages(self, rung: int, bracket: int = 0) -> Ranking:
        """Competitors with a value at `rung`, ordered by the mean of their values up to it."""
        return self._ranking((AVERAGES, bracket, rung))

    def waiting(self, rung: int, bracket: int = 0) -> Ranking:
        """Paused competitors whose highest rung is `rung` and which are not due, best first."""
        return self._ranking((WAITING, bracket, rung))

    def ended(self, rung: int, bracket: int = 0) -> Ranking:
        """Competitors with a value at `rung` that have ended, best first."""
        return self._ranking((ENDED, bracket, rung))

    def heirs(self, source: str) -> Ranking:
        """Trials that have not ended and whose last takeover was from trial `source`."""
        return self._ranking((HEIRS, source))

    def place(self, trial: TrialState, sign: int, full_rung: int) -> None:
        """Updates the rankings for a changed trial. `sign` is -1 where larger values are better."""
        self._brackets.add(trial.bracket)
        before = self._places.get(trial.id, {})
        after = _places(trial, sign, full_rung)
        if before == after:
            return
        for name in before:
            if after.get(name) != before[name]:
                self._rankings[name].remove(trial)
        for name, value in after.items():
            if before.get(name) != value:
                self._rankings.setdefault(name, Ranking()).add(trial, value)
        self._places[trial.id] = after

    def _ranking(self, name: Hashable) -> Ranking:
        return self._rankings.get(name, EMPTY)


DUE, COMPLETED, OPEN, REACHED, AVERAGES, WAITING, ENDED, HEIRS = range(8)
EMPTY = Ranking()


def _places(trial: TrialState, sign: int, full_rung: int) -> dict[Hashable, float]:
    """The rankings that a trial belongs to, with the value that orders it in each."""
    number, values = trial.number, trial.rung_values
    places: dict[Hashable, float] = {trial.status: number}
    if trial.due:
        places[DUE] = number
    if trial.outcome is Outcome.COMPLETED and full_rung in values:
        places[COMPLETED] = sign * values[full_rung]
    if trial.takeovers and trial.status is not Status.ENDED:
        places[HEIRS, trial.takeovers[-1].source] = number
    return places if trial.kind is Kind.BASELINE else places | _competing(trial, sign)


def _competing(trial: TrialState, sign: int) -> dict[Hashable, float]:
    bracket, total, top = trial.bracket, 0.0, trial.top_rung
    has_ended = trial.status is Status.ENDED
    places: dict[Hashable, float] = {} if has_ended else {(OPEN, bracket): trial.number}
    for count, (rung, value) in enumerate(sorted(trial.rung_values.items()), start=1):
        total += value
        places[REACHED, bracket, rung] = sign * value
        places[AVERAGES, bracket, rung] = sign * total / count
        if has_ended:
            places[ENDED, bracket, rung] = sign * value
    if trial.status is Status.PAUSED and not trial.due and top is not None:
        places[WAITING, bracket, top] = sign * trial.rung_values[top]
    return places
