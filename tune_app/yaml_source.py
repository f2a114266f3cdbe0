"""Reads a YAML file into plain data and remembers where everything stands.

Scalars follow the YAML 1.2 core schema, so that `1e-5` is a number and `no` is text; PyYAML itself
reads them by YAML 1.1. Only plain data is built: tags that name Python objects are refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tune_app.errors import Problem, UserError

KeyPath = tuple[str | int, ...]

# Python refuses to read whole numbers of more than 4300 digits; such a text becomes a float, inf.
_INT = re.compile(r"[-+]?[0-9]{1,4000}|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **{sign + word: math.inf for sign in ("", "+") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}


def scalar(text: str) -> Any:
    """A plain scalar by the YAML 1.2 core schema (https://yaml.org/spec/1.2.2/#103-core-schema)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


@dataclass(slots=True)
class Source:
    """A document with the place of each of its keys."""

    name: str
    data: dict[str, Any]
    places: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    overrides: dict[KeyPath, str] = field(default_factory=dict)
    """Keys that were set from elsewhere, with the words that set them."""

    def where(self, path: KeyPath) -> str:
        """`file:line:column key.path`, with the nearest place known for `path`."""
        known = path
        while known and known not in self.places and known not in self.overrides:
            known = known[:-1]
        if known in self.overrides:
            return self.overrides[known]
        line, column = self.places.get(known, (1, 1))
        return f"{self.name}:{line}:{column} {dotted(path)}".rstrip()


def dotted(path: KeyPath) -> str:
    """A key path as a person writes it."""
    return ".".join(str(part) for part in path)


def load(path: Path) -> Source:
    """Reads one YAML mapping.

    Raises:
        UserError: the file is missing, unreadable, not YAML, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UserError(Problem(f"cannot read the file: {reason}", str(path))) from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Source:
    """The same for text; `name` stands for the file in messages."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise UserError(Problem(f"not YAML: {error.problem}", where)) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # The last two are an escape such as "\\UFFFFFFFF" that stands for no character.
        raise UserError(Problem(f"not YAML: {error}", name)) from error
    except RecursionError as error:
        raise UserError(Problem("nested too deeply", name)) from error
    if not isinstance(node, yaml.MappingNode):
        expected = "keys such as method, metric and parameters"
        raise UserError(Problem("holds no mapping", name, expected))
    source = Source(name, {})
    problems: list[Problem] = []
    try:
        source.data = _build(node, (), source, problems)
    except RecursionError as error:
        raise UserError(Problem("nested too deeply, or in itself", name)) from error
    if problems:
        raise UserError(problems)
    return source


def _build(node: yaml.Node, path: KeyPath, source: Source, problems: list[Problem]) -> Any:
    source.places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if node.tag.startswith(("tag:yaml.org,2002:python", "!")):
        problems.append(Problem(f"the tag {node.tag} is not allowed", source.where(path)))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, source, problems)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, i), source, problems) for i, item in enumerate(node.value)]
    if any("\ud800" <= character <= "\udfff" for character in node.value):
        problems.append(Problem("holds half a character, a surrogate", source.where(path)))
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    return scalar(node.value) if plain else node.value


def _mapping(
    node: yaml.MappingNode, path: KeyPath, source: Source, problems: list[Problem]
) -> dict[Any, Any]:
    # First, so that the keys given here have the last word, on values and on places.
    merged = _merged(node, path, source, problems)
    built: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        if key_node.tag == MERGE:
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            problems.append(Problem("a key is not plain text", source.where(path)))
            continue
        key = key_node.value
        place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        if key in built:
            line, column = place
            first = source.places[(*path, key)][0]
            where = f"{source.name}:{line}:{column} {dotted((*path, key))}"
            problems.append(Problem(f"the key {key!r} was already given in line {first}", where))
        source.places[(*path, key)] = place
        built[key] = _build(value_node, (*path, key), source, problems)
    return {**merged, **built}


MERGE = "tag:yaml.org,2002:merge"


def _merged(
    node: yaml.MappingNode, path: KeyPath, source: Source, problems: list[Problem]
) -> dict[Any, Any]:
    """What `<<` brings into a mapping; of several mappings the first one wins."""
    merged: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        if key_node.tag != MERGE:
            continue
        parts = _build(value_node, path, source, problems)
        for part in parts if isinstance(parts, list) else [parts]:
            if isinstance(part, dict):
                merged = {**part, **merged}
            else:
                problems.append(Problem(f"<< cannot merge {part!r}", source.where(path)))
    return merged
