"""Caches the results of probes, so that the next study on the same machine starts at once.

Results are valid for one environment: versions, processor, compiler, apex. Each environment has its
own file, so that nodes that share a folder do not overwrite each other's results.
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
from tune_app.training.preflight.messages import Probed
from tune_app.training.preflight.probe import examine

Examine = Callable[[str, Any, str], Probed]


def examine_all(
    values: Iterable[tuple[str, Any]],
    accelerator: str,
    cache: Path | None,
    examiner: Examine = examine,
) -> list[Probed]:
    """The probe of each distinct value, from the cache if it is there."""
    current = environment(accelerator)
    path = cache / "probes" / f"{_digest(current)}.json" if cache is not None else None
    cached = _read(path, current) if path is not None else {}
    rows: dict[str, Probed] = {}
    for parameter, value in values:
        key = json.dumps([parameter, value], sort_keys=True)
        if key not in rows:
            rows[key] = cached.get(key) or examiner(parameter, value, accelerator)
    if path is not None and not rows.keys() <= cached.keys():
        _write(path, current, {**cached, **rows})
    return list(rows.values())


def environment(accelerator: str) -> dict[str, Any]:
    """Everything that the result of a probe may depend on."""
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
    """A digest of all installed packages: any of them may provide an optimiser."""
    packages = {f"{item.name} {item.version}" for item in metadata.distributions()}
    return _digest(sorted(packages))


def _origin(name: str) -> str | None:
    """Where a package would be imported from, None if nowhere."""
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(name)
        return None if spec is None else str(spec.origin)
    return None


def _cpu() -> str:
    """A digest of the processor's name and features: virtual machines reuse names."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        kept = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
        return _digest(sorted(kept)) if kept else platform.processor()
    return platform.processor()


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=8).hexdigest()


def _read(path: Path, current: dict[str, Any]) -> dict[str, Probed]:
    """Cached rows of this environment; empty if the file is broken or of another environment."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["environment"] != current:
            return {}
        return {key: _probed(row) for key, row in stored["rows"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _probed(row: dict[str, Any]) -> Probed:
    """A probe from a row of the file.

    Raises:
        TypeError: the row is malformed.
    """
    probed = Probed(**row)
    numbers = (int, float, type(None))
    if not isinstance(probed.speed, numbers) or not isinstance(probed.seconds, numbers):
        raise TypeError("not a number")
    if not isinstance(probed.reason, (str, type(None))) or len(row) != len(fields(Probed)):
        raise TypeError("not a row")
    return probed


def _write(path: Path, current: dict[str, Any], rows: dict[str, Probed]) -> None:
    """Writes the file atomically; ignores failures, which only cost the next study time."""
    content = {"environment": current, "rows": {key: asdict(row) for key, row in rows.items()}}
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content, ensure_ascii=False, indent=1))
