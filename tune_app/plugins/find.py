"""Finds plug-ins: a file in the right folder is registered under its name, without other edits.

A reference is the name of a file in the plug-in's folder, a dotted module path, or a path to a
Python file of the user's own.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tune_app.errors import Problem, UserError, nearest

PACKAGES = {
    "verb": "tune_app.cli",
    "searcher": "tune_app.searchers",
    "scheduler": "tune_app.schedulers",
    "tracker": "tune_app.trackers",
    "trainable": "trainables",
}


def names(kind: str) -> list[str]:
    """The plug-ins of a kind, sorted. Files that start with `_` are private."""
    package = importlib.import_module(PACKAGES[kind])
    files = {module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg}
    return sorted(name for name in files if not name.startswith("_"))


def load(kind: str, reference: str, where: str = "") -> ModuleType:
    """Imports the module that a reference names.

    Raises:
        UserError: there is no such plug-in, or it cannot be imported.
    """
    try:
        if reference in names(kind):
            return importlib.import_module(f"{PACKAGES[kind]}.{reference}")
        if reference.endswith(".py"):
            return _load_file(Path(reference))
        if "." in reference and importlib.util.find_spec(reference) is not None:
            return importlib.import_module(reference)
    except Exception as error:
        # The file is the user's own and may raise anything: the user sees it.
        what = f"the {kind} {reference!r} cannot be imported: {type(error).__name__}: {error}"
        raise UserError(Problem(what, where)) from error
    hint = nearest(reference, names(kind))
    expected = "a name, a dotted module path, or a path to a .py file"
    raise UserError(Problem(f"unknown {kind} {reference!r}", where, expected, hint))


def constant(kind: str, name: str, key: str) -> str:
    """The text that a plug-in's file assigns to `key`, read without importing the plug-in.

    Args:
        name: one of `names(kind)`.

    Raises:
        UserError: the file is not Python, or assigns no string literal to `key` at its top level.
    """
    spec = importlib.util.find_spec(f"{PACKAGES[kind]}.{name}")
    assert spec is not None
    path = Path(str(spec.origin))
    try:
        statements = ast.parse(path.read_bytes()).body
    except SyntaxError as error:
        raise UserError(Problem(f"not Python: {error.msg}", f"{path}:{error.lineno}")) from error
    for statement in statements:
        match statement:
            case ast.Assign([ast.Name(target)], ast.Constant(str(text))) if target == key:
                return text
    raise UserError(Problem(f"no {key}", str(path), f'{key} = "..." at the top level'))


def _load_file(path: Path) -> ModuleType:
    """Imports a file under a unique name; a second call gives the same module.

    The name is the same in every process, so that objects can be pickled between processes.
    """
    path = path.resolve()
    digest = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
    name = f"tune_app_user_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up their module by name, so it must be registered before it runs.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def numeric_options(module: ModuleType) -> set[str]:
    """Options whose annotation has numbers or lists of numbers, and no text."""
    create = getattr(module, "create", None)
    taken = inspect.signature(create).parameters if create is not None else {}
    words = {name: re.findall(r"\w+", str(item.annotation)) for name, item in taken.items()}
    return {n for n, used in words.items() if {"int", "float"} & {*used} and "str" not in used}


def option_problems(module: ModuleType, options: dict[str, Any], where: str) -> list[Problem]:
    """Options that a plug-in's `create` does not take, and required ones that are missing."""
    create = getattr(module, "create", None)
    if create is None:
        return [Problem(f"{module.__name__} has no function create", where)]
    taken = {
        parameter.name: parameter.default is inspect.Parameter.empty
        for parameter in inspect.signature(create).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    needed = [name for name, is_needed in taken.items() if is_needed and name not in options]
    return [
        Problem(
            f"unknown option {name!r}",
            where,
            fix=nearest(name, taken) if taken else "leave it out: there are no options",
        )
        for name in options
        if name not in taken
    ] + [Problem(f"the option {name!r} is missing", where) for name in needed]
