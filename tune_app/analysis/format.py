"""Formats values as short text: the only place that decides on the number of digits."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

NOTHING = "–"
"""Represents a missing value."""


def loss(number: float | str | None) -> str:
    """An objective or loss to four significant digits: 3.16249 -> "3.162".

    Also accepts the strings "NaN", "Infinity" and "-Infinity" of the journal.
    """
    if number is None:
        return NOTHING
    number = float(number)
    if not math.isfinite(number):
        return _not_finite(number)
    if number != 0 and not 1e-3 <= abs(number) < 1e5:
        return scientific(number, 3)
    return f"{number:#.4g}".rstrip(".") if abs(number) < 1e4 else f"{number:.0f}"


def value(item: Any) -> str:
    """A hyper-parameter's value of any JSON type, as it would be written in YAML or JSON."""
    match item:
        case str():
            return item
        case float() if not isinstance(item, bool):
            return _float(item)
        case _:
            return json.dumps(item, ensure_ascii=False, default=str)


def params(values: Mapping[str, Any]) -> str:
    """All values of a trial in one line."""
    return " ".join(f"{name}={value(item)}" for name, item in values.items())


def count(number: float) -> str:
    """A whole number with thousands separators: 400000 -> "400,000"."""
    return f"{number:,.0f}"


def tokens(number: float) -> str:
    """A large count in three digits: 1234567 -> "1.23M"."""
    rounded = float(f"{number:.3g}")
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(rounded) >= size:
            return f"{rounded / size:.3g}{unit}"
    return f"{number:.0f}"


def duration(seconds: float | None) -> str:
    """Seconds in the two largest units that matter: 215 -> "3m35s"."""
    if seconds is None:
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60}h{minutes % 60:02d}m"
    hours = round(seconds / 3600)
    return f"{hours // 24}d{hours % 24:02d}h"


def share(fraction: float) -> str:
    """A share as a percentage: 0.58 -> "58 %", with a decimal where it matters."""
    percent = 100 * fraction
    if 0 < abs(percent) < 0.05:
        return "< 0.1 %" if percent > 0 else "> -0.1 %"
    digits = 1 if abs(percent) < 9.95 or 99 < abs(percent) < 100 else 0
    text = f"{percent:.{digits}f}"
    return f"{text.removesuffix('.0')} %"


def shorten(text: str, limit: int) -> str:
    """`text` in at most `limit` characters; keeps both ends, as names often differ there."""
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"


def _float(number: float) -> str:
    if not math.isfinite(number):
        return _not_finite(number)
    if number != 0 and not 1e-3 <= abs(number) < 1e6:
        return scientific(number, 3)
    if number == int(number) or abs(number) >= 1e3:
        return f"{number:.0f}"
    return f"{number:.3g}" if abs(number) < 100 else f"{number:.4g}"


def scientific(number: float, digits: int) -> str:
    """A number with at most `digits` significant digits: 620000 -> "6.2e5"."""
    mantissa, exponent = f"{number:.{digits - 1}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def _not_finite(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "inf" if number > 0 else "-inf"
