"""Reads the ranges and distributions of a W&B sweep: min and max, mu and sigma, a and b.

The bounds of `log_uniform` and `inv_log_uniform` are exponents of e, those of `..._values` are
values. The inverse forms draw 1/x for an x of the plain form, which is log-uniform as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tune_app.space.domains import Domain, Fixed, Float, Int
from tune_app.space.drawn import Drawn, Shape
from tune_app.space.reader import Path, Reader

RANGES = ("uniform", "int_uniform", "q_uniform")
LOG_VALUES = ("log_uniform_values", "q_log_uniform_values", "inv_log_uniform_values")
LOG_EXPONENTS = ("log_uniform", "q_log_uniform", "inv_log_uniform")
NORMALS = ("normal", "q_normal", "log_normal", "q_log_normal")
BETAS = ("beta", "q_beta")

LARGEST = 2**53
"""Samplers use floats, in which whole numbers beyond this are not exact."""

FEW_EXPONENTS = 0.1
"""e to this is hardly more than 1: a lower bound below it is probably not an exponent."""

MANY_EXPONENTS = 14.0
"""e to this is over a million: a larger upper bound is probably not an exponent."""


def bounded(path: Path, entry: Mapping[str, Any], reader: Reader) -> Domain | None:
    """A distribution between `min` and `max`."""
    ends = _ends(path, entry, reader)
    if ends is None:
        return None
    low, high = ends
    whole = isinstance(low, int) and isinstance(high, int)
    distribution = entry.get("distribution") or ("int_uniform" if whole else "uniform")
    if "q" in entry and not distribution.startswith("q_"):
        quantised = f"distribution: q_{distribution.removeprefix('int_')}"
        readings = {"steps of q": quantised, "every number": "take q out"}
        reader.ambiguous((*path, "q"), f"q beside {distribution}, which has none,", readings)
        return None
    if distribution == "int_uniform":
        return _whole(path, low, high, reader)
    if distribution in LOG_EXPONENTS:
        powers = _powers(path, low, high, distribution, reader)
        if powers is None:
            return None
        low, high = powers
    elif distribution in LOG_VALUES and low <= 0:
        what, expected = f"min {low} has no logarithm", f"a number above 0 for {distribution}"
        fix = "a small number such as 1e-6, or distribution: uniform"
        reader.problem((*path, "min"), what, expected, fix)
        return None
    log = distribution not in RANGES
    if distribution.startswith("q_"):
        return _rounded(path, entry, "log_uniform" if log else "uniform", low, high, reader)
    return Float(float(low), float(high), log=log)


def bell(path: Path, entry: Mapping[str, Any], reader: Reader) -> Domain | None:
    """A normal or log-normal distribution; by default mean 0 and standard deviation 1."""
    mean = number((*path, "mu"), entry.get("mu", 0.0), "a number, e.g. 0", reader)
    deviation = number((*path, "sigma"), entry.get("sigma", 1.0), "a number above 0", reader)
    if mean is None or deviation is None:
        return None
    distribution = str(entry["distribution"])
    shape: Shape = "log_normal" if "log" in distribution else "normal"
    if deviation < 0:
        reader.problem(
            (*path, "sigma"), f"{deviation!r} is no standard deviation", "a number above 0"
        )
        return None
    if shape == "log_normal" and abs(mean) + 8 * deviation > 700:
        what = f"e to the power of {mean:g} ± 8 x {deviation:g} is no range of numbers"
        reader.problem(path, what, fix="mu and sigma are of the logarithm of the values")
        return None
    if deviation == 0:
        only = math.exp(mean) if shape == "log_normal" else float(mean)
        reader.warn((*path, "sigma"), f"a standard deviation of 0 gives the one value {only:g}")
        return Fixed(only)
    if distribution.startswith("q_"):
        return _rounded(path, entry, shape, mean, deviation, reader)
    return Drawn(shape, float(mean), float(deviation))


def beta(path: Path, entry: Mapping[str, Any], reader: Reader) -> Domain | None:
    """A beta distribution between 0 and 1; uniform by default."""
    first, second = (
        number((*path, key), entry.get(key, 1), "a number above 0", reader) for key in ("a", "b")
    )
    if first is None or second is None:
        return None
    bad = [key for key, value in (("a", first), ("b", second)) if value <= 0]
    for key in bad:
        reader.problem((*path, key), f"{entry[key]!r} is too small", "a number above 0")
    if bad:
        return None
    if str(entry["distribution"]).startswith("q_"):
        return _rounded(path, entry, "beta", float(first), float(second), reader)
    return Drawn("beta", float(first), float(second))


def number(path: Path, value: Any, expected: str, reader: Reader) -> float | None:
    """A finite number, also in quotes; adds a problem and gives None for anything else."""
    if isinstance(value, str):
        parsed = from_text(value)
        if parsed is not None:
            reader.warn(path, f"{value!r} is read as the number {parsed!r}", "leave the quotes out")
            value = parsed
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if -LARGEST <= value <= LARGEST:
            return value
        expected = "a finite number, at most 2^53"
    reader.problem(path, f"{value!r} is not a number", expected)
    return None


def from_text(text: str) -> float | None:
    """The finite number that a text represents, None if it is not one."""
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else None
    return None


def _ends(path: Path, entry: Mapping[str, Any], reader: Reader) -> tuple[float, float] | None:
    low, high = (
        number((*path, key), entry[key], "a number, e.g. 1e-5", reader) for key in ("min", "max")
    )
    if low is None or high is None:
        return None
    if low < high:
        return low, high
    empty = low > high
    what = f"range [{low}, {high}] is empty" if empty else f"[{low}, {high}] is one value"
    fix = f"min: {high}, max: {low}" if empty else "value, with that value alone"
    reader.problem(path, what, expected="min below max", fix=fix)
    return None


def _whole(path: Path, low: float, high: float, reader: Reader) -> Domain | None:
    if float(low).is_integer() and float(high).is_integer():
        return Int(int(low), int(high))
    what, expected = f"[{low}, {high}] are not whole numbers", "int_uniform has whole ends"
    reader.problem(path, what, expected, "whole ends, or distribution: uniform")
    return None


def _powers(
    path: Path, low: float, high: float, distribution: str, reader: Reader
) -> tuple[float, float] | None:
    """The values of exponents of e; None, with a problem, if they look like values themselves."""
    inverse = distribution.startswith("inv_")
    exponents = (-high, -low) if inverse else (low, high)
    try:
        powers = (math.exp(exponents[0]), math.exp(exponents[1]))
    except OverflowError:
        powers = (0.0, math.inf)
    as_values = f"distribution: {distribution}_values"
    if not 0 < powers[0] < powers[1] < math.inf:
        what = f"e to the power of [{exponents[0]}, {exponents[1]}] is no range of numbers"
        reader.problem(path, what, fix=as_values)
        return None
    read = f"{powers[0]:.6g} to {powers[1]:.6g}"
    # An inverse range of small numbers is written with exponents above 0; a plain one is not.
    unlikely = high <= 1 or (not inverse and (high > MANY_EXPONENTS or low < FEW_EXPONENTS))
    if low > 0 and unlikely:
        values = f"distribution: log_uniform_values, min: {powers[0]:.6g}, max: {powers[1]:.6g}"
        readings = {f"values {low:g} to {high:g}": as_values, f"e to their power, {read}": values}
        reader.ambiguous(path, f"{distribution} from {low} to {high}", readings)
        return None
    if low > 0 and not inverse:
        what = f"the bounds of {distribution} are exponents of e: values from {read}"
        reader.warn(path, what, f"{as_values} if {low:g} and {high:g} are values")
    return powers


def _rounded(
    path: Path, entry: Mapping[str, Any], shape: Shape, a: float, b: float, reader: Reader
) -> Domain | None:
    """A distribution in multiples of `q`, whole numbers where `q` is one."""
    q = number((*path, "q"), entry.get("q", 1), "a number above 0", reader)
    if q is None:
        return None
    # If `q` is missing, W&B takes 1 for every distribution whose name begins with q.
    place = (*path, "q" if "q" in entry else "distribution")
    if q <= 0:
        reader.problem(place, f"{q!r} is no step", expected="a number above 0")
        return None
    steps = f"steps of {q}" + ("" if "q" in entry else ", the default of q")
    domain = Drawn(shape, float(a), float(b), q)
    top = Drawn(shape, float(a), float(b)).high
    if not math.isfinite(top / q):
        reader.problem(place, f"{steps} are too small for {top:g}")
        return None
    if domain.low == domain.high:
        what = f"in {steps}, this is the one value {domain.low:g}"
        reader.problem(place, what, "a smaller q", f"value: {domain.low:g}")
        return None
    return domain
