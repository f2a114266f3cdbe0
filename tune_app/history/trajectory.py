"""Writes the incumbents of replays to a file, one row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow
import pyarrow.parquet

from tune_app.history.replay import Step
from tune_app.history.table import Table


def write(
    path: Path, tables: Sequence[Table], runs: Sequence[Mapping[str, Sequence[Sequence[Step]]]]
) -> None:
    """Columns: table, search, seed, and the fields of `Step`."""
    rows = [
        {"table": table.name, "search": name, "seed": seed, **asdict(step)}
        for table, searches in zip(tables, runs, strict=True)
        for name, seeds in searches.items()
        for seed, steps in enumerate(seeds)
        for step in steps
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
