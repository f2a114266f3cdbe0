"""Everything that is to be said of the constraints and beliefs of a study file, all at once."""

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
    known: Iterable[str],
) -> Verdict:
    """Mistakes, and what a person should know.

    Args:
        space: the parameters that were understood.
        constraints: expressions that every trial must fulfil.
        when: by parameter, the expression under which it counts.
        beliefs: by parameter, what is thought of its values.
        where: tells where a key path of the tune section stands.
        known: all names of parameters; a mistake in one is no second one here.
    """
    names = {*space, *known}
    read, problems = read_constraints(space, constraints, when, where, names)
    problems += prior.problems(beliefs, space, names, where)
    if names != set(space):
        return Verdict(tuple(problems))
    # Of what could be read; what it leaves out could only forbid more.
    tried = feasible.check(space, read, where)
    if problems:
        return Verdict((*problems, *tried.problems))
    return Verdict(tried.problems, (*tried.notes, *prior.notes(beliefs, space)))
