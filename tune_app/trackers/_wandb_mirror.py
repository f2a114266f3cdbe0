"""Writes the ended trials of a study as W&B runs: one process for the whole study.

    python -m tune_app.trackers._wandb_mirror FOLDER

Follows the journal in FOLDER and writes a trial's run in one go when the trial has ended, so its
memory does not grow with the trials and nothing stays open while a trial waits for a promotion. A
trial that has begun but not ended, also one that was interrupted, has no run yet.

`wandb/mirrored.jsonl` lists the runs that are done; they are not written again. A run that was cut
short is removed and written anew under the same id. Ends when the journal has been read to its end
and either the study has ended or was interrupted, or standard input has been closed: the driver is
gone or wants no more. Exit codes: 0 all is written, 1 some runs could not be written, 3 no wandb.
"""

from __future__ import annotations

import fcntl
import json
import netrc
import os
import select
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tune_app.journal import FILE_NAME, follow
from tune_app.state import StudyState
from tune_app.trackers._wandb_run import RunRecord, describe, run_id

NICENESS = 10
"""Trials share the processors with the mirror and go first."""

INIT_TIMEOUT_S = 30.0
"""Longest wait for W&B to answer at a run's start; after one such wait all runs go offline."""

FINISH_TIMEOUT_S = 60.0
"""Longest wait for an upload at a run's end; what is left stays on disk for `wandb sync`."""

_HOST_BEFORE_0_31 = "api.wandb.ai"

_QUIET: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "symlink": False,
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "save_code": False,
    "init_timeout": INIT_TIMEOUT_S,
    "finish_timeout": FINISH_TIMEOUT_S,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "x_transaction_log_flush_interval": 0.0,
}


class Ledger:
    """The runs that are completely written: `wandb/mirrored.jsonl`, one JSON object a line."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "mirrored.jsonl"
        self.trials: set[str] = set()
        raw = self._path.read_bytes() if self._path.exists() else b""
        whole = raw[: raw.rfind(b"\n") + 1]
        if whole != raw:  # A crash cut the last line short: that run is written again.
            os.truncate(self._path, len(whole))
        self.trials.update(json.loads(line)["trial"] for line in whole.splitlines())

    def add(self, trial: str, run: str, path: str) -> None:
        """Notes that a trial's run is on disk under `path`, relative to the study's folder."""
        with open(self._path, "ab") as file:
            file.write(json.dumps({"trial": trial, "run": run, "path": path}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.trials.add(trial)


class Writer:
    """Writes runs under FOLDER/wandb; stays offline once W&B could not be reached."""

    def __init__(self, folder: Path) -> None:
        import wandb  # Takes most of a second, which a study without an ended trial need not pay.

        self._wandb = wandb
        self._folder = folder
        given = wandb.setup().settings
        self.mode = given.mode
        if self.mode == "online" and not _has_key(given):
            self.mode = "offline"
        known = {key: value for key, value in _QUIET.items() if key in wandb.Settings.model_fields}
        self._settings = wandb.Settings(**known, root_dir=str(folder))
        self.errors = (wandb.Error, OSError)

    def write(self, record: RunRecord) -> str:
        """Writes one whole run and returns its folder, relative to the study's.

        Raises:
            wandb.Error, OSError: the run could not be written.
        """
        for leftover in (self._folder / "wandb").glob(f"*run-*-{record.id}"):
            shutil.rmtree(leftover)
        try:
            run = self._open(record)
        except self._wandb.Error as error:
            if self.mode != "online":
                raise
            _say(f"W&B cannot be reached, runs are kept for `wandb sync`: {error}")
            self.mode = "offline"
            # Its service still holds the run's id as one in use.
            self._wandb.teardown()
            return self.write(record)
        run.define_metric("*", step_metric="tokens", summary="none")
        for row in record.history:
            run.log(row)
        run.summary.update(record.summary)
        path = Path(run.settings.sync_dir)
        run.finish(exit_code=record.exit_code)
        return str(path.relative_to(self._folder))

    def _open(self, record: RunRecord) -> Any:
        return self._wandb.init(
            id=record.id,
            name=record.name,
            group=record.group,
            job_type=record.job_type,
            project=record.project,
            entity=record.entity,
            notes=record.notes,
            tags=record.tags,
            config=record.config,
            mode=self.mode,
            settings=self._settings,
            reinit="create_new",
        )


class Mirror:
    """Follows one study's journal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = StudyState()
        self._ledger = Ledger(folder / "wandb")
        self._writer: Writer | None = None
        self.failed: list[str] = []

    def run(self, is_told_to_end: Callable[[], bool], poll_s: float = 0.5) -> None:
        """Mirrors until the study is over, or until told to end and the journal is read."""
        over = last_pass = False
        for event in follow(self._folder / FILE_NAME, poll_s):
            if event is None:
                if over or last_pass:
                    return
                # Whatever was written before the word to end is read by one more pass.
                last_pass = is_told_to_end()
                continue
            self._state.apply(event)
            over = event["event"] in ("study_ended", "study_interrupted")
            if event["event"] == "trial_ended":
                self._mirror(event["trial"])

    def _mirror(self, trial: str) -> None:
        if trial in self._ledger.trials:
            return
        self._writer = self._writer or Writer(self._folder)
        if self._writer.mode == "disabled":
            return
        try:
            path = self._writer.write(describe(self._state, self._state.trials[trial]))
        except self._writer.errors as error:
            self.failed.append(trial)
            _say(f"trial {trial} is not mirrored, a resumed study tries again: {error}")
            return
        self._ledger.add(trial, run_id(self._state, trial), path)


def main(folder: Path) -> int:
    """Mirrors the study in `folder`; waits first for an earlier mirror of it to end."""
    os.nice(NICENESS)
    (folder / "wandb").mkdir(exist_ok=True)
    with open(folder / "wandb" / "mirror.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mirror = Mirror(folder)
        try:
            mirror.run(_is_stdin_closed)
        except ImportError as error:
            _say(f"no runs are mirrored: {error}")
            return 3
    return 1 if mirror.failed else 0


def _has_key(settings: Any) -> bool:
    """Whether W&B will find a key without asking: in the environment or a netrc file."""
    if settings.api_key or settings.identity_token_file:
        return True
    named = os.environ.get("NETRC")
    paths = [Path(named)] if named else [Path("~/.netrc"), Path("~/_netrc")]
    hosts = {urlsplit(settings.base_url).netloc, _HOST_BEFORE_0_31}
    for path in filter(Path.is_file, (path.expanduser() for path in paths)):
        try:
            keys = netrc.netrc(path).hosts
        except (netrc.NetrcParseError, OSError) as error:
            _say(f"{path} is not readable, so its keys are not used: {error}")
            continue
        if hosts & keys.keys():
            return True
    return False


def _is_stdin_closed() -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(readable) and os.read(sys.stdin.fileno(), 4096) == b""


def _say(line: str) -> None:
    """One line for the log, to which the driver ties standard error."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
