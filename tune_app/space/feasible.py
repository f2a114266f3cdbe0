"""Finds combinations that the constraints of a space allow, and estimates how rare they are."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_app.errors import Problem
from tune_app.space.constraints import CONSTRAINTS, WHEN, Constraints, Where
from tune_app.space.domains import Space, grid, identity, sample, searched
from tune_app.space.expressions import Expression, Failed

STEPS = 500_000
"""Values that a listing tries at most, so that it ends within seconds for any constraints."""
DRAWS = 2_000
"""Random draws from which the allowed share of a space is estimated."""
STAND_INS = 24
"""At least this many random values represent a range that has too many values to list."""
STAND_INS_TOGETHER = 100_000
"""Approximate number of combinations of the random values of all constrained ranges."""
RARE = 0.01
"""A smaller allowed share of the space gives a note."""


class Listing:
    """The allowed combinations of listed values, each once; inactive parameters have no value.

    Searches depth first and checks a constraint as soon as its parameters have values, so that a
    constraint on few parameters prunes early.
    """

    def __init__(
        self,
        space: Space,
        constraints: Constraints,
        values: Mapping[str, Sequence[Any]],
        first: Sequence[str] = (),
    ) -> None:
        """
        Args:
            space: all parameters.
            constraints: what is allowed.
            values: the listed values of each searched parameter.
            first: the order of assignment; the parameters of a condition still come before it.
        """
        self._constraints = constraints
        self._searched = set(searched(space))
        sometimes = {
            n: [value] for n, value in constraints.constants.items() if n in constraints.when
        }
        self._values = {**values, **sometimes}
        self._order = _order(first or list(space), self._values.keys(), constraints)
        self._touching = {
            name: tuple(item for item in constraints.required if name in item.names)
            for name in self._order
        }
        self._constants = {
            k: v for k, v in constraints.constants.items() if k not in constraints.when
        }
        self._ruled = constraints.names
        self._dead: set[str] = set()
        self._steps_left = STEPS
        self.complete = True
        """Whether the listing was not cut off; valid after the iteration."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if not self._constraints.broken(self._constants, self._constraints.required):
            yield from self._below(0, self._constants)

    def _below(self, depth: int, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """All combinations that extend `values`."""
        if depth == len(self._order):
            yield {name: item for name, item in values.items() if name in self._searched}
            return
        key = self._key(depth, values)
        if key in self._dead:
            return
        alive = False
        for longer in self._longer(self._order[depth], values):
            for combination in self._below(depth + 1, longer):
                alive = True
                yield combination
        if not alive and self.complete and key:
            self._dead.add(key)

    def _longer(self, name: str, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """`values` with each allowed value of `name`, or without one if it is inactive."""
        if not self._constraints.is_active(name, values):
            yield values
            return
        for value in self._values[name]:
            self._steps_left -= 1
            if self._steps_left < 0:
                self.complete = False
                return
            longer = {**values, name: value}
            if not self._constraints.broken(longer, self._touching[name]):
                yield longer

    def _key(self, depth: int, values: Mapping[str, Any]) -> str:
        """The constrained values of a prefix, which decide whether it can be completed.

        Empty if each prefix occurs only once, so that there is nothing to remember.
        """
        if all(name in self._ruled for name in self._order[:depth]):
            return ""
        return f"{depth}{identity({k: v for k, v in values.items() if k in self._ruled})}"


def _order(first: Sequence[str], names: Any, constraints: Constraints) -> list[str]:
    """`first`, but each conditional parameter after those that its condition names."""
    order: list[str] = []

    def place(name: str) -> None:
        if name in names and name not in order:
            condition = constraints.when.get(name)
            for other in first if condition is not None else ():
                if condition is not None and other in condition.names:
                    place(other)
            order.append(name)

    for name in first:
        place(name)
    return order


def in_file_order(space: Space, constraints: Constraints) -> Listing | None:
    """Every allowed combination, the last parameter varying fastest; None for unlistable ranges."""
    listed = {name: grid(domain) for name, domain in searched(space).items()}
    values = {name: items for name, items in listed.items() if items is not None}
    return Listing(space, constraints, values) if len(values) == len(listed) else None


def shuffled(space: Space, constraints: Constraints, rng: random.Random) -> Listing:
    """Allowed combinations in random order; random draws represent ranges that are not listable."""
    values = {name: grid(domain) or [] for name, domain in searched(space).items()}
    ruled = sum(not items for name, items in values.items() if name in constraints.names)
    many = max(STAND_INS, min(DRAWS, round(STAND_INS_TOGETHER ** (1 / max(ruled, 1)))))
    for name, items in values.items():
        if not items:
            number = many if name in constraints.names else STAND_INS
            values[name] = [sample(space[name], rng) for _ in range(number)]
        else:
            rng.shuffle(items)
    linked = [name for item in constraints.required for name in sorted(item.names)]
    # Constrained parameters come first: once they are allowed, so is everything else.
    first = list(dict.fromkeys([*linked, *sorted(constraints.names), *space]))
    return Listing(space, constraints, values, [name for name in first if name in space])


def count(space: Space, constraints: Constraints) -> int | None:
    """How many combinations are allowed, None if they cannot be counted."""
    listing = in_file_order(space, constraints)
    if listing is None:
        return None
    number = sum(1 for _ in listing)
    return number if listing.complete else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The problems and notes of a check."""

    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def check(space: Space, constraints: Constraints, where: Where) -> Verdict:
    """Evaluates constraints on random draws: problems if they fail, notes if they allow little."""
    if not constraints:
        return Verdict()
    rng = random.Random(0)
    draws = [{k: sample(domain, rng) for k, domain in space.items()} for _ in range(DRAWS)]
    problems = [
        problem
        for path, expression in _placed(constraints)
        if (problem := _without_answer(expression, draws, constraints, where(path))) is not None
    ]
    if problems:
        return Verdict(tuple(problems))
    notes = [
        f"{name} is never active: {constraints.when[name].text} "
        f"holds for none of {DRAWS:,} random draws"
        for name in constraints.when
        if not any(name in constraints.active(draw) for draw in draws)
    ]
    share = sum(map(constraints.allows, draws)) / DRAWS
    if share == 0:
        listing = shuffled(space, constraints, rng)
        if next(iter(listing), None) is None:
            return Verdict((_nothing(space, listing, constraints, draws, where),))
    if share < RARE:
        part = f"only {100 * share:.1f} %" if share >= 0.001 else "less than 0.1 %"
        notes.append(f"{part} of the space is allowed by the constraints")
    return Verdict(notes=tuple(notes))


def _placed(constraints: Constraints) -> list[tuple[tuple[str | int, ...], Expression]]:
    required = [((CONSTRAINTS, i), item) for i, item in enumerate(constraints.required)]
    return [*required, *(((WHEN, name), item) for name, item in constraints.when.items())]


def _without_answer(
    expression: Expression, draws: list[dict[str, Any]], constraints: Constraints, where: str
) -> Problem | None:
    """The problem of the first draw for which an expression is neither true nor false."""
    for draw in draws:
        values = constraints.active(draw)
        try:
            expression.holds(values)
        except Failed as error:
            listed = ", ".join(
                f"{n} = {values[n]!r}" for n in sorted(expression.names) if n in values
            )
            what = f"{expression.text!r} has no answer{' for ' * bool(listed)}{listed}: {error}"
            return Problem(what, where, "an expression that is true or false for all values")
    return None


def _nothing(
    space: Space,
    listing: Listing,
    constraints: Constraints,
    draws: list[dict[str, Any]],
    where: Callable[[tuple[str | int, ...]], str],
) -> Problem:
    """The problem that no allowed values were found; names the most restrictive constraint."""
    alone = [
        sum(not constraints.broken(constraints.active(draw), [item]) for draw in draws) / DRAWS
        for item in constraints.required
    ]
    tightest = min(range(len(alone)), key=lambda index: alone[index])
    is_proof = listing.complete and all(grid(space[name]) is not None for name in constraints.names)
    what = "the constraints allow no combination of the space"
    if not is_proof:
        what = f"no values that the constraints allow were found in {DRAWS:,} draws and a search"
    text, percent = constraints.required[tightest].text, math.ceil(1000 * alone[tightest]) / 10
    fix = f"loosen them; the tightest, {text}, allows {percent:g} % of the space by itself"
    return Problem(what, where((CONSTRAINTS, tightest)), fix=fix)
