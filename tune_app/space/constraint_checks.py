"""Checks the constraints and beliefs of a study file: all problems and notes at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tune_app.space import feasible, prior
from tune_app.space.constraints import Where, read_constraints
from tune_app.space.domains import Space
from tune_app.space.feasible import Verdict
from tune_app.space.prior import Belief


def check(
    space: Space,
    *,
    constraints: Sequence[str],
    when: Mapping[str, str],
    beliefs: Mapping[str, Belief],
    where: Where,
    declared: Iterable[str],
) -> Verdict:
    """The problems of constraints, conditions and beliefs, and notes for the user.

    Args:
        space: the parameters that could be parsed.
        constraints: expressions that every trial must fulfil.
        when: by parameter, the expression under which it is active.
        beliefs: by parameter, the prior of its values.
        where: gives the position of a key path of the tune section.
        declared: names of all parameters, also of those that could not be parsed: using one of
            these is no further problem.
    """
    names = {*space, *declared}
    parsed, problems = read_constraints(space, constraints, when, where, names)
    problems += prior.problems(beliefs, space, names, where)
    if names != set(space):
        return Verdict(tuple(problems))
    # Checks the expressions that could be parsed; the others could only forbid more.
    verdict = feasible.check(space, parsed, where)
    if problems:
        return Verdict((*problems, *verdict.problems))
    return Verdict(verdict.problems, (*verdict.notes, *prior.notes(beliefs, space)))
