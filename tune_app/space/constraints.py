"""Constraints between hyper-parameters: allowed combinations, and when a parameter is active.

An inactive parameter has no value. A condition that depends on an inactive parameter is false; a
constraint that depends on one forbids nothing. Fixed parameters take part with their values.
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
    """Expressions that every trial fulfils."""
    when: Mapping[str, Expression] = field(default_factory=dict)
    """Condition by parameter, ordered so that a parameter follows those its condition names."""
    constants: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.required or self.when)

    @property
    def names(self) -> frozenset[str]:
        """The parameters that occur in any of them."""
        return frozenset(self.when).union(
            *(item.names for item in (*self.required, *self.when.values()))
        )

    def beside(self, values: Mapping[str, Any]) -> Constraints:
        """The same constraints for the remaining parameters, with these values as constants."""
        return replace(self, constants={**self.constants, **values}) if values else self

    def active(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """`params` without its inactive parameters."""
        if not self.when:
            return dict(params)
        values = {**self.constants, **params}
        for name in self.when:
            if name in values and not self.is_active(name, values):
                del values[name]
        return {name: values[name] for name in params if name in values}

    def allows(self, params: Mapping[str, Any]) -> bool:
        """Whether a trial may have these values; ignores values of inactive parameters."""
        values = self.active({**self.constants, **params})
        return not self.broken(values, self.required)

    def is_active(self, name: str, values: Mapping[str, Any]) -> bool:
        """Whether `name` is active, given the values of the active parameters."""
        condition = self.when.get(name)
        try:
            return condition is None or condition.holds(values) is True
        except Failed:
            return False

    @staticmethod
    def broken(values: Mapping[str, Any], constraints: Iterable[Expression]) -> bool:
        """Whether the values of active parameters, possibly not all of them, break a constraint.

        A constraint that cannot be evaluated counts as broken: the check at load time did not draw
        such values.
        """
        try:
            return any(constraint.holds(values) is False for constraint in constraints)
        except Failed:
            return True

    def baseline(self, defaults: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        """The parameters of the untuned trial, and a note if they break constraints, else None."""
        params = self.active(defaults)
        values = self.active({**self.constants, **params})
        texts = [item.text for item in self.required if self.broken(values, [item])]
        if not texts:
            return params, None
        listed = "; ".join(texts)
        return params, f"the untuned defaults break {listed}: the baseline runs with them anyway"


def read_constraints(
    space: Space,
    constraints: Sequence[str],
    when: Mapping[str, str],
    where: Where = lambda path: ".".join(map(str, path)),
    declared: Iterable[str] = (),
) -> tuple[Constraints, list[Problem]]:
    """The constraints, and all problems that can be found without evaluating them.

    Args:
        space: all parameters, also fixed ones.
        constraints: expressions that every trial must fulfil.
        when: by parameter, the expression under which it is active.
        where: gives the position of a key path in the user's file.
        declared: names of parameters that exist although `space` lacks them.
    """
    names = frozenset({*space, *declared})
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
        what = f"conditions depend on each other: {' -> '.join(cycle)}"
        fix = "remove the condition of one of them"
        problems.append(Problem(what, where((WHEN, cycle[0])), fix=fix))
    ordered = {name: sound[name] for name in order}
    return Constraints(tuple(filter(None, kept)), ordered, fixed(space)), problems


def _ordered(when: Mapping[str, Expression]) -> tuple[list[str], list[str]]:
    """The parameters, each after those that its condition names; or a cycle, which prevents it."""
    sorter = graphlib.TopologicalSorter({name: when[name].names & when.keys() for name in when})
    try:
        return list(sorter.static_order()), []
    except graphlib.CycleError as error:
        # In the order "depends on", the reverse of the sorter's.
        return [], list(reversed(error.args[1]))
