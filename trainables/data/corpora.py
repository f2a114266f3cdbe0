"""What a corpus is, which one a trainable reads, and the texts in it."""

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
    """`ru` or `en` (text that arrives with pip), a file, a folder, or a dataset of the hub."""
    dataset_config: str | None = None
    """Configuration of a hub dataset that has several."""
    dataset_split: str | None = None
    """Split of a hub dataset; `train` if not given. Held-out text is taken from it too."""
    dataset_revision: str | None = None
    """Branch, tag or commit of a hub dataset. Without one, what was read first stays in use."""
    text_column: str | None = None
    """Column that holds the text; if not given, `text` or else the only column of strings."""


@dataclass(frozen=True)
class Corpus:
    """Rows that can be read again and again, and a name for exactly these contents."""

    name: str
    fingerprint: str
    batches: Callable[[Sequence[str]], Iterator[Batch]]
    """Yields the rows; only the named columns, or all of them where no name is given."""


def texts(corpus: Corpus, column: str | None) -> Iterator[str]:
    """Documents without surrounding white space; empty ones are left out.

    Raises:
        UserError: no such column, no column to choose, or a value that is not text.
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
    """The column of text that was asked for, or the one there is."""
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
    """The mistake of naming a corpus without any text."""
    return Problem("there is no text in it", f"dataset {corpus.name}")


def _are_strings(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, str) for value in known)


def _list(names: Sequence[str] | Batch) -> str:
    return ", ".join(names)


def _not_text(corpus: Corpus, column: str, value: object) -> Problem:
    return Problem(
        what=f"a {type(value).__name__} in column {column!r}",
        where=f"dataset {corpus.name}",
        expected="text in every row",
        fix="name another text_column",
    )
