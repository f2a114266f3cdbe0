"""Reads a YAML file into plain data and remembers where everything stands.

Scalars follow the YAML 1.2 core schema, so that `1e-5` is a number and `no` is text. W&B reads them
by YAML 1.1, as PyYAML does: where that gives something else, it is told, and a parameter that could
be meant either way is refused. Only plain data is built: tags that name Python objects are refused.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tune_app.errors import Problem, UserError

KeyPath = tuple[str | int, ...]

# Python refuses to read whole numbers of more than 4300 digits; such a text becomes a float, inf.
_INT = re.compile(r"[-+]?[0-9]{1,4000}|0o[0-7]{1,4000}|0x[0-9a-fA-F]{1,3000}")
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


MOST_BITS = 10_000
"""Python refuses to write larger whole numbers down."""

MOST_NODES = 100_000
"""A few lines of aliases to aliases can stand for more values than fit into memory."""


class _Dumper(yaml.SafeDumper):
    """Writes numbers so that both versions of YAML read them: 1e-05 as 1.0e-05."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    float,
    lambda dumper, number: dumper.represent_scalar("tag:yaml.org,2002:float", _in_both(number)),
)
# PyYAML quotes what it would itself read as something else; `1e-5` is not among that.
_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style=None if isinstance(scalar(text), str) else "'"
    ),
)


def dump(data: dict[str, Any]) -> str:
    """Plain data as YAML, keys in their order."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


@dataclass(slots=True)
class Source:
    """A document with the place of each of its keys."""

    name: str
    data: dict[str, Any]
    places: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    overrides: dict[KeyPath, str] = field(default_factory=dict)
    """Keys that were set from elsewhere, with the words that set them."""
    problems: list[Problem] = field(default_factory=list)
    """What is wrong with the file as YAML, though it can be read on for other mistakes."""
    warnings: list[Problem] = field(default_factory=list)
    """What was read other than W&B reads it."""
    built: int = 0
    """Nodes so far, those behind an alias each time it is used."""
    told: set[tuple[int, str]] = field(default_factory=set)
    """What was said of which node, so that an alias does not repeat it."""

    def where(self, path: KeyPath) -> str:
        """`file:line:column key.path`, with the nearest place known for `path`."""
        known = self.find(path) or path
        while known and known not in self.places and known not in self.overrides:
            known = known[:-1]
        if known in self.overrides:
            return self.overrides[known]
        line, column = self.places.get(known, (1, 1))
        return f"{self.name}:{line}:{column} {dotted(path)}".rstrip()

    def tell(self, node: yaml.Node, kind: list[Problem], problem: Problem) -> None:
        """Adds to the problems or the warnings, once for a node however often it is used."""
        if (id(node), problem.what) not in self.told:
            self.told.add((id(node), problem.what))
            kind.append(problem)

    def find(self, path: KeyPath) -> KeyPath | None:
        """Where a key stands: as written, with dots in one key, or in nested `parameters`."""
        known = {*self.places, *self.overrides}
        if path in known:
            return path
        wanted = dotted(path)
        return next((other for other in known if dotted(_flat(other)) == wanted), None)


def _flat(path: KeyPath) -> KeyPath:
    """A path without the `parameters` that W&B writes between a group and what lies in it."""
    return tuple(part for index, part in enumerate(path) if index == 0 or part != "parameters")


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
        what, fix = f"not YAML: {error.problem}", ""
        if "'\\t'" in what:
            fix = "indent with spaces instead of tabs"
        if "another document" in what:
            what, fix = "holds more than one document", "put what follows `---` into another file"
        raise UserError(Problem(what, where, fix=fix)) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # The last two are an escape such as "\\UFFFFFFFF" that stands for no character.
        raise UserError(Problem(f"not YAML: {error}", name)) from error
    except RecursionError as error:
        raise UserError(Problem("nested too deeply", name)) from error
    if not isinstance(node, yaml.MappingNode):
        mark = node.start_mark if node else None
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else f"{name}:1:1"
        what = "holds no mapping" if mark else "is empty"
        raise UserError(Problem(what, where, "keys such as method, metric and parameters"))
    source = Source(name, {})
    try:
        source.data = _build(node, (), source)
    except RecursionError as error:
        raise UserError(Problem("nested too deeply, or in itself", name)) from error
    return source


def _build(node: yaml.Node, path: KeyPath, source: Source) -> Any:
    source.places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    source.built += 1
    if source.built > MOST_NODES:
        what = f"holds more than {MOST_NODES:,} values, those behind aliases counted each time"
        raise UserError(Problem(what, source.name))
    if node.tag.startswith(("tag:yaml.org,2002:python", "!")):
        what = f"the tag {node.tag} is not allowed"
        source.tell(node, source.problems, Problem(what, source.where(path)))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, source)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, i), source) for i, item in enumerate(node.value)]
    if any("\ud800" <= character <= "\udfff" for character in node.value):
        what = "holds half a character, a surrogate"
        source.tell(node, source.problems, Problem(what, source.where(path)))
    assert isinstance(node, yaml.ScalarNode)
    if node.tag != _implied(node):
        return _tagged(node, path, source)
    return node.value if node.style else _plain(node, path, source)


_LOADER = yaml.SafeLoader("")


def _implied(node: yaml.ScalarNode) -> str:
    """The tag that YAML 1.1 gives to a scalar without one."""
    plain = node.style is None
    tag: str = _LOADER.resolve(yaml.ScalarNode, node.value, (plain, not plain))  # type: ignore[no-untyped-call]
    return tag


def _tagged(node: yaml.ScalarNode, path: KeyPath, source: Source) -> Any:
    """A scalar with a tag of its own, such as !!str 5: the tag says what it is."""
    value = _by_yaml_1_1(node)
    if value is None and not node.tag.endswith(":null"):
        what = f"{node.value!r} is not of the tag {node.tag.removeprefix('tag:yaml.org,2002:')}"
        found = Problem(what, source.where(path), fix="take the tag out")
        source.tell(node, source.problems, found)
    return value


def _plain(node: yaml.ScalarNode, path: KeyPath, source: Source) -> Any:
    """A scalar without quotes, with a word where something else may be meant by it."""
    new, old = scalar(node.value), _by_yaml_1_1(node)
    # A scalar that `<<` merges into the whole file has no key at all.
    top = path[0] if path else ""
    if top == "parameters":
        _tell_of_quotes(node, path, source)
    if new == "None" and top in VALUES_BELOW:
        what, fix = "None is read as the text 'None'", "write null for none, 'None' for the text"
        source.tell(node, source.warnings, Problem(what, source.where(path), fix=fix))
    if old is None or (type(old), old) == (type(new), new):
        return new
    if isinstance(new, (int, float)) and isinstance(old, str):
        fix = f"write {_in_both(new)} to mean the same in both"
        what = f"{node.value} is read as a number; W&B reads text"
        source.tell(node, source.warnings, Problem(what, source.where(path), fix=fix))
        return new
    if isinstance(new, str) and _SURELY_A_NUMBER.fullmatch(node.value):
        what = f"{node.value} is read as the number {old}, as W&B does"
        source.tell(node, source.warnings, Problem(what, source.where(path), fix=f"write {old}"))
        return old
    if top in AMBIGUOUS_BELOW:
        readings = " or ".join(f"{json.dumps(value)} for {_named(value)}" for value in (new, old))
        what, expected = f"{node.value} can be read in two ways", "an unmistakable value"
        fix = f"say which is meant: {readings}, which is how W&B reads it"
        source.tell(node, source.problems, Problem(what, source.where(path), expected, fix))
    return new


def _tell_of_quotes(node: yaml.ScalarNode, path: KeyPath, source: Source) -> None:
    """Quotes of a word processor are letters to YAML."""
    text = node.value
    if node.style is None and len(text) > 1 and {text[0], text[-1]} <= TYPOGRAPHIC_QUOTES:
        what = f"the quotes of {text} are read as a part of it: YAML's are ' and \""
        fix = f"write {json.dumps(text[1:-1], ensure_ascii=False)}"
        source.tell(node, source.warnings, Problem(what, source.where(path), fix=fix))


TYPOGRAPHIC_QUOTES = set("“”„‟‘’‚‛«»")

AMBIGUOUS_BELOW = ("parameters", "run_cap", "early_terminate", "metric")
"""Keys of W&B whose values may be meant as W&B reads them; `tune` is only ours."""

VALUES_BELOW = ("parameters", "tune")
"""Keys that hold values of parameters."""

_SURELY_A_NUMBER = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?|[-+]?0b[01_]+")


def _by_yaml_1_1(node: yaml.ScalarNode) -> Any:
    """What PyYAML, and so W&B, makes of a scalar; None for what has no other meaning there."""
    read = {
        "bool": yaml.SafeLoader.construct_yaml_bool,
        "int": yaml.SafeLoader.construct_yaml_int,
        "float": yaml.SafeLoader.construct_yaml_float,
        "str": yaml.SafeLoader.construct_yaml_str,
    }.get(node.tag.removeprefix("tag:yaml.org,2002:"))
    if read is None:
        return None
    try:
        old = read(_LOADER, node)
    except (ValueError, OverflowError, LookupError):
        # A tag that does not fit its scalar, such as !!int on no digits.
        return None
    # NaN is not equal to itself; of a number without end nothing could be said.
    endless = isinstance(old, int) and old.bit_length() > MOST_BITS
    return None if old != old or endless else old


def _in_both(number: float) -> str:
    """A number as both versions of YAML read it: 1e-5 -> 1.0e-5."""
    if isinstance(number, float) and math.isinf(number):
        return ".inf" if number > 0 else "-.inf"
    mantissa, exponent, power = f"{number!r}".partition("e")
    point = mantissa if "." in mantissa or isinstance(number, int) else f"{mantissa}.0"
    sign = "" if power.startswith("-") else "+"
    return f"{point}e{sign}{power.lstrip('+')}" if exponent else point


def _named(value: Any) -> str:
    kinds = {bool: "a truth value", str: "text"}
    return kinds.get(type(value), "a number")


def _mapping(node: yaml.MappingNode, path: KeyPath, source: Source) -> dict[Any, Any]:
    # First, so that the keys given here have the last word, on values and on places.
    merged = _merged(node, path, source)
    built: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        if key_node.tag == MERGE:
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            source.problems.append(Problem("a key is not plain text", source.where(path)))
            continue
        key = key_node.value
        place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        first = source.places.get((*path, key)) if key in built else None
        source.places[(*path, key)] = place
        _tell_of_quotes(key_node, (*path, key), source)
        value = _build(value_node, (*path, key), source)
        if first is not None:
            _twice((*path, key), built[key] == value, first[0], source)
        built[key] = value
    return {**merged, **built}


def _twice(path: KeyPath, same: bool, first_line: int, source: Source) -> None:
    """A key that was given before: a repetition, or one of two meanings."""
    where, line = source.where(path), source.places[path][0]
    what = f"the key {path[-1]!r} was already given in line {first_line}"
    if same:
        fix = f"delete line {line}"
        source.warnings.append(Problem(f"{what}, with the same value", where, fix=fix))
        return
    fix = f"delete it there to keep this one, as W&B does; delete line {line} to keep that one"
    source.problems.append(Problem(what, where, "each key once", fix))


MERGE = "tag:yaml.org,2002:merge"


def _merged(node: yaml.MappingNode, path: KeyPath, source: Source) -> dict[Any, Any]:
    """What `<<` brings into a mapping; of several mappings the first one wins."""
    merged: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        if key_node.tag != MERGE:
            continue
        parts = _build(value_node, path, source)
        for part in parts if isinstance(parts, list) else [parts]:
            if isinstance(part, dict):
                merged = {**part, **merged}
            else:
                source.problems.append(Problem(f"<< cannot merge {part!r}", source.where(path)))
    return merged
