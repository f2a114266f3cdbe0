"""One driver a study, on any storage: claims that are refreshed while their driver lives.

Who wants a study writes a claim under a name of its own and then reads all claims: with another
one that is alive it takes its own back. Of two that come at once at least one sees the other, so
that never both go on; this needs nothing but that a written file is seen by the next listing, which
S3, GCS, Azure and shared file systems give, and no conditional writes. Ages are differences
of the storage's own times: no two machines' clocks are compared.

A claim that nobody has refreshed for LEASE_S is dead. Its driver, should it come back from a long
sleep, finds that out before it writes again, and stops.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tune_app.core.journal import FILE_NAME
from tune_app.errors import Problem, UserError
from tune_app.storage.store import Entry, StorageFailed, Store, clock

LEASE_S = 60.0
"""A claim that was not refreshed for so long is dead."""

REFRESH_S = 10.0
CLAIMS = ".lease"
_LATE = 0.75
"""From this share of LEASE_S on a driver that cannot refresh its claim writes no more."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a study, and how long ago it last said so."""

    place: str
    host: str
    pid: int
    since: float
    age_s: float

    def problem(self, address: str, here: bool = False) -> Problem:
        began = datetime.fromtimestamp(self.since).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
        who = f"process {self.pid} on {self.host}, since {began}"
        fix = "wait for it to end, or stop it"
        if not here:
            left = max(1, round(LEASE_S - self.age_s))
            fix += f"; if it has died, its lease expires in {left} s: then do it again"
        return Problem(f"this study is already running: {who}", address, fix=fix)


def place_of(folder: Path) -> str:
    """A name for a folder on this machine, as long as it is up: here a file lock tells the truth.

    A file system that machines share has another name on each. Containers may have name and boot in
    common, and each a file of its own under the same path: a lock is of one file.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{socket.gethostname()} {boot} {_file(folder / FILE_NAME)} {folder}"


def _file(path: Path) -> str:
    with suppress(OSError):
        stat = path.stat()
        return f"{stat.st_dev}:{stat.st_ino}"
    return "-"


def holders(store: Store, now: float | None = None) -> list[Holder]:
    """Those who are alive; `now` is the storage's, or else this machine's time."""
    return [holder for _, holder in _claims(store, time.time() if now is None else now)]


def _claims(store: Store, now: float) -> list[tuple[str, Holder]]:
    found = []
    for key, entry in store.list(CLAIMS).items():
        holder = _read(store, key, now - entry.modified)
        if holder is not None and holder.age_s < LEASE_S:
            found.append((key, holder))
    return found


def _read(store: Store, key: str, age_s: float) -> Holder | None:
    """The holder of a claim, None if it was taken back meanwhile."""
    try:
        told: Any = json.loads(store.read(key))
        return Holder(
            str(told["place"]), str(told["host"]), int(told["pid"]), float(told["since"]), age_s
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        # Half of one, or somebody else's: as good as any for its time.
        return Holder("", "an unknown machine", 0, time.time() - age_s, age_s)


class Lease:
    """This driver's claim to a study, refreshed by a thread until it is released.

    The caller has the file lock of its own folder: a claim from the same place is a dead one's.

    Raises:
        UserError: another driver has the study.
    """

    def __init__(
        self,
        store: Store,
        place: str,
        address: str,
        *,
        beat: Callable[[], None] = lambda: None,
        now: Callable[[], float] = clock,
    ) -> None:
        self._store = store
        self._place = place
        self._address = address
        self._beat = beat
        self._now = now
        self._key = f"{CLAIMS}/{secrets.token_hex(8)}.json"
        claim = {"place": place, "host": socket.gethostname(), "pid": os.getpid()}
        self._claim = json.dumps({**claim, "since": round(time.time(), 3)}).encode()
        self._lock = threading.Lock()
        self._lost: Problem | None = None
        self._released = threading.Event()
        self._take()
        self._refreshed = now()
        self._thread = threading.Thread(target=self._refresh_for_ever, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Asked before each write.

        Raises:
            UserError: the study is another driver's now, or might be.
        """
        if self._is_late():
            self.refresh()
        if self._lost is not None:
            raise UserError(self._lost)

    def refresh(self) -> None:
        """Says that this driver is alive, unless it finds that it has lost the study."""
        with self._lock:
            if self._lost is not None or self._released.is_set():
                return
            late, begun = self._is_late(), self._now()
            try:
                mine = self._renewed()
                if mine is None or (late and self._others(mine)):
                    self._lost = self._taken()
                else:
                    self._refreshed = begun
            except (OSError, StorageFailed) as error:
                if late:
                    self._lost = self._unreachable(error)

    def release(self) -> None:
        """Gives the study back."""
        self._released.set()
        with self._lock:
            self._withdraw()

    def _take(self) -> None:
        self._store.write(self._key, self._claim)
        mine = self._mine()
        if mine is None:
            raise UserError(self._taken())
        for key in self._store.list(CLAIMS).keys() - {self._key}:
            self._remove_dead(key, mine.modified)
        others = self._others(mine)
        if others:
            self._withdraw()
            raise UserError(others[0].problem(self._address))

    def _remove_dead(self, key: str, now: float) -> None:
        entry = self._store.list(CLAIMS).get(key)
        holder = _read(self._store, key, now - entry.modified) if entry else None
        if holder and (holder.place == self._place or holder.age_s >= LEASE_S):
            self._store.remove(key)

    def _others(self, mine: Entry) -> list[Holder]:
        return [
            holder
            for key, holder in _claims(self._store, mine.modified)
            if key != self._key and holder.place != self._place
        ]

    def _mine(self) -> Entry | None:
        return self._store.list(CLAIMS).get(self._key)

    def _renewed(self) -> Entry | None:
        """The claim, written again; None if somebody took it away as a dead one's."""
        if self._mine() is None:
            return None
        self._store.write(self._key, self._claim)
        return self._mine()

    def _is_late(self) -> bool:
        return self._now() - self._refreshed > _LATE * LEASE_S

    def _withdraw(self) -> None:
        try:
            self._store.remove(self._key)
        except (OSError, StorageFailed):
            return  # It expires by itself.

    def _taken(self) -> Problem:
        what = "this driver was silent for so long that the study was given to another one"
        return Problem(
            what, self._address, fix="see who has it with `list`; resume it when it ends"
        )

    def _unreachable(self, error: Exception) -> Problem:
        what = f"the storage does not answer any more: {error}"
        fix = "resume the study when it does; nothing before is lost"
        return Problem(what, self._address, fix=fix)

    def _refresh_for_ever(self) -> None:
        while not self._released.wait(REFRESH_S):
            self.refresh()
            self._beat()
