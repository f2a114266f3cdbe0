"""Allows one driver per study, on any storage, by claims that living drivers refresh.

A driver writes a claim under a unique name and then reads all claims: if another one is alive, it
withdraws its own. Of two drivers that start at the same time at least one sees the other's claim,
so they never both continue. This needs no conditional writes, only that a written file appears in
the next listing, as on S3, GCS, Azure and shared file systems. Ages are differences of the
storage's own times: the clocks of two machines are never compared.

A claim that was not refreshed for LEASE_S is dead. If its driver was only suspended, it detects the
loss before it writes again, and stops.
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
"""A claim that was not refreshed for this long is dead."""

REFRESH_S = 10.0
CLAIMS = ".lease"
_LATE = 0.75
"""A driver whose claim is older than this share of LEASE_S writes only after a refresh."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The driver of a claim. `since` is Unix seconds; `age_s` the time since the last refresh."""

    place: str
    host: str
    pid: int
    since: float
    age_s: float

    def problem(self, address: str, is_local: bool = False) -> Problem:
        """That this driver runs the study at `address`; `is_local` if it does on this machine."""
        began = datetime.fromtimestamp(self.since).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
        who = f"process {self.pid} on {self.host}, since {began}"
        fix = "wait for it to end, or stop it"
        if not is_local:
            left = max(1, round(LEASE_S - self.age_s))
            fix += f"; if it has died, its lease expires in {left} s: then do it again"
        return Problem(f"this study is already running: {who}", address, fix=fix)


def place_of(folder: Path) -> str:
    """An identifier of a folder on this machine until its next boot.

    For a claim with the same identifier the journal's file lock shows whether the driver lives. A
    shared file system has a different identifier on each machine. The file's device and inode are
    part of it, since containers may share host name and boot id but have different files at the
    same path.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{socket.gethostname()} {boot} {_file(folder / FILE_NAME)} {folder}"


def _file(path: Path) -> str:
    with suppress(OSError):
        stat = path.stat()
        return f"{stat.st_dev}:{stat.st_ino}"
    return "-"


def holders(store: Store, now: float | None = None) -> list[Holder]:
    """The drivers with a living claim.

    `now` is the time of the storage, Unix seconds; without it this machine's time is used.
    """
    return [holder for _, holder in _claims(store, time.time() if now is None else now)]


def _claims(store: Store, now: float) -> list[tuple[str, Holder]]:
    claims = []
    for key, entry in store.list(CLAIMS).items():
        holder = _read(store, key, now - entry.modified)
        if holder is not None and holder.age_s < LEASE_S:
            claims.append((key, holder))
    return claims


def _read(store: Store, key: str, age_s: float) -> Holder | None:
    """The holder of a claim, None if it was withdrawn meanwhile."""
    try:
        claim: Any = json.loads(store.read(key))
        return Holder(
            str(claim["place"]), str(claim["host"]), int(claim["pid"]), float(claim["since"]), age_s
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        # An incomplete or foreign claim still counts until it expires.
        return Holder("", "an unknown machine", 0, time.time() - age_s, age_s)


class Lease:
    """This driver's claim to a study, refreshed by a thread until it is released.

    The caller holds the file lock of its folder, so another claim from the same place is dead.

    Args:
        store: where the claims are.
        place: identifier of the study's folder, see `place_of`.
        address: where the study lives, for people.
        beat: called after each refresh, in the lease's thread.
        now: seconds of a monotonic clock.

    Raises:
        UserError: another driver has the study.
        StorageFailed: the storage does not answer.
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
        """Checks the lease; called before each write.

        Raises:
            UserError: another driver has the study, or may have it.
        """
        if self._is_late():
            self.refresh()
        if self._lost is not None:
            raise UserError(self._lost)

    def refresh(self) -> None:
        """Refreshes the claim, or notes that the lease is lost."""
        with self._lock:
            if self._lost is not None or self._released.is_set():
                return
            late, begun = self._is_late(), self._now()
            try:
                mine = self._renewed()
                if mine is None or (late and self._rivals(mine)):
                    self._lost = self._taken()
                else:
                    self._refreshed = begun
            except (OSError, StorageFailed) as error:
                if late:
                    self._lost = self._unreachable(error)

    def release(self) -> None:
        """Withdraws the claim and stops refreshing it."""
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
        rivals = self._rivals(mine)
        if rivals:
            self._withdraw()
            raise UserError(rivals[0].problem(self._address))

    def _remove_dead(self, key: str, now: float) -> None:
        entry = self._store.list(CLAIMS).get(key)
        holder = _read(self._store, key, now - entry.modified) if entry else None
        if holder and (holder.place == self._place or holder.age_s >= LEASE_S):
            self._store.remove(key)

    def _rivals(self, mine: Entry) -> list[Holder]:
        return [
            holder
            for key, holder in _claims(self._store, mine.modified)
            if key != self._key and holder.place != self._place
        ]

    def _mine(self) -> Entry | None:
        return self._store.list(CLAIMS).get(self._key)

    def _renewed(self) -> Entry | None:
        """Writes the claim again; None if another driver has removed it as dead."""
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
        what = "this driver sent no heartbeat for so long that the study was given to another one"
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
