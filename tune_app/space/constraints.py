"""Constraints between hyper-parameters: which values go together, and when one is active at all.

An inactive parameter has no value. A condition that depends on one does not hold; a constraint that
depends on one says nothing. Parameters that are fixed take part with their values.
"""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tune_app.errors import Problem, nearest
from tune_app.space.domains import Space, fixed
from tune_app.space.expressions import GRAMMAR, Expression, Failed, Refused, parse

Path = tuple[str | int, ...]
Where = Callable[[Path], str]
CONSTRAINTS, WHEN = "constraints", "when"


@dataclass(frozen=True, slots=True)
class Constraints:
    """The constraints of a space."""

    required: tuple[Expression, ...] = ()
    """What every trial fulfils."""
    when: Mapping[str, Expression] = field(default_factory=dict)
    """By parameter, each one after those that its condition speaks of."""
    constants: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.required or self.when)

    @property
    def names(self) -> frozenset[str]:
        """The parameters that any of them speaks of."""
        return frozenset(self.when).union(
            *(item.names for item in (*self.required, *self.when.values()))
        )

    def beside(self, values: Mapping[str, Any]) -> Constraints:
        """The same for parameters that are chosen when these values are already."""
        return replace(self, constants={**self.constants, **values}) if values else self

    def active(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """`params` without the parameters that do not count beside the others."""
        if not self.when:
            return dict(params)
        values = {**self.constants, **params}
        for name in self.when:
            if name in values and not self.is_active(name, values):
                del values[name]
        return {name: values[name] for name in params if name in values}

    def allows(self, params: Mapping[str, Any]) -> bool:
        """Whether a trial may have these values; those of inactive parameters do not matter."""
        values = self.active({**self.constants, **params})
        return not self.broken(values, self.required)

    def is_active(self, name: str, values: Mapping[str, Any]) -> bool:
        """Whether `name` counts beside the active `values` of what its condition speaks of."""
        condition = self.when.get(name)
        try:
            return condition is None or condition.holds(values) is True
        except Failed:
            return False

    @staticmethod
    def broken(values: Mapping[str, Any], constraints: Iterable[Expression]) -> bool:
        """Whether active values, perhaps not all of them yet, already break a constraint.

        A constraint without an answer counts as broken: such values were not met at load time.
        """
        try:
            return any(constraint.holds(values) is False for constraint in constraints)
        except Failed:
            return True

    def baseline(self, defaults: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        """What the untuned trial runs with, and what there is to say of it."""
        params = self.active(defaults)
        values = self.active({**self.constants, **params})
        texts = [item.text for item in self.required if self.broken(values, [item])]
        if not texts:
            return params, None
        told = "; ".join(texts)
        return params, f"the untuned defaults break {told}: they run all the same, as the baseline"


def read_constraints(
    space: Space,
    constraints: Sequence[str],
    when: Mapping[str, str],
    where: Where = lambda path: ".".join(map(str, path)),
    known: Iterable[str] = (),
) -> tuple[Constraints, list[Problem]]:
    """The constraints and all that can be said against them without looking at values.

    Args:
        space: what there is, constants included.
        constraints: expressions that every trial must fulfil.
        when: by parameter, the expression under which it counts.
        where: tells where a key path stands in the user's file.
        known: names of parameters that exist although `space` lacks them.
    """
    names = frozenset({*space, *known})
    problems: list[Problem] = []

    def parsed(text: str, path: Path) -> Expression | None:
        try:
            return parse(text, names)
        except Refused as error:
            problems.append(Problem(str(error), where(path), GRAMMAR, error.fix))
            return None

    kept = [parsed(text, (CONSTRAINTS, index)) for index, text in enumerate(constraints)]
    conditions = {name: parsed(text, (WHEN, name)) for name, text in when.items()}
    for name in when:
        if name not in names:
            what = f"no parameter is called {name!r}"
            problems.append(Problem(what, where((WHEN, name)), fix=nearest(name, names)))
    sound = {name: item for name, item in conditions.items() if item is not None}
    order, cycle = _ordered(sound)
    if cycle:
        what = f"goes round in a circle: {' -> '.join(cycle)}"
        fix = "let one of them always count"
        problems.append(Problem(what, where((WHEN, cycle[0])), fix=fix))
    ordered = {name: sound[name] for name in order}
    return Constraints(tuple(filter(None, kept)), ordered, fixed(space)), problems


def _ordered(when: Mapping[str, Expression]) -> tuple[list[str], list[str]]:
    """The names, each after those that its condition speaks of; or the circle that forbids it."""
    sorter = graphlib.TopologicalSorter({name: when[name].names & when.keys() for name in when})
    try:
        return list(sorter.static_order()), []
    except graphlib.CycleError as error:
        # Told in the order "depends on", which is the reverse of the sorter's.
        return [], list(reversed(error.args[1]))
