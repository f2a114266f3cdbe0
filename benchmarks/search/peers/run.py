"""Searches learning-curve tables with the engines of peers, each in an environment of its own.

    python benchmarks/search/peers/run.py --tables TABLE… --seeds N --out DIR [--only NAME]

An adapter is a file here with a file of requirements beside it, requirements/NAME.txt. Environments
are made once, below ~/.cache/tune_app/peers, by the Python that runs this; the pinned versions are
those of Python 3.11. DIR gets a parquet file a peer, and the comparison is printed at the end. What
DIR already holds is not searched again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

import summary

HERE = Path(__file__).resolve().parent
ONE_CORE = {"OMP_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1", "PYTHONHASHSEED": "0"}
"""And the same order of sets in every run: with it a seed gives the same search again."""

CACHE = Path("~/.cache/tune_app/peers").expanduser()


def environment(name: str) -> Path:
    """The Python of an adapter, with its requirements installed."""
    folder = CACHE / name
    python = folder / "bin" / "python"
    required = HERE / "requirements" / f"{name}.txt"
    installed = folder / "requirements.txt"
    if not installed.exists() or installed.read_text() != required.read_text():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(required)]
        subprocess.run(pip, check=True)
        installed.write_text(required.read_text())
    return python


def main() -> int:
    names = sorted(path.stem for path in (HERE / "requirements").glob("*.txt"))
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", nargs="+", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=names)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in [args.only] if args.only else names:
        try:
            command = [str(environment(name)), "-W", "ignore", str(HERE / f"{name}.py")]
            command += ["--tables", *map(str, args.tables)]
            command += ["--seeds", str(args.seeds), "--out", str(args.out)]
            subprocess.run(command, check=True, env={**os.environ, **ONE_CORE})
        except subprocess.CalledProcessError as error:
            failed.append(f"{name}: exit code {error.returncode}")
    print(summary.text(summary.read(args.out), args.tables))
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
