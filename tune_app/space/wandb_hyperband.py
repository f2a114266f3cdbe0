"""Reads `early_terminate` of a W&B sweep: https://docs.wandb.ai/models/sweeps/sweep-config-keys

W&B counts iterations, the times that a run logs the metric. Here it is an evaluation, and a trial
has as many as the budget says; a study with `max_iter` has that many for its whole budget.
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
        """The same as W&B writes it."""
        bands = {"min_iter": self.min_iter, "max_iter": self.max_iter, "s": self.s}
        given = {key: value for key, value in bands.items() if value is not None}
        return {"type": "hyperband", "eta": self.eta, **given}

    def rungs(self, evaluations: int) -> tuple[float, ...]:
        """The bands as shares of a budget of `evaluations`, with the whole budget at the end."""
        if self.max_iter is not None:
            iterations, count = float(self.max_iter), self.s or 1
            bands = [self.max_iter / self.eta**power for power in range(count, 0, -1)]
        else:
            iterations, bands, band = float(evaluations), [], float(self.min_iter or 1)
            while band < iterations:
                bands.append(band)
                band *= self.eta
        # A band before the first iteration is none.
        shares = [round(band / iterations, 6) for band in bands if 1 <= band < iterations]
        return (*shares, 1.0)


def hyperband(document: Mapping[str, Any], reader: Reader) -> Hyperband | None:
    """What `early_terminate` says, None where it says nothing or is wrong."""
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
    found = Hyperband(
        eta=_number(entry, "eta", reader, above=1, most=MAX_ETA) or 3,
        min_iter=_whole(entry, "min_iter", reader),
        max_iter=_whole(entry, "max_iter", reader),
        s=_whole(entry, "s", reader),
    )
    _check_bands(entry, reader)
    if len(reader.problems) > before:
        return None
    found = _fitting(found, reader)
    if "s" in entry and found.max_iter is None:
        reader.note((KEY, "s"), "not used: bands that begin at min_iter go on to the end")
    if "strict" in entry:
        reader.note((KEY, "strict"), "not used: here a trial waits until it is compared")
    return found


def _fitting(found: Hyperband, reader: Reader) -> Hyperband:
    """Without the bands before the first iteration, which W&B leaves out too."""
    if found.max_iter is None or found.s is None:
        return found
    most = int(math.log(found.max_iter) / math.log(found.eta) + 1e-9)
    if found.s <= most:
        return found
    what = f"{found.s} bands of {found.max_iter} iterations begin before the first one"
    if most == 0:
        reader.problem((KEY, "s"), what, f"a max_iter of {found.eta:g} or more")
        return found
    reader.warn((KEY, "s"), f"{what}: read as {most}, as W&B does", f"s: {most}")
    return replace(found, s=most)


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
