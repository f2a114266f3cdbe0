"""Writes runs with the W&B client: offline into the study's folder, or to a server.

Online a run is opened with `resume="allow"`: the server returns how many rows it has, and only the
missing ones are sent. A row's W&B step is its index, so no row is lost or duplicated if a process
is killed in between. A run counts as written when a query of the server finds all rows.
"""

from __future__ import annotations

import contextlib
import errno
import io
import netrc
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

from tune_app.core.state import StudyState
from tune_app.trackers._wandb_run import RunRecord, sweep_config
from tune_app.trackers._wandb_sweeps import Sweeps
from tune_app.trackers.wandb import WANDB

TIMEOUTS_S = {"WANDB_INIT_TIMEOUT": "30", "WANDB_FINISH_TIMEOUT": "60"}
"""Timeouts for the start and the upload of a run; values that the user has set are kept."""

REACH_S = 10.0
"""The longest wait for a connection to the server."""

SERVICE_MEMORY = "48MiB"
"""Memory limit for the garbage collector of W&B's service, which else grows by 0.1 MB a run."""

ROOM_BYTES = 2_000_000
"""With less free disk space than this an offline run may be incomplete."""

_HOST_BEFORE_0_31 = "api.wandb.ai"

_QUIET: dict[str, Any] = {
    "allow_val_change": True,
    "silent": True,
    "console": "off",
    "symlink": False,
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "save_code": False,
    "finish_timeout_raises": True,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "x_transaction_log_flush_interval": 0.0,
}


class NotWritten(Exception):
    """A run, or a part of it, was not written."""


@dataclass(frozen=True, slots=True)
class Target:
    """Project and entity that replace the study's own."""

    project: str | None = None
    entity: str | None = None


class Writer:
    """One session with the W&B client.

    `mode` is online, offline or disabled, as the environment sets it; offline without a key.
    """

    def __init__(self, folder: Path, target: Target, record: RunRecord) -> None:
        import wandb  # Takes most of a second, which a study without a trial need not pay.

        for name, value in {**TIMEOUTS_S, "GOMEMLIMIT": SERVICE_MEMORY}.items():
            os.environ.setdefault(name, value)
        self._wandb = wandb
        self._folder = folder
        self._target = target
        settings = wandb.setup(settings=wandb.Settings(silent=True)).settings
        self.mode: Literal["online", "offline", "disabled"]
        if settings.mode in ("offline", "disabled"):
            self.mode = settings.mode
        else:
            self.mode = "online" if _has_key(settings) else "offline"
        self._server = str(settings.base_url)
        options = {k: v for k, v in _QUIET.items() if k in wandb.Settings.model_fields}
        # Online, no local copy of the run is needed: the journal has its data.
        self._options = {**options, "x_skip_transaction_log": self.mode == "online"}
        self._api: Any = None
        self._sweep: str | None = None
        entity, project = self._entity(record), self._project(record)
        where = "offline" if self.mode == "offline" else self._server
        self.place = f"{where} {entity}/{project}" if entity else f"{where} {project}"

    @property
    def is_live(self) -> bool:
        """Whether runs are visible while they are written."""
        return self.mode == "online"

    @property
    def is_off(self) -> bool:
        """Whether nothing is to be written."""
        return self.mode == "disabled"

    def begin(self, state: StudyState, record: RunRecord) -> None:
        """Checks that the server answers, and finds or creates the sweep of the runs.

        Raises:
            OSError: the server does not answer.
        """
        if self.is_live:
            self._reach()
            self._join_sweep(sweep_config(state), record)

    def _reach(self) -> None:
        """Connects once to the server; the client itself would retry for a minute."""
        if getproxies():
            return
        server = urlsplit(self._server)
        port = server.port or (443 if server.scheme == "https" else 80)
        socket.create_connection((str(server.hostname), port), REACH_S).close()

    def _join_sweep(self, config: dict[str, Any], record: RunRecord) -> None:
        """Makes all later runs part of a sweep, if the server supports sweeps."""
        sweeps = Sweeps(WANDB.home(self._folder), self.place)
        self._sweep = sweeps.load() or self._sweep_of(record)
        if self._sweep is not None:
            return
        entity, project = self._entity(record), self._project(record)
        # Without a sweep the runs are the same, so an error is ignored.
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
            self._sweep = str(self._wandb.sweep(config, entity, project))
            sweeps.keep(self._sweep)

    def _sweep_of(self, record: RunRecord) -> str | None:
        """The sweep of an existing run: the file of sweeps may be lost with its machine."""
        # "No such run", as in every new study, is one of the client's many errors.
        with contextlib.suppress(Exception):
            sweep: str | None = self._public_api().run(self._path(record)).sweep_name
            return sweep
        return None

    def open(self, record: RunRecord) -> OpenRun:
        """Creates a run, or continues it if the server has it already."""
        prefix = "run-" if self.mode == "online" else "offline-run-"
        for leftover in (self._folder / "wandb").glob(f"{prefix}*-{record.id}"):
            shutil.rmtree(leftover)
        run = self._wandb.init(
            id=record.id,
            name=record.name,
            group=record.group,
            job_type=record.job_type,
            project=self._project(record),
            entity=self._entity(record),
            notes=record.notes,
            tags=record.tags,
            config=record.config,
            mode=self.mode,
            resume="allow" if self.mode == "online" else None,
            settings=self._wandb.Settings(
                **self._options,
                root_dir=str(self._folder),
                x_start_time=record.created,
                sweep_id=self._sweep,
            ),
            reinit="create_new",
        )
        run.define_metric("*", step_metric="tokens", summary="none")
        return OpenRun(self, run)

    def table(self, record: RunRecord) -> Any:
        """The samples of a run as a W&B table."""
        return self._wandb.Table(columns=["stage", "prompt", "text"], data=record.samples)

    def has(self, record: RunRecord) -> bool:
        """Whether a run that was written before still exists, with all rows."""
        if self.mode != "online":
            return any((self._folder / "wandb").glob(f"offline-run-*-{record.id}"))
        # "No such run" is one of the client's many errors; without a server the next call fails.
        with contextlib.suppress(Exception):
            self._check_server(self._path(record), record.rows)
            return True
        return False

    def check(self, run: Any, rows: int) -> None:
        """Checks that a finished run is complete.

        Raises:
            NotWritten: the server lacks rows.
            OSError: the disk is full.
        """
        if self.mode == "online":
            self._check_server(f"{run.entity}/{run.project}/{run.id}", rows)
        elif shutil.disk_usage(self._folder).free < ROOM_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))

    def _check_server(self, path: str, rows: int) -> None:
        # The client may lose an upload without an error, for example when the key is revoked.
        run = self._public_api().run(path)
        if run.historyLineCount < rows or run.state == "running":
            raise NotWritten(f"W&B has {run.historyLineCount} of {rows} rows of {path}")

    def _public_api(self) -> Any:
        """The client's API for queries, with its cache cleared."""
        self._api = self._api or self._wandb.Api()
        self._api.flush()
        return self._api

    def close(self) -> None:
        """Ends the client's service; open runs stay unfinished on the server."""
        self._wandb.teardown()

    def _path(self, record: RunRecord) -> str:
        entity = self._entity(record) or self._public_api().default_entity
        return f"{entity}/{self._project(record)}/{record.id}"

    def _project(self, record: RunRecord) -> str:
        return self._target.project or record.project

    def _entity(self, record: RunRecord) -> str | None:
        return self._target.entity or record.entity


class OpenRun:
    """A run that accepts rows until it is finished."""

    def __init__(self, writer: Writer, run: Any) -> None:
        self._writer = writer
        self._run = run
        self._next = int(run.starting_step)

    def send(self, record: RunRecord) -> None:
        """Sends the missing rows; rows that a trial reports again keep their first values."""
        for index in range(self._next, len(record.history)):
            self._run.log(record.history[index], step=index, commit=True)
        self._next = max(self._next, len(record.history))

    def finish(self, record: RunRecord) -> None:
        """Sends the remaining rows, the samples, the summary and the final configuration.

        Raises:
            NotWritten: the server lacks rows.
            Exception: any error of the client.
        """
        self.send(record)
        last = len(record.history)
        if record.samples and self._next == last:
            row = {"samples": self._writer.table(record), "tokens": record.tokens}
            self._run.log(row, step=last, commit=True)
        self._run.tags = record.tags
        self._run.config.update(record.config, allow_val_change=True)
        self._run.summary.update(record.summary)
        folder = Path(self._run.settings.sync_dir)
        self._run.finish(exit_code=record.exit_code)
        self._writer.check(self._run, record.rows)
        if self._writer.mode == "online":
            shutil.rmtree(folder, ignore_errors=True)


def default_entity() -> str:
    """The default entity of the user's W&B account.

    Raises:
        NotWritten: there is no key for an account.
    """
    import wandb

    settings = wandb.setup(settings=wandb.Settings(silent=True)).settings
    if settings.mode in ("offline", "disabled") or not _has_key(settings):
        raise NotWritten("there is no key for W&B")
    return str(wandb.Api().default_entity)


def _has_key(settings: Any) -> bool:
    """Whether W&B finds a key without a prompt: in the environment or a netrc file."""
    if settings.api_key or settings.identity_token_file:
        return True
    netrc_path = os.environ.get("NETRC")
    paths = [Path(netrc_path)] if netrc_path else [Path("~/.netrc"), Path("~/_netrc")]
    hosts = {urlsplit(settings.base_url).netloc, _HOST_BEFORE_0_31}
    for path in filter(Path.is_file, (path.expanduser() for path in paths)):
        # A file that cannot be read has no key for W&B either.
        with contextlib.suppress(netrc.NetrcParseError, OSError):
            if hosts & netrc.netrc(path).hosts.keys():
                return True
    return False
