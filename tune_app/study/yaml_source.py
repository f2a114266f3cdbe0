"""Reads a YAML file into plain data and keeps the position of each key.

Scalars follow the YAML 1.2 core schema, so that `1e-5` is a number and `no` is text. W&B uses YAML
1.1, as PyYAML does: a different reading gives a warning, and a parameter with two plausible
readings is refused. Only plain data is built: tags that name Python objects are refused.
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
"""Python refuses to convert larger whole numbers to text."""

MOST_NODES = 100_000
"""A few lines of nested aliases can expand to more values than fit into memory."""


class _Dumper(yaml.SafeDumper):
    """Writes numbers that both versions of YAML read: 1e-05 as 1.0e-05."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    float,
    lambda dumper, number: dumper.represent_scalar("tag:yaml.org,2002:float", _in_both(number)),
)
# PyYAML quotes texts that YAML 1.1 would read as other types; `1e-5` is not one of these.
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
    """A document with the line and column of each of its keys."""

    name: str
    data: dict[str, Any]
    places: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    overrides: dict[KeyPath, str] = field(default_factory=dict)
    """Keys that were set from the command line, with the argument that set them."""
    problems: list[Problem] = field(default_factory=list)
    """Problems of the YAML that do not prevent further checks."""
    warnings: list[Problem] = field(default_factory=list)
    """Values that W&B reads differently."""
    built: int = 0
    """Number of nodes so far; those behind an alias count each time it is used."""
    reported: set[tuple[int, str]] = field(default_factory=set)
    """The id of the node and the text of each message, so that an alias does not repeat it."""

    def where(self, path: KeyPath) -> str:
        """`file:line:column key.path`, with the position of `path` or of its nearest parent."""
        nearest = self.find(path) or path
        while nearest and nearest not in self.places and nearest not in self.overrides:
            nearest = nearest[:-1]
        if nearest in self.overrides:
            return self.overrides[nearest]
        line, column = self.places.get(nearest, (1, 1))
        return f"{self.name}:{line}:{column} {dotted(path)}".rstrip()

    def tell(self, node: yaml.Node, kind: list[Problem], problem: Problem) -> None:
        """Adds a message to `kind`, only once for a node that aliases repeat."""
        if (id(node), problem.what) not in self.reported:
            self.reported.add((id(node), problem.what))
            kind.append(problem)

    def find(self, path: KeyPath) -> KeyPath | None:
        """The key path in the file for `path`, which may be dotted or lack nested `parameters`."""
        paths = {*self.places, *self.overrides}
        if path in paths:
            return path
        name = dotted(path)
        return next((other for other in paths if dotted(_flat(other)) == name), None)


def _flat(path: KeyPath) -> KeyPath:
    """A path without the `parameters` keys that W&B has between a group and its members."""
    return tuple(part for index, part in enumerate(path) if index == 0 or part != "parameters")


def dotted(path: KeyPath) -> str:
    """A key path as text with dots."""
    return ".".join(str(part) for part in path)


def load(path: Path) -> Source:
    """Reads one YAML mapping.

    Raises:
        UserError: the file is missing, unreadable or not YAML, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UserError(Problem(f"cannot read the file: {reason}", str(path))) from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Source:
    """Reads one YAML mapping from text; `name` is the file's name in messages.

    Raises:
        UserError: the text is not YAML, holds no mapping, or is nested too deeply.
    """
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
        # The last two are raised for an escape such as "\\UFFFFFFFF" that is not a character.
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
        what = f"holds more than {MOST_NODES:,} values; each use of an alias counts"
        raise UserError(Problem(what, source.name))
    if node.tag.startswith(("tag:yaml.org,2002:python", "!")):
        what = f"the tag {node.tag} is not allowed"
        source.tell(node, source.problems, Problem(what, source.where(path)))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, source)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, i), source) for i, item in enumerate(node.value)]
    if any("\ud800" <= character <= "\udfff" for character in node.value):
        what = "holds a surrogate, which is half a character"
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
    """A scalar with an explicit tag, such as !!str 5, which determines its type."""
    value = _by_yaml_1_1(node)
    if value is None and not node.tag.endswith(":null"):
        what = f"{node.value!r} is not of the tag {node.tag.removeprefix('tag:yaml.org,2002:')}"
        problem = Problem(what, source.where(path), fix="take the tag out")
        source.tell(node, source.problems, problem)
    return value


def _plain(node: yaml.ScalarNode, path: KeyPath, source: Source) -> Any:
    """A scalar without quotes; adds a warning or problem if it has another plausible reading."""
    new, old = scalar(node.value), _by_yaml_1_1(node)
    # A scalar that `<<` merges into the top level has no key.
    top = path[0] if path else ""
    if top == "parameters":
        _warn_of_quotes(node, path, source)
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


def _warn_of_quotes(node: yaml.ScalarNode, path: KeyPath, source: Source) -> None:
    """Warns of typographic quotes, which are letters in YAML."""
    text = node.value
    if node.style is None and len(text) > 1 and {text[0], text[-1]} <= TYPOGRAPHIC_QUOTES:
        what = f"the quotes of {text} are read as a part of it: YAML's are ' and \""
        fix = f"write {json.dumps(text[1:-1], ensure_ascii=False)}"
        source.tell(node, source.warnings, Problem(what, source.where(path), fix=fix))


TYPOGRAPHIC_QUOTES = set("“”„‟‘’‚‛«»")

AMBIGUOUS_BELOW = ("parameters", "run_cap", "early_terminate", "metric")
"""Keys of W&B whose values may be meant as W&B reads them; W&B has no `tune`."""

VALUES_BELOW = ("parameters", "tune")
"""Keys that hold values of parameters."""

_SURELY_A_NUMBER = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?|[-+]?0b[01_]+")


def _by_yaml_1_1(node: yaml.ScalarNode) -> Any:
    """The value of a scalar in PyYAML, and so in W&B; None if its type there is unusable."""
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
        # A tag that does not fit its scalar, such as !!int without digits.
        return None
    # NaN is not equal to itself; Python cannot print a number of too many digits.
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
    # Merged first, so that the mapping's own keys override values and positions.
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
        _warn_of_quotes(key_node, (*path, key), source)
        value = _build(value_node, (*path, key), source)
        if first is not None:
            _twice((*path, key), built[key] == value, first[0], source)
        built[key] = value
    return {**merged, **built}


def _twice(path: KeyPath, same: bool, first_line: int, source: Source) -> None:
    """Warns of a repeated key; a problem if the values differ."""
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
    """The keys that `<<` merges into a mapping; of several mappings the first takes precedence."""
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
