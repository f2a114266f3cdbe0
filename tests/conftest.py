"""What all tests share: a cache folder that is not the one of the person who runs them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made only by tests that fill it."""
    cache = tmp_path_factory.getbasetemp() / f"cache-{next(_count)}"
    monkeypatch.setenv("TUNE_APP_CACHE", str(cache))


_count = iter(range(10**9))
