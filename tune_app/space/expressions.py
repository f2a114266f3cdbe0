"""Expressions over hyper-parameters, such as `batch_size * accumulation <= 64`, without `eval`.

Comparisons, arithmetic, `and`, `or`, `not`, `in`, literals, names and a few functions are all there
is. A name without a value makes what depends on it unknown, as NULL does in SQL: `True or unknown`
is true, `unknown + 1 > 2` is unknown. So the same expression can be asked about a part of a trial.
"""

from __future__ import annotations

import ast
import keyword
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simpleeval import EvalWithCompoundTypes

from tune_app.errors import nearest

MAX_CHARACTERS = 500
GRAMMAR = "comparisons, + - * / // % **, and, or, not, in, literals, parameters and functions"


class Refused(Exception):
    """A text is no expression of ours. `fix` says what might help."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.fix = fix


class Failed(Exception):
    """An expression has no answer for some values: it raises, or it is not about true and false."""


class _Unknown(Exception):
    """A name that has no value was needed."""


class _Values(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        raise _Unknown(name)


def _of_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Texts and lists do not calculate: multiplied or formatted they would fill the memory."""

    def checked(*items: Any) -> Any:
        for item in items:
            if not isinstance(item, (int, float)):
                raise TypeError(f"{item!r} is not a number")
        return function(*items)

    return checked


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: _of_numbers(operator.add),
    ast.Sub: _of_numbers(operator.sub),
    ast.Mult: _of_numbers(operator.mul),
    ast.Div: _of_numbers(operator.truediv),
    ast.FloorDiv: _of_numbers(operator.floordiv),
    ast.Mod: _of_numbers(operator.mod),
    # In floats, so that 9**9**9 overflows at once.
    ast.Pow: _of_numbers(math.pow),
    ast.USub: _of_numbers(operator.neg),
    ast.UAdd: _of_numbers(operator.pos),
    ast.Not: lambda value: not _truth(value),
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, among: item in among,
    ast.NotIn: lambda item, among: item not in among,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": _of_numbers(min),
    "max": _of_numbers(max),
    "abs": _of_numbers(abs),
    "log": _of_numbers(math.log),
    "sqrt": _of_numbers(math.sqrt),
}
_NODES = (
    ast.Constant,
    ast.Name,
    ast.UnaryOp,
    ast.BinOp,
    ast.BoolOp,
    ast.Compare,
    ast.Call,
    ast.List,
    ast.Tuple,
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A text that is true or false of a trial's values."""

    text: str
    names: frozenset[str]
    """The parameters it speaks of."""
    _tree: ast.expr = field(repr=False, compare=False)
    _evaluator: Any = field(repr=False, compare=False)

    def holds(self, values: Mapping[str, Any]) -> bool | None:
        """Whether it is true of `values`; None where that depends on a name without a value.

        Raises:
            Failed: it has no answer for these values.
        """
        self._evaluator.names = _Values(values)
        try:
            return _truth(self._evaluator.eval(self.text, self._tree))
        except _Unknown:
            return None
        except Exception as error:
            # What stands before `and` or `or` may be there to keep this from being asked.
            if not self.names <= values.keys():
                return None
            raise Failed(f"{error or type(error).__name__}") from error


def parse(text: str, known: frozenset[str]) -> Expression:
    """An expression over the parameters `known`, whose names may have dots.

    A name that Python cannot read as one stands in brackets: `params['weight-decay']`.

    Raises:
        Refused: it is none.
    """
    try:
        return _parsed(text, known)
    except Refused as error:
        outside = re.sub(rf"{BRACKETS}\[.*?\]", "", text)
        odd = [name for name in known if not _is_plain_name(name) and name in outside]
        if odd:
            error.fix = f"write {BRACKETS}[{max(odd, key=len)!r}]"
        raise


BRACKETS = "params"


def _is_plain_name(name: str) -> bool:
    """Whether a name, or what it is made of with dots, can stand in an expression as it is."""
    parts = name.split(".")
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in parts)


def _parsed(text: str, known: frozenset[str]) -> Expression:
    if len(text) > MAX_CHARACTERS:
        raise Refused(f"an expression of {len(text):,} characters")
    try:
        with warnings.catch_warnings():
            # Of `1or x` and the like; what it means is told by what it is evaluated to.
            warnings.simplefilter("ignore")
            parsed = ast.parse(text.strip(), mode="eval")
        tree = _Named(known).visit(parsed.body)
        names = _names(tree)
    except (SyntaxError, ValueError) as error:
        reason = getattr(error, "msg", None) or str(error)
        raise Refused(f"{text!r} is no expression: {reason}", _mend(text)) from error
    except (RecursionError, MemoryError) as error:
        raise Refused(f"{text!r} is nested too deeply") from error
    unknown = sorted(names - known)
    if unknown:
        told = " and none ".join(map(repr, unknown))
        raise Refused(f"no parameter is called {told}", nearest(unknown[0], known))
    expression = Expression(text, names, tree, _evaluator())
    if not names:
        _check_constant(expression)
    return expression


def _mend(text: str) -> str:
    """What is written otherwise in other languages."""
    if "&&" in text or "||" in text:
        return "write and, or instead of &&, ||"
    if re.search(r"(?<![=<>!])=(?!=)", text):
        return "write == to compare"
    return ""


def _check_constant(expression: Expression) -> None:
    """Tells of `9**9**9 > 1` beside the other mistakes, and not after them."""
    try:
        expression.holds({})
    except Failed as error:
        raise Refused(f"{expression.text!r} has no answer: {error}") from error


class _Named(ast.NodeTransformer):
    """Makes `model.lr` and `params['weight-decay']` one name where a parameter is called so."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        text = ast.unparse(node)
        if text not in self._known:
            fix = nearest(text, self._known)
            raise Refused(f"{text!r} is no parameter, and values have no attributes", fix)
        return ast.Name(text, ast.Load())

    def visit_Call(self, node: ast.Call) -> ast.AST:
        # Before its parts: a parameter in brackets is no function, whatever it is called.
        _check_call(node)
        return self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        match node:
            case ast.Subscript(ast.Name(id), ast.Constant(str(name))) if id == BRACKETS:
                return ast.Name(name, ast.Load())
        return node


def _names(tree: ast.expr) -> frozenset[str]:
    """The names of parameters in an expression, after a look at all of its parts.

    Raises:
        Refused: a part is more than an expression may be.
    """
    functions = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            functions.add(id(node.func))
        refused = isinstance(node, ast.expr) and not isinstance(node, _NODES)
        if refused or (isinstance(node, ast.Constant) and not _is_plain(node.value)):
            raise Refused(f"{ast.unparse(node)!r} cannot stand in an expression")
        if isinstance(node, (ast.operator, ast.unaryop, ast.cmpop)) and type(node) not in OPERATORS:
            raise Refused(f"no operator {type(node).__name__}", "use and, or, not, ==, in")
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return frozenset(node.id for node in names if id(node) not in functions)


def _check_call(node: ast.Call) -> None:
    name = ast.unparse(node.func)
    if name not in FUNCTIONS:
        raise Refused(f"no function is called {name!r}", nearest(name, FUNCTIONS))
    if node.keywords:
        raise Refused(f"{name} takes no named arguments")


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _evaluator() -> Any:
    """The library's evaluator with our operators and functions, and no other node than ours."""
    evaluator = EvalWithCompoundTypes(operators=OPERATORS, functions={}, names={})
    evaluator.functions = FUNCTIONS

    def junction(node: ast.BoolOp) -> bool:
        """`and` and `or`, left to right; one part decides although another is unknown."""
        decisive, unknown = isinstance(node.op, ast.Or), None
        for part in node.values:
            try:
                if _truth(evaluator.eval("", part)) is decisive:
                    return decisive
            except _Unknown as error:
                unknown = error
        if unknown is not None:
            raise unknown
        return not decisive

    handlers = {kind: evaluator.nodes[kind] for kind in _NODES}
    evaluator.nodes = {**handlers, ast.BoolOp: junction}
    return evaluator
