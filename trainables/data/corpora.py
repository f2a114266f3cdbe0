"""The type of a corpus, the options that select one, and reading its texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_app.errors import Problem, UserError, nearest

Batch = Mapping[str, Sequence[Any]]
"""Some rows, column by column."""


@dataclass(frozen=True, kw_only=True)
class CorpusOptions:
    """Which text a trainable reads."""

    dataset: str = "ru"
    """`ru` or `en` (text from a pip package), a file, a folder, or a dataset of the hub."""
    dataset_config: str | None = None
    """Configuration of a hub dataset that has several."""
    dataset_split: str | None = None
    """Split of a hub dataset, by default `train`. Held-out text is taken from it too."""
    dataset_revision: str | None = None
    """Branch, tag or commit of a hub dataset. By default the commit that was read first."""
    text_column: str | None = None
    """Column of the text; by default `text`, or else the only column of strings."""


@dataclass(frozen=True)
class Corpus:
    """Rows that can be read repeatedly, and a key of their contents."""

    name: str
    fingerprint: str
    batches: Callable[[Sequence[str]], Iterator[Batch]]
    """Yields the rows, with the named columns only; without names, with all columns."""


def texts(corpus: Corpus, column: str | None) -> Iterator[str]:
    """Documents without surrounding white space; leaves out empty ones.

    Raises:
        UserError: the column does not exist or is ambiguous, or a value is not text.
    """
    chosen = column_of(corpus, column)
    for batch in corpus.batches([chosen]):
        for value in batch[chosen]:
            if value is None:
                continue
            if not isinstance(value, str):
                raise UserError(_not_text(corpus, chosen, value))
            if text := value.strip():
                yield text


def column_of(corpus: Corpus, column: str | None) -> str:
    """The column of text: the named one, or the only one.

    Raises:
        UserError: as `texts`.
    """
    first = next(iter(corpus.batches([])), None)
    if first is None:
        raise UserError(empty(corpus))
    if column is not None:
        check_column(corpus, first, "text_column", column)
        return column
    strings = [name for name, values in first.items() if _are_strings(values)]
    if "text" in strings:
        return "text"
    if len(strings) == 1:
        return strings[0]
    raise UserError(
        Problem(
            what="cannot tell which column holds the text",
            where=f"dataset {corpus.name}",
            expected=f"text_column, one of {_list(strings or first)}",
        )
    )


def check_column(corpus: Corpus, batch: Batch, option: str, column: str) -> None:
    """Raises UserError when a corpus has no such column."""
    if column not in batch:
        raise UserError(
            Problem(
                what=f"there is no column {column!r}",
                where=f"{option} of dataset {corpus.name}",
                expected=f"one of {_list(batch)}",
                fix=nearest(column, batch),
            )
        )


def empty(corpus: Corpus) -> Problem:
    """The problem of a corpus without any text."""
    return Problem("it has no text", f"dataset {corpus.name}")


def _are_strings(values: Sequence[Any]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(isinstance(value, str) for value in present)


def _list(names: Sequence[str] | Batch) -> str:
    return ", ".join(names)


def _not_text(corpus: Corpus, column: str, value: object) -> Problem:
    return Problem(
        what=f"a {type(value).__name__} in column {column!r}",
        where=f"dataset {corpus.name}",
        expected="text in every row",
        fix="name another text_column",
    )
