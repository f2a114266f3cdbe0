"""What all tests share: nothing of the person who runs them, neither cache nor settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import processes

SYSTEM = Path(__file__).parent / "system"

SETTINGS = ("WANDB_", "RAY_", "TUNE_APP_", "FORCE_COLOR", "NO_COLOR", "TTY_")

for name in [name for name in os.environ if name.startswith(SETTINGS)]:
    del os.environ[name]
# Where W&B's client looks for a key.
os.environ["NETRC"] = os.devnull
processes.mark()

# A machine that is busy with something else is no mistake of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


# Before pytest-xdist looks for groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes, one runs the system tests in their order, the first thing it does."""
    for item in items:
        is_system = SYSTEM in item.path.parents
        if is_system:
            item.add_marker(pytest.mark.system)
        item.add_marker(pytest.mark.xdist_group("system" if is_system else item.path.stem))
    items.sort(key=lambda item: SYSTEM not in item.path.parents)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made only by tests that fill it."""
    cache = tmp_path_factory.getbasetemp() / f"cache-{next(_count)}"
    monkeypatch.setenv("TUNE_APP_CACHE", str(cache))


_count = iter(range(10**9))
