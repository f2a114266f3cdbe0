"""Priors over good values (beliefs), and draws from them.

A belief about a number is a normal distribution around it, in octaves (factors of two) or in the
parameter's own units, truncated at the ends of the range. A belief about a choice multiplies the
probability of one value.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, assert_never

from tune_app.errors import Problem, nearest
from tune_app.space.constraints import Where
from tune_app.space.domains import (
    Choice,
    Domain,
    Drawn,
    Fixed,
    Float,
    Int,
    Space,
    identity,
    sample,
    snap,
)

PRIOR = "prior"
STEP_LAW = "step_law"


@dataclass(frozen=True, slots=True)
class Belief:
    """The prior of one parameter; exactly one of `octaves`, `width` and `weight` is not None."""

    value: Any
    octaves: float | None = None
    width: float | None = None
    weight: float | None = None


def draw(domain: Domain, belief: Belief, rng: random.Random) -> Any:
    """One draw from `domain` with `belief` as the prior."""
    match domain:
        case Choice(values):
            return rng.choices(values, _weights(domain, belief))[0]
        case Float(low, high, _, step):
            number = _number(low, high, belief, rng)
            return number if step is None else snap(number, low, high, step)
        case Int(low, high, _, step):
            # Half a step more at both ends, as for draws without a belief.
            half = (step or 1) / 2
            number = _number(
                max(low - half, low / 2) if low > 0 else low - half, high + half, belief, rng
            )
            return int(snap(number, low, high, step or 1))
        case Drawn():
            return domain.rounded(_number(domain.low, domain.high, belief, rng))
        case Fixed():
            return sample(domain, rng)
        case _:
            assert_never(domain)


def log_density(domain: Domain, belief: Belief, value: Any) -> float:
    """The log density of `value` relative to the belief's most likely value: 0 at most."""
    if belief.weight is None:
        return -0.5 * _distance(value, belief) ** 2
    liked = identity(value) == identity(belief.value)
    return 0.0 if liked == (belief.weight > 1) else -abs(math.log(belief.weight))


def _number(low: float, high: float, belief: Belief, rng: random.Random) -> float:
    """A draw from a normal distribution truncated at `low` and `high`."""
    if belief.octaves is None:
        number = _cut_off(NormalDist(belief.value, belief.width or 1.0), low, high, rng)
    else:
        normal = NormalDist(math.log2(belief.value), belief.octaves)
        number = 2 ** _cut_off(normal, math.log2(low), math.log2(high), rng)
    return min(max(number, low), high)


def _cut_off(normal: NormalDist, low: float, high: float, rng: random.Random) -> float:
    """A draw by the inverse CDF; the nearer end if the range has almost no probability."""
    begin, end = normal.cdf(low), normal.cdf(high)
    at = begin + (end - begin) * rng.random()
    if not 0 < at < 1 or begin == end:
        return low if normal.mean < low else high
    return normal.inv_cdf(at)


def _weights(domain: Choice, belief: Belief) -> list[float]:
    plain = domain.weights or (1.0,) * len(domain.values)
    if belief.weight is not None:
        liked = identity(belief.value)
        times = [belief.weight if identity(value) == liked else 1.0 for value in domain.values]
        return [weight * factor for weight, factor in zip(plain, times, strict=True)]
    distances = [_distance(value, belief) ** 2 / 2 for value in domain.values]
    # Relative to the nearest value, so that a distant belief does not make all weights zero.
    factors = [math.exp(min(distances) - distance) for distance in distances]
    return [weight * factor for weight, factor in zip(plain, factors, strict=True)]


def _distance(value: float, belief: Belief) -> float:
    """The distance of `value` from the mean, in standard deviations."""
    if belief.octaves is None:
        return float(value - belief.value) / (belief.width or 1.0)
    return float(math.log2(value / belief.value) / belief.octaves)


def problems(
    beliefs: Mapping[str, Belief], space: Space, declared: Iterable[str], where: Where
) -> list[Problem]:
    """Problems of beliefs; `declared` names all parameters, `space` has the readable ones."""
    names = {*space, *declared}
    problems = []
    for name, belief in beliefs.items():
        place = where((PRIOR, name))
        if name not in names:
            what = f"no parameter is called {name!r}"
            problems.append(Problem(what, place, fix=nearest(name, {*names, STEP_LAW})))
        elif name in space:
            against = complaint(space[name], belief)
            problems += [Problem(against[0], place, against[1])] if against else []
    return problems


def complaint(domain: Domain, belief: Belief) -> tuple[str, str] | None:
    """Why a belief does not fit its domain, and what is expected; None if it fits."""
    value = belief.value
    if isinstance(domain, Fixed):
        return None
    if isinstance(domain, Choice) and belief.weight is not None:
        listed = identity(value) in map(identity, domain.values)
        return (
            None
            if listed
            else (f"{value!r} is not among the values", f"one of {list(domain.values)}")
        )
    if belief.weight is not None:
        return "a range has no weight", "octaves or width"
    numbers = [value, *(domain.values if isinstance(domain, Choice) else (domain.low, domain.high))]
    if not all(_is_number(n) for n in numbers):
        text = "{value: …, weight: …}" if isinstance(domain, Choice) else "a number as the value"
        return "octaves and width are for numbers", text
    if belief.octaves is not None and min(numbers) <= 0:
        return "octaves are for numbers above 0", "width, in the parameter's own units"
    if belief.width is not None and not isinstance(domain, Choice) and domain.log:
        return "a logarithmic range has no width", "octaves: factors of two"
    return None


def _is_number(value: Any) -> bool:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return plain and abs(value) <= LARGEST


LARGEST = 2**53
"""Priors are drawn as floats, in which whole numbers beyond this are not exact."""


def notes(beliefs: Mapping[str, Belief], space: Space) -> list[str]:
    """Notes for the user on valid beliefs that have no effect, or only a part of one."""
    lines = []
    for name, belief in beliefs.items():
        domain = space.get(name)
        if isinstance(domain, Fixed):
            lines.append(f"the prior of {name} is not used: it is fixed")
        elif isinstance(domain, (Float, Int, Drawn)) and not (
            domain.low <= belief.value <= domain.high
        ):
            low, high = domain.low, domain.high
            lines.append(
                f"the prior of {name} is around {belief.value:g}, outside of {low:g} to {high:g}: "
                "only the part inside is used"
            )
    return lines
