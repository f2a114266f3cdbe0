"""Tables of finished runs that never ran, as files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

Row = dict[str, Any]


def loss(lr: float, share: float) -> float:
    """Best near a learning rate of 0.001; falls as training goes on."""
    return 1 + abs(math.log10(lr) + 3) + 0.1 / share


def curves(count: int = 12, points: int = 4) -> list[Row]:
    """Runs of different learning rates and batch sizes, with reports at 100, 200, … tokens."""
    return [
        {
            "trial": trial,
            "config.lr": 10 ** (-5 + 4 * trial / (count - 1)),
            "config.batch": 16 << trial % 3,
            "tokens": 100 * point,
            "eval_loss": loss(10 ** (-5 + 4 * trial / (count - 1)), point / points),
        }
        for trial in range(count)
        for point in range(1, points + 1)
    ]


def with_values(rows: Sequence[Row], **values: Any) -> list[Row]:
    """The rows with more columns; functions are called with the row. Dots are written as __."""
    return [
        {
            **row,
            **{
                name.replace("__", "."): value(row) if callable(value) else value
                for name, value in values.items()
            },
        }
        for row in rows
    ]


def csv(path: Path, rows: Sequence[Row]) -> Path:
    """A .csv file; None is an empty cell."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(names)]
    for row in rows:
        lines.append(",".join("" if row.get(n) is None else str(row[n]) for n in names))
    path.write_text("\n".join(lines) + "\n")
    return path


def parquet(path: Path, rows: Sequence[Row]) -> Path:
    """A .parquet file."""
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    return path
