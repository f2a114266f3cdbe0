"""Finds the studies of a storage by name, reads them and opens them for writing."""

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
    """The problems of `name` as the name of a study; `where` is the option that gave it."""
    if NAME.fullmatch(name) and not name.endswith("."):
        return []
    expected = "1 to 100 letters, digits, '-', '_' or '.', beginning with a letter or digit"
    return [Problem(f"{name!r} cannot name a study", where, expected)]


def check_name(name: str) -> None:
    """Refuses a name that is not one of a study, such as a path out of the storage.

    Raises:
        UserError: the name is not valid.
    """
    problems = name_problems(name, "NAME")
    if problems:
        raise UserError(problems)


def find(storage: Storage, name: str) -> StoredStudy:
    """A study of this name, with its folder updated from the storage.

    Raises:
        UserError: there is none, the name is not valid, the folder holds links out of it, or the
            storage does not answer.
    """
    check_name(name)
    if not storage.has(name):
        names = storage.names()
        start = "there are none yet; start one with: python -m tune_app.run"
        hint = nearest(name, names) if names else start
        raise UserError(Problem(f"no study named {name!r}", str(storage), fix=hint))
    study = storage.study(name)
    refuse_links(study.folder)
    with places.answering(study.address):
        study.refresh()
    return study


def read(folder: Path) -> tuple[StudyState, journal.Tail | None]:
    """A study's state, and the torn last line of its journal if there is one.

    Raises:
        UserError: the journal is damaged, empty or cannot be read.
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
            # The line is JSON, but somebody has edited it or removed one before it.
            raise UserError(_misfit(event, f"{path}:{number}", error)) from error
    return state, tail


def _misfit(event: journal.Event, where: str, error: Exception) -> Problem:
    what = f"this {event['event']} does not go with the lines before it"
    expected = f"one event a line, as written by a study ({type(error).__name__}: {error})"
    return Problem(what, where, expected, "restore the journal from a backup")


def opened(study: StoredStudy) -> Journal:
    """Opens a study's journal for writing and takes the lease.

    Raises:
        UserError: another driver has the study, or its storage cannot be written.
    """
    try:
        with explained("write to the journal", study.folder):
            opened_journal = Journal(study.folder, backing=study)
    except journal.AlreadyRunning:
        holder = study.holder()
        if holder is None:
            raise
        raise UserError(holder.problem(study.address, is_local=True)) from None
    try:
        with explained("take the lease", study.folder), places.answering(study.address):
            study.open_session()
    except BaseException:
        opened_journal.close()
        raise
    return opened_journal


@contextmanager
def shared(study: StoredStudy, part: str) -> Iterator[None]:
    """Downloads the folder `part` of a study, and uploads it again at the end.

    Raises:
        UserError: the storage does not answer.
    """
    with places.answering(study.address):
        study.download(part)
    try:
        yield
    finally:
        with places.answering(study.address):
            study.publish(part)


def refuse_links(folder: Path) -> None:
    """Refuses links out of a study's folder, through which the study would write elsewhere.

    Raises:
        UserError: the folder holds such a link.
    """
    fix = "put the file or folder itself there; the whole study may be linked"
    home = os.path.realpath(folder)
    with explained("look for links", folder):
        links = sorted(_links(folder))
    problems = [
        Problem("a link that leaves the study's folder", str(path), fix=fix)
        for path in links
        if not Path(os.path.realpath(path)).is_relative_to(home)
    ]
    if problems:
        raise UserError(problems)


def _links(folder: Path) -> Iterator[Path]:
    """All links below a folder; links are not followed."""
    # A running driver deletes checkpoints meanwhile.
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield Path(entry)
            elif entry.is_dir(follow_symlinks=False) and not _is_wandb_run(Path(entry)):
                yield from _links(Path(entry))


def _is_wandb_run(path: Path) -> bool:
    """Whether wandb made this folder: it holds a link to wandb's cache; we never write there."""
    return path.parent.name == "wandb" and path.name.startswith(("run-", "offline-run-"))


@contextmanager
def explained(doing: str, path: Path, fix: str = "") -> Iterator[None]:
    """Turns an OSError into a UserError.

    Args:
        doing: what failed, for example "read the journal".
        path: the place, if the error names none.
        fix: what the user can do; a default if empty.

    Raises:
        UserError: the file system refused something.
    """
    try:
        yield
    except OSError as error:
        what = f"cannot {doing}: {error.strerror or error}"
        where = str(error.filename or path)
        fix = fix or "free some space, or make the folder writable, and do it again"
        raise UserError(Problem(what, where, fix=fix)) from error
