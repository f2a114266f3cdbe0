"""The studies of a storage: found by name, read, and opened for writing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tune_app.core import journal
from tune_app.core.journal import Journal
from tune_app.core.state import StudyState
from tune_app.errors import Problem, UserError, nearest
from tune_app.storage import places
from tune_app.storage.places import Storage
from tune_app.storage.study import StoredStudy

NAME = re.compile(r"[A-Za-z0-9А-Яа-яЁё][\w.\-]{0,99}")


def name_problems(name: str, where: str) -> list[Problem]:
    """Why `name` cannot name a study's folder, if it cannot."""
    if NAME.fullmatch(name) and not name.endswith("."):
        return []
    expected = "1 to 100 letters, digits, '-', '_' or '.', beginning with a letter or digit"
    return [Problem(f"{name!r} cannot name a study", where, expected)]


def check_name(name: str) -> None:
    """Refuses what cannot be the name of a study, and could lead out of the storage.

    Raises:
        UserError: it cannot.
    """
    problems = name_problems(name, "NAME")
    if problems:
        raise UserError(problems)


def find(storage: Storage, name: str) -> StoredStudy:
    """A study, brought up to its storage.

    Raises:
        UserError: there is none of this name, or the name is not one.
    """
    check_name(name)
    if not storage.has(name):
        known = storage.names()
        start = "there are none yet; start one with: python -m tune_app.run"
        hint = nearest(name, known) if known else start
        raise UserError(Problem(f"no study named {name!r}", str(storage), fix=hint))
    study = storage.study(name)
    refuse_links(study.folder)
    with places.answering(study.address):
        study.refresh()
    return study


def read(folder: Path) -> tuple[StudyState, journal.Tail | None]:
    """A study's state from its journal.

    Raises:
        UserError: the journal is damaged, or of a study that never began.
    """
    path = folder / journal.FILE_NAME
    with explained("read the journal", path):
        events, tail = journal.read(path)
    if not events:
        fix = "delete the folder and run the study again"
        raise UserError(Problem("the journal is empty", str(folder), fix=fix))
    state = StudyState()
    for number, event in enumerate(events, start=1):
        try:
            state.apply(event)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            # What else can be wrong with a line of JSON that somebody changed or took away.
            raise UserError(_misfit(event, f"{path}:{number}", error)) from error
    return state, tail


def _misfit(event: journal.Event, where: str, error: Exception) -> Problem:
    what = f"this {event['event']} does not go with the lines before it"
    expected = f"one event a line, as written by a study ({type(error).__name__}: {error})"
    return Problem(what, where, expected, "restore the journal from a backup")


def opened(study: StoredStudy) -> Journal:
    """The pen of a study's journal, for this process alone.

    Raises:
        UserError: another driver has the study.
    """
    try:
        with explained("write to the journal", study.folder):
            pen = Journal(study.folder, backing=study)
    except journal.AlreadyRunning:
        holder = study.holder()
        if holder is None:
            raise
        raise UserError(holder.problem(study.address, here=True)) from None
    try:
        with explained("take the lease", study.folder), places.answering(study.address):
            study.open_session()
    except BaseException:
        pen.close()
        raise
    return pen


@contextmanager
def shared(study: StoredStudy, part: str) -> Iterator[None]:
    """Works on a folder of a study as the storage has it, and gives it back.

    Raises:
        UserError: the storage does not answer.
    """
    with places.answering(study.address):
        study.bring(part)
    try:
        yield
    finally:
        with places.answering(study.address):
            study.publish(part)


def refuse_links(folder: Path) -> None:
    """What a study writes must stay in its folder.

    Raises:
        UserError: something in it is a link to somewhere else.
    """
    fix = "put the file or folder itself there; the whole study may be linked"
    home = os.path.realpath(folder)
    with explained("look for links", folder):
        found = sorted(_links(folder))
    problems = [
        Problem("a link that leaves the study's folder", str(path), fix=fix)
        for path in found
        if not Path(os.path.realpath(path)).is_relative_to(home)
    ]
    if problems:
        raise UserError(problems)


def _links(folder: Path) -> Iterator[Path]:
    """All links below a folder, none of which is followed."""
    # A driver that runs meanwhile deletes checkpoints.
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield Path(entry)
            elif entry.is_dir(follow_symlinks=False) and not _is_wandb_run(Path(entry)):
                yield from _links(Path(entry))


def _is_wandb_run(path: Path) -> bool:
    """wandb links each run's folder to a log in its cache; nothing of ours goes into an old one."""
    return path.parent.name == "wandb" and path.name.startswith(("run-", "offline-run-"))


@contextmanager
def explained(doing: str, path: Path, fix: str = "") -> Iterator[None]:
    """Turns what the file system refuses into a UserError."""
    try:
        yield
    except OSError as error:
        what = f"cannot {doing}: {error.strerror or error}"
        where = str(error.filename or path)
        fix = fix or "free some space, or make the folder writable, and do it again"
        raise UserError(Problem(what, where, fix=fix)) from error
