"""Markdown from untrusted text: generations, errors, names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

_MEANINGFUL = re.compile(
    r"[\\`*\[\]|~#$@]"  # wherever they stand
    r"|(?<![^\W_])_|_(?![^\W_])"  # inside of a word an underscore is only itself
    r"|^[-+=]|(?<=^\d)[.)](?=\s|$)|(?<=^\d\d)[.)](?=\s|$)"  # a list, a rule, a heading
    r"|:(?=//)|(?<=www)\."  # bare links
)
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def text(raw: str) -> str:
    """`raw` as one line that is shown literally: no markup, link, HTML, formula, cell or list.

    Line breaks become `<br>`; other control characters and text-direction overrides are dropped.
    """
    lines = [_visible(line).strip() for line in raw.splitlines()]
    return "<br>".join(_escape(line) for line in lines)


def _visible(line: str) -> str:
    line = line.replace("\t", " ")
    return "".join(char for char in line if not _is_hidden(char))


def _is_hidden(char: str) -> bool:
    overrides = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    return unicodedata.category(char) in ("Cc", "Cs") or char in overrides


def _escape(line: str) -> str:
    return _MEANINGFUL.sub(r"\\\g<0>", line).translate(_ENTITIES)


def code(raw: str) -> str:
    """`raw` as a code span in one line, or as escaped text if a code span is not possible."""
    line = _visible(" ".join(raw.splitlines()))
    return text(line) if "`" in line or "|" in line or not line.strip() else f"`{line}`"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table of cells that are Markdown already; columns `right` are aligned to the right."""
    rule = ["---:" if index in right else "---" for index in range(len(header))]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def bullets(items: Iterable[str]) -> str:
    """A list of items that are Markdown already."""
    return "\n".join(f"- {item}" for item in items)
