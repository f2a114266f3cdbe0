"""Local files as a corpus.

Text files (.txt): UTF-8; a document is a paragraph between blank lines, or a line in a file without
blank lines. .jsonl, .json, .csv, .parquet and .arrow: a row is a document. A folder is read
recursively and must have files of one kind.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trainables.data.corpora import Batch, Corpus
from trainables.data.store import digest_of, explained, key_of
from tune_app.errors import Problem, UserError, nearest
from tune_app.storage.atomic import write_atomically
from tune_app.training.data import Log

KINDS = {
    ".txt": "text",
    ".jsonl": "json",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
}

ROWS = 256
"""Rows read at a time."""

_SAVED_DATASET = {"dataset_info.json", "state.json"}
"""Files that `Dataset.save_to_disk` writes besides its Arrow files; they have no data."""


def looks_like_path(name: str) -> bool:
    """Whether a name is a file or folder instead of `owner/name` on the hub."""
    path = Path(name).expanduser()
    return (
        path.exists()
        or name.startswith((".", "/", "~"))
        or "\\" in name
        or name.count("/") > 1
        or path.suffix.lower() in KINDS
    )


def missing(path: Path, where: str) -> Problem:
    """The problem of a path that does not exist, with the most similar name that does."""
    parent = path.parent
    if not parent.is_dir():
        return Problem(f"no such file or folder; there is no folder {parent} either", where)
    names = [entry.name for entry in parent.iterdir() if not entry.name.startswith(".")]
    hint = nearest(path.name, names) if len(names) < 1000 else ""
    return Problem("no such file or folder", where, fix=hint)


def open_files(path: Path, cache: Path, log: Log) -> Corpus:
    """A corpus of one file or of all files in a folder and its sub-folders.

    Raises:
        UserError: the path does not exist, has no readable file, or has files of several kinds.
    """
    kind, paths = _find(path)
    digests = remembered_digests(paths, cache, log)
    fingerprint = key_of("files", kind, digests)

    def batches(columns: Sequence[str]) -> Iterator[Batch]:
        for file in paths:
            yield from _read(file, kind, columns)

    return Corpus(path.name, fingerprint, batches)


def remembered_digests(paths: Sequence[Path], cache: Path, log: Log) -> list[str]:
    """Checksums of files, computed once for each path, size and modification time."""
    names = [str(path.resolve()) for path in paths]
    stamps = [[stat.st_size, stat.st_mtime_ns] for stat in map(os.stat, names)]
    memo = cache / "sources" / f"{key_of(names)}.json"
    known = read_memo(memo)
    if known is not None and known.get("stamps") == stamps:
        return list(known["digests"])
    if (size := sum(size for size, _ in stamps)) > 1e9:
        log(f"reading {size / 1e9:,.1f} GB once to know the contents")
    try:
        digests = [digest_of(path) for path in paths]
    except OSError as error:
        raise UserError(_unreadable(Path(error.filename), error)) from error
    write_memo(memo, {"stamps": stamps, "digests": digests})
    return digests


def read_memo(path: Path) -> dict[str, Any] | None:
    """A small JSON file of the cache, or None if it is missing or unreadable."""
    try:
        memo = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return memo if isinstance(memo, dict) else None


def write_memo(path: Path, memo: dict[str, Any]) -> None:
    """Writes a small JSON file of the cache atomically."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(memo))


def _find(path: Path) -> tuple[str, list[Path]]:
    """The kind and the files of a corpus, in the order of their names."""
    if not path.exists():
        raise UserError(missing(path, f"dataset {path}"))
    paths = [path] if path.is_file() else sorted(_below(path))
    by_kind: dict[str, list[Path]] = {}
    for file in paths:
        if file.suffix.lower() in KINDS:
            by_kind.setdefault(KINDS[file.suffix.lower()], []).append(file)
    if not by_kind:
        what = "not a kind of file that can be read" if path.is_file() else "no file to read in it"
        raise UserError(Problem(what, f"dataset {path}", expected=f"one of {', '.join(KINDS)}"))
    if len(by_kind) > 1:
        found = ", ".join(f"{kind} ({files[0].name})" for kind, files in sorted(by_kind.items()))
        raise UserError(
            Problem(
                what=f"files of several kinds: {found}",
                where=f"dataset {path}",
                expected="files of one kind",
                fix="name one file, or a folder that holds one kind only",
            )
        )
    return by_kind.popitem()


def _below(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.is_file() and not hidden and file.name not in _SAVED_DATASET:
            yield file


def _read(path: Path, kind: str, columns: Sequence[str]) -> Iterator[Batch]:
    """The rows of one file, `ROWS` at a time; none from an empty file."""
    try:
        if path.stat().st_size:
            yield from _text(path) if kind == "text" else _table(path, kind, columns)
    except UnicodeDecodeError as error:
        raise UserError(
            Problem(
                what=f"cannot be decoded ({error.reason})",
                where=str(path),
                expected="text in UTF-8",
                fix=f"if it is in another encoding: iconv -f CP1251 -t UTF-8 {path} > new.txt",
            )
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> Problem:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return Problem(f"cannot be read ({reason})", str(path))


def _text(path: Path) -> Iterator[Batch]:
    batch: list[str] = []
    for document in _paragraphs(path):
        batch.append(document)
        if len(batch) == ROWS:
            yield {"text": batch}
            batch = []
    if batch:
        yield {"text": batch}


def _paragraphs(path: Path) -> Iterator[str]:
    """Paragraphs, or lines if the file has no blank line between two lines."""
    with path.open(encoding="utf-8-sig") as file:
        by_line = not _has_inner_blank_line(file)
        file.seek(0)
        lines: list[str] = []
        for line in file:
            if line.strip():
                lines.append(line)
            if lines and (by_line or not line.strip()):
                yield "".join(lines)
                lines = []
        if lines:
            yield "".join(lines)


def _has_inner_blank_line(lines: Iterator[str]) -> bool:
    seen_text = seen_blank = False
    for line in lines:
        if not line.strip():
            seen_blank = seen_text
        elif seen_blank:
            return True
        else:
            seen_text = True
    return False


def _table(path: Path, kind: str, columns: Sequence[str]) -> Iterator[Batch]:
    """Rows from the readers of `datasets`, streamed, so that nothing is copied into its cache."""
    from datasets import load_dataset

    # `datasets` reads a path as a glob pattern: brackets in it must be escaped.
    rows = load_dataset(kind, data_files=[glob.escape(str(path))], split="train", streaming=True)
    if columns:
        rows = rows.select_columns(list(columns))
    yield from rows.iter(batch_size=ROWS)
