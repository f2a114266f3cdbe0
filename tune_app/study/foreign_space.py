"""Reads spaces of other libraries: Optuna's distributions, a `param_space` of Ray Tune."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_app.errors import Problem, UserError, nearest
from tune_app.space import optuna_ray
from tune_app.space.domains import Domain
from tune_app.space.reader import Reader


def read(path: Path) -> dict[str, Domain] | None:
    """The space that `path` names, None if it is a study file.

    `path` is a JSON file of Optuna distributions by parameter, or a dotted path such as
    `my_project.search.param_space`, whose module is imported.

    Raises:
        UserError: the file or the object cannot be read as a space.
    """
    if path.suffix == ".json" and path.is_file():
        document = _json(path)
        if not isinstance(document, dict) or not optuna_ray.is_optuna(document):
            return None
        reader = Reader(lambda key: f"{path}: {key[0]}")
        space = optuna_ray.from_optuna(document, reader)
    elif not path.exists() and _is_dotted(str(path)):
        reader = Reader(lambda key: f"{path}: {key[0]}")
        space = optuna_ray.from_ray(_imported(str(path)), reader)
    else:
        return None
    if not space and not reader.problems:
        raise UserError(Problem("holds no parameters", str(path)))
    if reader.problems:
        raise UserError(reader.problems)
    return space


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        # Read as YAML instead, it gets a message with line and column.
        return None


def _is_dotted(text: str) -> bool:
    parts = text.split(".")
    is_file = parts[-1] in ("yaml", "yml", "json", "py")
    return len(parts) > 1 and not is_file and all(part.isidentifier() for part in parts)


def _imported(dotted: str) -> Mapping[str, Any]:
    module_name, _, attribute = dotted.rpartition(".")
    # As with `python -m`, modules of the current folder can be imported.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        # The module is the user's own and may raise anything: the user sees it.
        what = f"cannot import {module_name}: {type(error).__name__}: {error}"
        raise UserError(Problem(what, dotted, "a study file, or package.module.name")) from error
    space = getattr(module, attribute, None)
    if isinstance(space, Mapping):
        return space
    mappings = [name for name, value in vars(module).items() if isinstance(value, Mapping)]
    hint = nearest(attribute, [name for name in mappings if not name.startswith("__")])
    raise UserError(Problem(f"{module_name} has no mapping {attribute!r}", dotted, fix=hint))
