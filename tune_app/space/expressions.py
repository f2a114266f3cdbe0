"""Expressions over hyper-parameters, such as `batch_size * accumulation <= 64`, without `eval`.

The language has comparisons, arithmetic, `and`, `or`, `not`, `in`, literals, names and a few
functions. A name without a value makes results unknown, as NULL does in SQL: `True or unknown` is
true, `unknown + 1 > 2` is unknown. So an expression can be evaluated for a part of a trial.
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
    """A text is not a valid expression. `fix` suggests a correction."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.fix = fix


class Failed(Exception):
    """An expression cannot be evaluated for some values: it raises, or its result is no bool."""


class _Unknown(Exception):
    """The result depends on a name without a value."""


class _Values(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        raise _Unknown(name)


def _of_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Lets `function` take numbers only: a multiplied or formatted text could fill the memory."""

    def checked(*items: Any) -> Any:
        """Calls the function.

        Raises:
            TypeError: an argument is not a number.
        """
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
    # In floats, so that 9**9**9 overflows immediately.
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
    """A condition on a trial's values."""

    text: str
    names: frozenset[str]
    """The parameters that occur in it."""
    _tree: ast.expr = field(repr=False, compare=False)
    _evaluator: Any = field(repr=False, compare=False)

    def holds(self, values: Mapping[str, Any]) -> bool | None:
        """Whether it is true for `values`; None if that depends on a name without a value.

        Raises:
            Failed: it cannot be evaluated for these values.
        """
        self._evaluator.names = _Values(values)
        try:
            return _truth(self._evaluator.eval(self.text, self._tree))
        except _Unknown:
            return None
        except Exception as error:
            # The missing value might have ended an `and` or `or` before this part.
            if not self.names <= values.keys():
                return None
            raise Failed(f"{error or type(error).__name__}") from error


def parse(text: str, parameters: frozenset[str]) -> Expression:
    """An expression over `parameters`, whose names may have dots.

    A name that is no Python identifier is written in brackets: `params['weight-decay']`.

    Raises:
        Refused: the text is not a valid expression.
    """
    try:
        return _parsed(text, parameters)
    except Refused as error:
        outside = re.sub(rf"{BRACKETS}\[.*?\]", "", text)
        odd = [name for name in parameters if not _is_plain_name(name) and name in outside]
        if odd:
            error.fix = f"write {BRACKETS}[{max(odd, key=len)!r}]"
        raise


BRACKETS = "params"


def _is_plain_name(name: str) -> bool:
    """Whether each part of a dotted name is an identifier, so that no brackets are needed."""
    parts = name.split(".")
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in parts)


def _parsed(text: str, parameters: frozenset[str]) -> Expression:
    if len(text) > MAX_CHARACTERS:
        raise Refused(f"an expression of {len(text):,} characters")
    try:
        with warnings.catch_warnings():
            # Python warns about `1or x` and the like, which is valid.
            warnings.simplefilter("ignore")
            parsed = ast.parse(text.strip(), mode="eval")
        tree = _Named(parameters).visit(parsed.body)
        names = _names(tree)
    except (SyntaxError, ValueError) as error:
        reason = getattr(error, "msg", None) or str(error)
        raise Refused(f"{text!r} is not an expression: {reason}", _mend(text)) from error
    except (RecursionError, MemoryError) as error:
        raise Refused(f"{text!r} is nested too deeply") from error
    unknown = sorted(names - parameters)
    if unknown:
        listed = " and none ".join(map(repr, unknown))
        raise Refused(f"no parameter is called {listed}", nearest(unknown[0], parameters))
    expression = Expression(text, names, tree, _evaluator())
    if not names:
        _check_constant(expression)
    return expression


def _mend(text: str) -> str:
    """A fix for operators of other languages."""
    if "&&" in text or "||" in text:
        return "write and, or instead of &&, ||"
    if re.search(r"(?<![=<>!])=(?!=)", text):
        return "write == to compare"
    return ""


def _check_constant(expression: Expression) -> None:
    """Refuses constants such as `9**9**9 > 1` when they are parsed, with the other problems."""
    try:
        expression.holds({})
    except Failed as error:
        raise Refused(f"{expression.text!r} has no answer: {error}") from error


class _Named(ast.NodeTransformer):
    """Turns `model.lr` and `params['weight-decay']` into one name if such a parameter exists."""

    def __init__(self, parameters: frozenset[str]) -> None:
        self._parameters = parameters

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """A dotted name as one name.

        Raises:
            Refused: no parameter has this name.
        """
        text = ast.unparse(node)
        if text not in self._parameters:
            fix = nearest(text, self._parameters)
            raise Refused(f"{text!r} is not a parameter, and values have no attributes", fix)
        return ast.Name(text, ast.Load())

    def visit_Call(self, node: ast.Call) -> ast.AST:
        # Before the parts are visited, where brackets become names: `params['max'](1)` is refused.
        _check_call(node)
        return self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        match node:
            case ast.Subscript(ast.Name(id), ast.Constant(str(name))) if id == BRACKETS:
                return ast.Name(name, ast.Load())
        return node


def _names(tree: ast.expr) -> frozenset[str]:
    """The names of parameters in an expression.

    Raises:
        Refused: a part is outside of the language.
    """
    functions = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            functions.add(id(node.func))
        refused = isinstance(node, ast.expr) and not isinstance(node, _NODES)
        if refused or (isinstance(node, ast.Constant) and not _is_plain(node.value)):
            raise Refused(f"{ast.unparse(node)!r} cannot be part of an expression")
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
    """The library's evaluator, restricted to the operators, functions and nodes of the language."""
    evaluator = EvalWithCompoundTypes(operators=OPERATORS, functions={}, names={})
    evaluator.functions = FUNCTIONS

    def junction(node: ast.BoolOp) -> bool:
        """`and` and `or`, left to right; one part may decide although another is unknown.

        Raises:
            _Unknown: no part decides, and a part is unknown.
        """
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
