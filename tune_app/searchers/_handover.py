"""Combines two searchers: one for the first trials of a study, another for the later ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tune_app.core.ports import Searcher
from tune_app.core.state import StudyState


@dataclass(frozen=True, slots=True)
class Handover:
    """Delegates each suggestion to one of two searchers, by the number of the trial."""

    few: Searcher
    many: Searcher
    at: int
    """The number of the first trial that `many` proposes."""

    @property
    def learns_from_history(self) -> bool:
        return self.few.learns_from_history or self.many.learns_from_history

    def suggest(self, state: StudyState, number: int) -> dict[str, Any] | None:
        searcher = self.few if number < self.at else self.many
        return searcher.suggest(state, number)
