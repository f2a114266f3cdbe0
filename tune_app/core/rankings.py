"""Who stands where: orders of a study's trials, kept up event by event.

Everything here can be read off the trials themselves; it is kept so that nobody has to sort or
search ten thousand of them for each message of a worker.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from typing import overload

from tune_app.core.trial import Kind, Outcome, Status, TrialState


class Ranking(Sequence[TrialState]):
    """Trials by ascending value, ties by number."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, TrialState]] = []
        self._values: dict[int, float] = {}

    def add(self, trial: TrialState, value: float) -> None:
        place = bisect_left(self._entries, (value, trial.number))
        self._entries.insert(place, (value, trial.number, trial))
        self._values[trial.number] = value

    def remove(self, trial: TrialState) -> None:
        del self._entries[self.rank(trial)]
        del self._values[trial.number]

    def value(self, trial: TrialState) -> float:
        """What a trial that is here is ordered by."""
        return self._values[trial.number]

    def rank(self, trial: TrialState) -> int:
        """How many stand before a trial that is here."""
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
    """All orders of a study. Competitors are all trials of a bracket but the baseline."""

    def __init__(self) -> None:
        self._rankings: dict[Hashable, Ranking] = {}
        self._places: dict[str, dict[Hashable, float]] = {}
        self._brackets: set[int] = set()

    def with_status(self, status: Status) -> Ranking:
        """By number."""
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
        """The first of `reached` in each bracket that has any."""
        brackets = [self.reached(rung, bracket) for bracket in self._brackets]
        return [reached[0] for reached in brackets if reached]

    def averages(self, rung: int, bracket: int = 0) -> Ranking:
        """The same by the mean of their values up to `rung`."""
        return self._ranking((AVERAGES, bracket, rung))

    def waiting(self, rung: int, bracket: int = 0) -> Ranking:
        """Those whose highest rung it is and who have no worker and no claim to one, best first."""
        return self._ranking((WAITING, bracket, rung))

    def ended(self, rung: int, bracket: int = 0) -> Ranking:
        """Those with a value at `rung` that have ended since, best first."""
        return self._ranking((ENDED, bracket, rung))

    def heirs(self, source: str) -> Ranking:
        """Trials that have not ended and last went on from trial `source`'s checkpoint."""
        return self._ranking((HEIRS, source))

    def place(self, trial: TrialState, sign: int, full_rung: int) -> None:
        """Puts a trial where it belongs now. `sign` is -1 where larger values are better."""
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
    """The orders that a trial stands in, with what it is ordered by."""
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
