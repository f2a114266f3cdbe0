"""Infers the space that finished runs were drawn from, column by column.

A column with few distinct values, or with other values than numbers, is a choice. The scale of a
range is the one on which its values are most evenly spread: linear, logarithmic, or logarithmic in
the distance to 1, which suits Adam's betas; the last is searched under the name `1-NAME`. In a
range, a run without a value counts as if it had the median one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tune_app.space.domains import Choice, Domain, Fixed, Float, Int, identity

MOST_CHOICES = 12
"""A column with at most this many distinct numbers is a choice."""


@dataclass(frozen=True, slots=True)
class Column:
    """How a hyper-parameter of a table is searched."""

    name: str
    domain: Domain
    convert: Callable[[Any], Any]
    """Converts the table's value to the searched one."""
    remark: str = ""
    """A note if numbers are not a range because of a text among them."""


def guess(name: str, values: Sequence[Any]) -> Column:
    """The parameter for a column of values."""
    different = {identity(value): value for value in values}
    listed = list(different.values())
    if len(listed) == 1:
        return Column(name, Fixed(listed[0]), _same)
    numbers = [v for v in listed if isinstance(v, (int, float)) and not isinstance(v, bool)]
    others = [v for v in listed if not isinstance(v, (int, float)) or isinstance(v, bool)]
    if others not in ([], [None]) or len(numbers) <= MOST_CHOICES:
        order = sorted(listed, key=identity) if others else sorted(numbers)
        return Column(name, Choice(tuple(order)), _same, _remark(name, listed))
    present = sorted(value for value in values if value is not None)
    column, middle = _range(name, present), present[len(present) // 2]
    if not others:
        return column
    return replace(column, convert=lambda v: column.convert(middle if v is None else v))


def _remark(name: str, listed: Sequence[Any]) -> str:
    """A note on the text that makes a choice of a column of mostly numbers."""
    texts = [value for value in listed if isinstance(value, str)]
    words = [text for text in texts if not _is_number(text)]
    numbers = len(listed) - len(words) - listed.count(None)
    if not texts or numbers <= max(MOST_CHOICES, len(listed) // 2):
        return ""
    return f"{name}: {(words or texts)[0]!r} is text, so that all values are unordered choices"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _range(name: str, values: Sequence[Any]) -> Column:
    sample = np.array(values, dtype=float)
    low, high = min(values), max(values)
    scales = {"linear": sample}
    if low > 0:
        scales["log"] = np.log(sample)
    if high < 1:
        scales["rest"] = np.log(1 - sample)
    best = min(scales, key=lambda scale: _unevenness(scales[scale]))
    if best == "rest":
        return Column(f"1-{name}", Float(1 - high, 1 - low, log=True), _rest)
    if all(isinstance(value, int) for value in values):
        return Column(name, Int(low, high, log=best == "log"), _same)
    return Column(name, Float(float(low), float(high), log=best == "log"), float)


def _unevenness(values: Any) -> float:
    """The Kolmogorov-Smirnov distance (0 to 1) to a uniform distribution between the ends."""
    if values.max() == values.min():
        # Distinct whole numbers so large that they are equal as floats.
        return 1.0
    ordered = np.sort((values - values.min()) / (values.max() - values.min()))
    steps = np.arange(1, len(ordered) + 1) / len(ordered)
    return float(np.abs(ordered - steps).max())


def _same(value: Any) -> Any:
    return value


def _rest(value: Any) -> float:
    return 1 - float(value)
