"""Keeps what probes found, so that the next study on the same machine starts at once.

What was found holds as long as the environment does: versions, processor, compiler, apex. Each
environment has a file of its own, so that nodes that share a folder do not undo each other's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import tune_app
from tune_app.storage.atomic import write_atomically
from tune_app.training.arguments import use_cpu
from tune_app.training.preflight.probe import Probed, examine

Examine = Callable[[str, Any, str], Probed]


def examine_all(
    wanted: Iterable[tuple[str, Any]],
    accelerator: str,
    cache: Path | None,
    examiner: Examine = examine,
) -> list[Probed]:
    """Every value once, from the cache where it was tried in this very environment."""
    there = environment(accelerator)
    path = cache / "probes" / f"{_digest(there)}.json" if cache is not None else None
    known = _read(path, there) if path is not None else {}
    rows: dict[str, Probed] = {}
    for parameter, value in wanted:
        key = json.dumps([parameter, value], sort_keys=True)
        if key not in rows:
            rows[key] = known.get(key) or examiner(parameter, value, accelerator)
    if path is not None and not rows.keys() <= known.keys():
        _write(path, there, {**known, **rows})
    return list(rows.values())


def environment(accelerator: str) -> dict[str, Any]:
    """All that the outcome of a probe may depend on."""
    return {
        "tune_app": tune_app.__version__,
        "torch": torch.__version__,
        "packages": _packages(),
        "cpu": _cpu(),
        "gpu": None if use_cpu(accelerator) else torch.cuda.get_device_name(),
        "compiler": [shutil.which(os.environ.get("CXX", "g++")), shutil.which("cc")],
        "apex": _origin("apex"),
    }


def _packages() -> str:
    """transformers among them; an optimiser may come with any package."""
    found = {f"{item.name} {item.version}" for item in metadata.distributions()}
    return _digest(sorted(found))


def _origin(name: str) -> str | None:
    """Where a package would come from; some have the right name and are no package at all."""
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(name)
        return None if spec is None else str(spec.origin)
    return None


def _cpu() -> str:
    """The processor's name, and its abilities: virtual machines have one name for many."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        kept = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
        return _digest(sorted(kept)) if kept else platform.processor()
    return platform.processor()


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=8).hexdigest()


def _read(path: Path, there: dict[str, Any]) -> dict[str, Probed]:
    """What is known of this environment; nothing, if the file is broken or of another one."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["environment"] != there:
            return {}
        return {key: _probed(row) for key, row in stored["rows"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _probed(row: dict[str, Any]) -> Probed:
    """A row as it was written.

    Raises:
        TypeError: it is none.
    """
    made = Probed(**row)
    numbers = (int, float, type(None))
    if not isinstance(made.speed, numbers) or not isinstance(made.seconds, numbers):
        raise TypeError("no number")
    if not isinstance(made.reason, (str, type(None))) or len(row) != len(fields(Probed)):
        raise TypeError("no row")
    return made


def _write(path: Path, there: dict[str, Any], rows: dict[str, Probed]) -> None:
    """All at once or not at all; a cache that cannot be written costs time and nothing else."""
    content = {"environment": there, "rows": {key: asdict(row) for key, row in rows.items()}}
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content, ensure_ascii=False, indent=1))
