"""What all tests share: a cache folder that is not the one of the person who runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

SYSTEM = Path(__file__).parent / "system"


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
