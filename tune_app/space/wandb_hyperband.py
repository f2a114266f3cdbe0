"""Reads `early_terminate` of a W&B sweep: https://docs.wandb.ai/models/sweeps/sweep-config-keys

W&B counts iterations: how often a run logs the metric. Here an iteration is an evaluation, and a
trial has as many as the budget says; with `max_iter`, the whole budget counts as that many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tune_app.errors import nearest
from tune_app.space.reader import Reader
from tune_app.space.wandb_ranges import number

KEY = "early_terminate"
MAX_ETA, MAX_ITERATIONS = 100, 10**9
KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")


@dataclass(frozen=True, slots=True)
class Hyperband:
    """Bands at `min_iter`, `min_iter * eta`, …, or at `max_iter / eta^s`, …, `max_iter / eta`."""

    eta: float = 3
    min_iter: int | None = None
    max_iter: int | None = None
    s: int | None = None

    def in_wandb(self) -> dict[str, int | float | str]:
        """The mapping in the format of W&B."""
        bands = {"min_iter": self.min_iter, "max_iter": self.max_iter, "s": self.s}
        present = {key: value for key, value in bands.items() if value is not None}
        return {"type": "hyperband", "eta": self.eta, **present}

    def rungs(self, evaluations: int) -> tuple[float, ...]:
        """The bands as fractions of a budget of `evaluations`; the last one is 1."""
        if self.max_iter is not None:
            iterations, count = float(self.max_iter), self.s or 1
            bands = [self.max_iter / self.eta**power for power in range(count, 0, -1)]
        else:
            iterations, bands, band = float(evaluations), [], float(self.min_iter or 1)
            while band < iterations:
                bands.append(band)
                band *= self.eta
        # A band before the first iteration has no evaluation.
        shares = [round(band / iterations, 6) for band in bands if 1 <= band < iterations]
        return (*shares, 1.0)


def hyperband(document: Mapping[str, Any], reader: Reader) -> Hyperband | None:
    """The value of `early_terminate`, None if it is missing or wrong."""
    entry = document.get(KEY)
    if entry is None:
        return None
    if isinstance(entry, str):
        reader.warn((KEY,), f"{entry!r} is read as its type", f"{KEY}: {{type: {entry}}}")
        entry = {"type": entry}
    if not isinstance(entry, Mapping):
        reader.problem((KEY,), f"{entry!r} is not a mapping", "{type: hyperband, min_iter: 3}")
        return None
    before = len(reader.problems)
    for key in entry:
        if key not in KEYS:
            reader.problem((KEY, key), f"unknown key {key!r}", fix=nearest(str(key), KEYS))
    if reader.word((KEY, "type"), entry.get("type", "hyperband"), ("hyperband",)) != "hyperband":
        fix = nearest(str(entry["type"]), ("hyperband",))
        reader.problem((KEY, "type"), f"unknown type {entry['type']!r}", "hyperband", fix)
    bands = Hyperband(
        eta=_number(entry, "eta", reader, above=1, most=MAX_ETA) or 3,
        min_iter=_whole(entry, "min_iter", reader),
        max_iter=_whole(entry, "max_iter", reader),
        s=_whole(entry, "s", reader),
    )
    _check_bands(entry, reader)
    if len(reader.problems) > before:
        return None
    bands = _fitting(bands, reader)
    if "s" in entry and bands.max_iter is None:
        reader.note((KEY, "s"), "not used: bands that begin at min_iter continue to the end")
    if "strict" in entry:
        reader.note((KEY, "strict"), "not used: a trial always waits until it is compared")
    return bands


def _fitting(bands: Hyperband, reader: Reader) -> Hyperband:
    """Drops the bands before the first iteration, as W&B does."""
    if bands.max_iter is None or bands.s is None:
        return bands
    most = int(math.log(bands.max_iter) / math.log(bands.eta) + 1e-9)
    if bands.s <= most:
        return bands
    what = f"{bands.s} bands of {bands.max_iter} iterations begin before the first one"
    if most == 0:
        reader.problem((KEY, "s"), what, f"a max_iter of {bands.eta:g} or more")
        return bands
    reader.warn((KEY, "s"), f"{what}: read as {most}, as W&B does", f"s: {most}")
    return replace(bands, s=most)


def _check_bands(entry: Mapping[str, Any], reader: Reader) -> None:
    if "min_iter" in entry and "max_iter" in entry:
        readings = {
            "bands from below": "keep min_iter",
            "bands from the end": "keep max_iter with s",
        }
        reader.ambiguous((KEY,), "min_iter beside max_iter", readings)
    elif "min_iter" not in entry and "max_iter" not in entry:
        reader.problem((KEY,), "neither min_iter nor max_iter given", "min_iter, or max_iter and s")
    elif "max_iter" in entry and "s" not in entry:
        reader.problem((KEY,), "max_iter without s", "s, the number of bands", "s: 2")


def _number(
    entry: Mapping[str, Any],
    key: str,
    reader: Reader,
    above: float,
    most: float = MAX_ITERATIONS,
) -> float | None:
    if entry.get(key) is None:
        return None
    expected = f"a number above {above:g}, at most {most:g}"
    value = number((KEY, key), entry[key], expected, reader)
    if value is None:
        return None
    if above < value <= most:
        return int(value) if float(value).is_integer() else value
    reader.problem((KEY, key), f"{value!r} does not fit", expected)
    return None


def _whole(entry: Mapping[str, Any], key: str, reader: Reader) -> int | None:
    value = _number(entry, key, reader, above=0)
    if value is None or isinstance(value, int):
        return value
    reader.problem((KEY, key), f"{value!r} does not fit", "a whole number above 0")
    return None
