"""What all tests share: a cache folder that is not the one of the person who runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

SYSTEM = Path(__file__).parent / "system"


LAST = ("test_bad_inputs", "test_gang", "test_plan", "test_wheel")
"""System tests that the process without the others comes to at its end: both then take as long."""


# Before pytest-xdist looks for groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes, one runs the system tests in their order, the first thing it does."""
    for item in items:
        if SYSTEM in item.path.parents:
            item.add_marker(pytest.mark.system)
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: {"system": 0, "system-last": 2}.get(_group(item), 1))


def _group(item: pytest.Item) -> str:
    if SYSTEM not in item.path.parents:
        return item.path.stem
    return "system-last" if item.path.stem in LAST else "system"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made only by tests that fill it."""
    cache = tmp_path_factory.getbasetemp() / f"cache-{next(_count)}"
    monkeypatch.setenv("TUNE_APP_CACHE", str(cache))


_count = iter(range(10**9))
