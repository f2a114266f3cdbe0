"""Numbers whose likelihood is not flat over a range: W&B's bell curves, and its rounded ranges.

The meaning is that of W&B's own engine (`sweeps` on the Python package index, `params.py`): a
number is drawn from the shape, then rounded to the nearest multiple of `q`. So the two ends of a
rounded range are about half as likely as what lies between them, and may lie outside of it.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, assert_never

Shape = Literal["uniform", "log_uniform", "normal", "log_normal", "beta"]

TAIL = 1e-4
"""What an unbounded shape has beyond either end of the range that is shown for it."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A number of a `shape`, rounded to multiples of `q` if that is given; whole where `q` is.

    `a` and `b` are what the shape takes: low and high of the ranges, mean and standard deviation
    of the bell curves (of the logarithm, for `log_normal`), alpha and beta of `beta`.
    """

    shape: Shape
    a: float
    b: float
    q: float | None = None

    @property
    def log(self) -> bool:
        """Whether the shape is one of the logarithm, and all that it gives above 0."""
        return self.shape in ("log_uniform", "log_normal") and self.low > 0

    @property
    def low(self) -> float:
        """The lower end, after rounding; for a bell curve all but one in 10,000 lie above."""
        return self.rounded(_quantile(self, TAIL if self._unbounded else 0.0))

    @property
    def high(self) -> float:
        """The upper end, in the same way."""
        return self.rounded(_quantile(self, 1 - TAIL if self._unbounded else 1.0))

    @property
    def bounded(self) -> bool:
        """Whether no draw lies outside of `low` and `high`."""
        return not self._unbounded

    @property
    def _unbounded(self) -> bool:
        return self.shape in ("normal", "log_normal")

    def rounded(self, value: float) -> float:
        """The nearest multiple of `q`, as W&B rounds: halves go to the even one."""
        if self.q is None:
            return value
        index = round(value / self.q)
        # 15 digits are as many as a float keeps: 3 steps of 0.1 are 0.3 to a person.
        return index * self.q if isinstance(self.q, int) else float(f"{index * self.q:.15g}")


def draw(domain: Drawn, rng: random.Random) -> float:
    """One independent draw."""
    if domain.shape == "beta":
        return domain.rounded(rng.betavariate(domain.a, domain.b))
    return domain.rounded(_quantile(domain, _open(rng.random(), domain)))


def from_unit(domain: Drawn, share: float) -> float:
    """The value at a share in [0, 1] of the likelihood; of the range itself for `beta`.

    The standard library has no inverse of the beta distribution. A model that learns where good
    values are needs the whole range from it, not the shape.
    """
    return domain.rounded(_quantile(domain, _open(share, domain)))


def to_unit(domain: Drawn, value: float) -> float:
    """The inverse of `from_unit`, for a value that may have been rounded."""
    match domain.shape:
        case "uniform":
            share = (value - domain.a) / (domain.b - domain.a)
        case "log_uniform":
            low, high = math.log(domain.a), math.log(domain.b)
            share = (math.log(max(value, domain.a)) - low) / (high - low)
        case "normal":
            share = NormalDist(domain.a, domain.b).cdf(value)
        case "log_normal":
            share = NormalDist(domain.a, domain.b).cdf(math.log(value)) if value > 0 else 0.0
        case "beta":
            share = value
        case _:
            assert_never(domain.shape)
    return min(max(share, 0.0), 1.0)


def listed(domain: Drawn, limit: int) -> list[float] | None:
    """All values of a rounded range, None where there are too many or no end."""
    if domain.q is None or not domain.bounded:
        return None
    first, last = round(domain.low / domain.q), round(domain.high / domain.q)
    if last - first >= limit:
        return None
    return [domain.rounded(index * domain.q) for index in range(first, last + 1)]


def can_be(domain: Drawn, value: float) -> bool:
    """Whether `value` can be drawn."""
    if domain.q is not None and not math.isclose(value, domain.rounded(value), abs_tol=1e-12):
        return False
    if isinstance(domain.q, int) and not isinstance(value, int):
        return False
    if domain.shape == "log_normal":
        return value > 0 or (value == 0 and domain.q is not None)
    return not domain.bounded or domain.low <= value <= domain.high


def describe(domain: Drawn) -> str:
    """The shape in a few words, for people."""
    a, b = f"{domain.a:g}", f"{domain.b:g}"
    words = {
        "uniform": f"{domain.low:g} to {domain.high:g}",
        "log_uniform": f"{domain.low:g} to {domain.high:g} (log)",
        "normal": f"normal, mean {a}, deviation {b}",
        "log_normal": f"log-normal, median {math.exp(domain.a):.4g}, log deviation {b}",
        "beta": f"beta({a}, {b})",
    }
    step = "" if domain.q is None else f" in steps of {domain.q:g}"
    return words[domain.shape] + step


def _open(share: float, domain: Drawn) -> float:
    """A bell curve has no value at 0 and 1 of its likelihood."""
    return share if domain.bounded else min(max(share, 1e-12), 1 - 1e-12)


def _quantile(domain: Drawn, share: float) -> float:
    match domain.shape:
        case "uniform":
            return domain.a + share * (domain.b - domain.a)
        case "log_uniform":
            low, high = math.log(domain.a), math.log(domain.b)
            return min(max(math.exp(low + share * (high - low)), domain.a), domain.b)
        case "normal":
            return NormalDist(domain.a, domain.b).inv_cdf(share)
        case "log_normal":
            return math.exp(NormalDist(domain.a, domain.b).inv_cdf(share))
        case "beta":
            return share
        case _:
            assert_never(domain.shape)
