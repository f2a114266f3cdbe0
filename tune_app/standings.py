"""Who stands where: orders of a study's trials, kept up event by event.

Everything here can be read off the trials themselves; it is kept so that nobody has to sort or
search ten thousand of them for each message of a worker.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from typing import overload

from tune_app.trial import Kind, Outcome, Status, TrialState


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

    def rank(self, trial: TrialState) -> int:
        """How many stand before a trial that is here."""
        return bisect_left(self._entries, (self._values[trial.number], trial.number))

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


class Standings:
    """All orders of a study. Those at rungs leave the baseline out: it competes with nobody."""

    def __init__(self) -> None:
        self._rankings: dict[Hashable, Ranking] = {}
        self._places: dict[str, dict[Hashable, float]] = {}

    def with_status(self, status: Status) -> Ranking:
        """By number."""
        return self._ranking(status)

    def due(self) -> Ranking:
        """Trials that want a worker before anything else, by number."""
        return self._ranking(DUE)

    def completed(self) -> Ranking:
        """Trials with a final value, best first, the baseline included."""
        return self._ranking(COMPLETED)

    def open(self) -> Ranking:
        """Competitors that have not ended, by number."""
        return self._ranking(OPEN)

    def reached(self, rung: int) -> Ranking:
        """Competitors with a value at `rung`, best first."""
        return self._ranking((REACHED, rung))

    def waiting(self, rung: int) -> Ranking:
        """Those whose highest rung it is and who have no worker and no claim to one, best first."""
        return self._ranking((WAITING, rung))

    def ended(self, rung: int) -> Ranking:
        """Those with a value at `rung` that have ended since, best first."""
        return self._ranking((ENDED, rung))

    def place(self, trial: TrialState, sign: int, full_rung: int) -> None:
        """Puts a trial where it belongs now. `sign` is -1 where larger values are better."""
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


DUE, COMPLETED, OPEN, REACHED, WAITING, ENDED = range(6)
EMPTY = Ranking()


def _places(trial: TrialState, sign: int, full_rung: int) -> dict[Hashable, float]:
    """The orders that a trial stands in, with what it is ordered by."""
    number, values = trial.number, trial.rung_values
    places: dict[Hashable, float] = {trial.status: number}
    if trial.due:
        places[DUE] = number
    if trial.outcome is Outcome.COMPLETED and full_rung in values:
        places[COMPLETED] = sign * values[full_rung]
    if trial.kind is Kind.BASELINE:
        return places
    has_ended = trial.status is Status.ENDED
    if not has_ended:
        places[OPEN] = number
    for rung, value in values.items():
        places[REACHED, rung] = sign * value
        if has_ended:
            places[ENDED, rung] = sign * value
    if trial.status is Status.PAUSED and not trial.due and trial.top_rung is not None:
        places[WAITING, trial.top_rung] = sign * values[trial.top_rung]
    return places
