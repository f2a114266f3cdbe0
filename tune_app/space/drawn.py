"""W&B's non-uniform distributions (normal, log-normal, beta) and its quantised ranges.

The semantics are those of W&B's own engine (`sweeps` on PyPI, `params.py`): a number is drawn from
the distribution, then rounded to the nearest multiple of `q`. So the two ends of a quantised range
are about half as likely as the values between, and may lie outside of the range.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, assert_never

Shape = Literal["uniform", "log_uniform", "normal", "log_normal", "beta"]

TAIL = 1e-4
"""Probability of an unbounded distribution beyond each end of the range that stands for it."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A number from a distribution, rounded to multiples of `q` unless that is None.

    `a` and `b` are its parameters: low and high of the ranges, mean and standard deviation of the
    normal ones (of the logarithm, for `log_normal`), alpha and beta of `beta`. An integer `q` gives
    integers.
    """

    shape: Shape
    a: float
    b: float
    q: float | None = None

    @property
    def log(self) -> bool:
        """Whether it is a distribution of the logarithm whose draws are all above 0."""
        return self.shape in ("log_uniform", "log_normal") and self.low > 0

    @property
    def low(self) -> float:
        """The lower end, rounded; for unbounded distributions the quantile at `TAIL`."""
        return self.rounded(_quantile(self, TAIL if self._unbounded else 0.0))

    @property
    def high(self) -> float:
        """The upper end, rounded; for unbounded distributions the quantile at 1 - `TAIL`."""
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
        # A float has 15 exact digits: 3 steps of 0.1 are 0.3.
        return index * self.q if isinstance(self.q, int) else float(f"{index * self.q:.15g}")


def draw(domain: Drawn, rng: random.Random) -> float:
    """One independent draw."""
    if domain.shape == "beta":
        return domain.rounded(rng.betavariate(domain.a, domain.b))
    return domain.rounded(_quantile(domain, _open(rng.random(), domain)))


def from_unit(domain: Drawn, share: float) -> float:
    """The quantile at `share` in [0, 1]; for `beta`, the point at this share of the range.

    The standard library has no quantiles of the beta distribution, and a model that learns where
    good values are needs its range only.
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
    """All values of a quantised range; None if they are unbounded or more than `limit`."""
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
    """A short description of the distribution for the user."""
    a, b = f"{domain.a:g}", f"{domain.b:g}"
    words = {
        "uniform": f"{domain.low:g} to {domain.high:g}",
        "log_uniform": f"{domain.low:g} to {domain.high:g} (log)",
        "normal": f"normal, mean {a}, standard deviation {b}",
        "log_normal": f"log-normal, median {math.exp(domain.a):.4g}, standard deviation {b} (log)",
        "beta": f"beta({a}, {b})",
    }
    step = "" if domain.q is None else f" in steps of {domain.q:g}"
    return words[domain.shape] + step


def _open(share: float, domain: Drawn) -> float:
    """`share`, kept off 0 and 1, where an unbounded distribution has no quantile."""
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
