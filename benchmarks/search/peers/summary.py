"""Compares peers by their trajectories, without any of their environments.

    python benchmarks/search/peers/summary.py --tables TABLE… [--trajectories FILE_OR_FOLDER]
                                              [--save FILE]

For each peer and table, over the seeds: how many times sooner than a budget of 25 full runs its
median search reached the target, by any loss reported and by trials that ran to the end; and the
median rank at that budget of its best completed trial, the number of trials in the table that are
better. `<1`: the median search did not get there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from _bench import Table, load

BUDGET = 25.0

TARGETS = {
    "patch128_lstm128_bs64": 0.4807,
    "patch32_gru64_avg_bs128": 0.5386,
    "patch32_vrnn64_relu_avg_bs128": 0.5616,
}

COLUMNS = ["table", "seed", "spent", "value", "completed_value", "trial", "peer", "version"]


def read(path: Path) -> pd.DataFrame:
    """Trajectories of a file, or of all peers' files in a folder."""
    if path.is_file():
        return pd.read_parquet(path)
    return pd.concat([pd.read_parquet(p) for p in sorted(path.glob("*.parquet"))])[COLUMNS]


def speedup(searches: list[pd.DataFrame], column: str, target: float) -> float:
    """The budget over the median spent until a column reaches the target; 0 if it does not."""
    reached = [search.spent[search[column] <= target].min() for search in searches]
    return BUDGET / float(np.median(np.nan_to_num(reached, nan=np.inf)))


def rank(search: pd.DataFrame, minima: np.ndarray) -> int:
    """How many trials of the table are better than the best completed one; all without one."""
    completed = search.completed_value.min()
    return len(minima) if np.isnan(completed) else int((minima < completed).sum())


def compare(trajectories: pd.DataFrame, tables: list[Table]) -> pd.DataFrame:
    """A row for each peer and table that has a target."""
    rows = []
    for table in [table for table in tables if table.name in TARGETS]:
        minima = np.nanmin(table.curves, axis=1)
        here = trajectories[(trajectories.table == table.name) & (trajectories.spent <= BUDGET)]
        for (peer, version), of_peer in here.groupby(["peer", "version"], observed=True):
            searches = [search for _, search in of_peer.groupby("seed")]
            target = TARGETS[table.name]
            rows.append(
                {
                    "table": table.name,
                    "peer": peer,
                    "version": version,
                    "seeds": len(searches),
                    "value": speedup(searches, "value", target),
                    "completed": speedup(searches, "completed_value", target),
                    "rank": float(np.median([rank(search, minima) for search in searches])),
                }
            )
    return pd.DataFrame(rows)


def text(trajectories: pd.DataFrame, paths: list[Path]) -> str:
    """The comparison as Markdown, a table for each table of trials."""
    lines = []
    for name, part in compare(trajectories, [load(path) for path in paths]).groupby("table"):
        lines += ["", f"{name}, target {TARGETS[str(name)]}", ""]
        lines += ["| peer | version | seeds | speed-up | by completed | rank |"]
        lines += ["|---|---|--:|--:|--:|--:|"]
        for row in part.sort_values("value", ascending=False).itertuples():
            times = [f"{x:.1f}" if x >= 1 else "<1" for x in (row.value, row.completed)]
            cells = [row.peer, row.version, row.seeds, *times, f"{row.rank:g}"]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines[1:])


def main() -> None:
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", nargs="+", type=Path, required=True)
    parser.add_argument("--trajectories", type=Path, default=here / "trajectories.parquet")
    parser.add_argument("--save", type=Path, help="write the trajectories as one file")
    args = parser.parse_args()
    trajectories = read(args.trajectories)
    if args.save:
        names = ["table", "peer", "version"]
        small = trajectories.astype(dict.fromkeys(names, "category"))
        small.to_parquet(args.save, index=False, compression="zstd")
    print(text(trajectories, args.tables))


if __name__ == "__main__":
    main()
