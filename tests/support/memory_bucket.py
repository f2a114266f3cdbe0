"""A bucket in memory, for tests of what is in it at which moment."""

from __future__ import annotations

from pathlib import Path

from tune_app.storage.objects import ObjectStore
from tune_app.storage.store import Entry, StorageFailed, clock


class MemoryBucket(ObjectStore):
    """The objects are `held`; while it is `broken` it does not answer."""

    def __init__(self) -> None:
        self.url = "s3://memory/s"
        self.held: dict[str, tuple[bytes, float]] = {}
        self.broken = False

    def list(self, prefix: str) -> dict[str, Entry]:
        self._answer()
        found = {key: held for key, held in self.held.items() if below(prefix, key)}
        return {key: Entry(len(data), at) for key, (data, at) in found.items()}

    def read(self, key: str) -> bytes:
        self._answer()
        if key not in self.held:
            raise FileNotFoundError(key)
        return self.held[key][0]

    def write(self, key: str, data: bytes) -> None:
        self._answer()
        self.held[key] = (data, clock())

    def remove(self, key: str) -> None:
        self._answer()
        self.held.pop(key, None)

    def remove_folder(self, prefix: str) -> None:
        self._answer()
        for key in [key for key in self.held if below(prefix, key)]:
            del self.held[key]

    def upload(self, path: Path, key: str) -> None:
        self.write(key, path.read_bytes())

    def download(self, key: str, path: Path) -> None:
        path.write_bytes(self.read(key))

    def _answer(self) -> None:
        if self.broken:
            raise StorageFailed("no answer")


def below(prefix: str, key: str) -> bool:
    return not prefix or key.startswith(f"{prefix}/")
