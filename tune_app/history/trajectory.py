"""Writes the incumbents of replays to a Parquet file, one row for each improvement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow
import pyarrow.parquet

from tune_app.history.replay import Step
from tune_app.history.table import Table
from tune_app.storage.atomic import replacing

Incumbents = Mapping[str, Sequence[Sequence[Step]]]
"""By search, the improvements of each seed."""


def write(path: Path, tables: Sequence[Table], runs: Sequence[Incumbents]) -> None:
    """Writes the columns table, search, seed, and the fields of `Step`; `runs` by table."""
    trials = [trial for table in tables for trial in table.trials]
    whole = all(type(trial) is int for trial in trials)
    rows = [
        {
            **{"table": table.name, "search": name, "seed": seed, **asdict(step)},
            "trial": step.trial if whole else str(step.trial),
        }
        for table, searches in zip(tables, runs, strict=True)
        for name, seeds in searches.items()
        for seed, steps in enumerate(seeds)
        for step in steps
    ]
    number, text = pyarrow.float64(), pyarrow.string()
    schema = {
        "table": text,
        "search": text,
        "seed": pyarrow.int64(),
        "spent": number,
        "time": number,
        "value": number,
        "trial": pyarrow.int64() if whole else text,
        "completed_value": number,
    }
    with replacing(path) as new:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, pyarrow.schema(schema)), new)
