"""Checks study files and W&B sweeps without running anything."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tune_app.cli import _common, _study, _trainable
from tune_app.errors import PLACE, Problem, UserError, shown

HELP = "check study files and W&B sweeps, without running anything"

REFUSED = 2
"""The exit code when a file cannot be used."""
WITHOUT_SECTION = (
    "without a tune section, for any program: what they search is not compared with a trainable; "
    "`plan FILE` does"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files or folders")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")


def execute(args: argparse.Namespace) -> int:
    rows = [_checked(path) for path in _files(args.paths)]
    if args.json:
        _common.print_json(rows)
    else:
        for row in rows:
            _print(row)
        counts = [f"{sum(r['status'] == s for r in rows)} {s}" for s in ("ok", "warned", "refused")]
        print(f"{len(rows)} files: {', '.join(counts)}")
        unchecked = [row for row in rows if row["status"] != "refused" and not row["trainable"]]
        if unchecked:
            print(f"{len(unchecked)} {WITHOUT_SECTION}")
    return REFUSED if any(row["status"] == "refused" for row in rows) else 0


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files, and for each folder its YAML files."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        files = sorted(file for file in path.rglob("*") if file.suffix in (".yaml", ".yml"))
        # A folder without any is reported as a file that cannot be read.
        yield from files or [path]


def _checked(path: Path) -> dict[str, Any]:
    """The messages about one file, as `--json` prints them."""
    from tune_app.study import file as study_file

    try:
        content = study_file.read(path)
    except UserError as error:
        content = study_file.Read(None, error.problems, (), ())
    problems, warnings = list(content.problems), list(content.warnings)
    if content.trainable is not None:
        # Files without a trainable tune other programs: the slow import would be useless.
        more_problems, more_warnings = _trainable.check(
            content.trainable, content.space, content.metric
        )
        problems += _study.placed(more_problems, path, [])
        warnings += _study.placed(more_warnings, path, [])
    status = "refused" if problems else "warned" if warnings else "ok"
    levels = {"error": problems, "warning": warnings, "note": content.notes}
    messages = [_message(level, item, path) for level, items in levels.items() for item in items]
    messages.sort(key=lambda message: (message["line"] or 0, message["column"] or 0))
    return {
        "file": str(path),
        "status": status,
        "trainable": content.trainable,
        "messages": messages,
    }


def _message(level: str, problem: Problem, path: Path) -> dict[str, Any]:
    place = PLACE.fullmatch(problem.where)
    text = str(Problem(problem.what, "", problem.expected, problem.fix))
    elsewhere = problem.where if problem.where != str(path) else ""
    return {
        "level": level,
        "line": int(place["line"]) if place else None,
        "column": int(place["column"]) if place else None,
        "key": shown(place["key"] if place else elsewhere),
        "text": text,
    }


def _print(row: dict[str, Any]) -> None:
    print(f"{row['status']:<8} {shown(row['file'])}")
    for message in row["messages"]:
        place = f"{message['line']}:{message['column']} " if message["line"] else ""
        key = f"{message['key']}: " if message["key"] else ""
        text = message["text"].replace("\n", "\n    ")
        print(f"  {place}{message['level']}: {key}{text}")
