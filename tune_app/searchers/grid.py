"""Every allowed combination of a finite space, in file order, the last parameter varying fastest.

A prior has no effect: all combinations run.
"""

from __future__ import annotations

from typing import Any

from tune_app.core.state import StudyState
from tune_app.errors import Problem, UserError
from tune_app.searchers._tried import Seen, first_untried
from tune_app.space.domains import Space, grid, searched


class Grid:
    """Proposes the first combination without a trial."""

    learns_from_history = False

    def __init__(self, space: Space) -> None:
        self._space = space
        self._seen = Seen(space)

    def suggest(self, state: StudyState, number: int) -> dict[str, Any] | None:
        seen = self._seen(state)
        return first_untried(self._space, seen, state.definition.constraints)


def create(space: Space, seed: int) -> Grid:
    """The searcher; the seed is not used.

    Raises:
        UserError: a parameter has too many values to list.
    """
    problems = [
        Problem(
            f"a grid needs finitely many values of {name}",
            f"parameters.{name}",
            fix="list the values, or use another method",
        )
        for name, domain in searched(space).items()
        if grid(domain) is None
    ]
    if problems:
        raise UserError(problems)
    return Grid(space)
