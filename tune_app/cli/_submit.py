"""Runs a verb as a job on a cluster's head, where the studies are, instead of locally."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tune_app.console import commands
from tune_app.errors import Problem, UserError
from tune_app.storage.places import Folder, Storage

if TYPE_CHECKING:
    from tune_app.engine.jobs import Jobs

INTERRUPTED = 130

SENT = ".submitted"
"""The folder of a storage with the files that were sent with each study.

Trials read them, also after a `resume`, when the first job's own copy no longer exists.
"""

KEEP = (
    "if [ -e {study} ]; then printf '%s\\n' {taken} >&2; exit 2; fi",
    "mkdir -p {parent} || exit 2",
    "why=$(mkdir {folder} 2>&1) || "
    """{{ if [ -d {folder} ]; then printf '%s\\n' {begun}; else echo "$why"; fi >&2; exit 2; }}""",
    "cp -R . {folder} && cd {folder} && {command}",
    "code=$?",
    "if [ ! -e {study} ]; then rm -rf {folder}; fi",
    "exit $code",
)
"""A job that copies the sent files to the storage, unless files of that name exist.

Existing files may be in use by running trials. Of two jobs at the same time only one succeeds with
`mkdir`. If the study is refused its name stays free. The command is one line: Ray prints it, and
only the first line of that output is recognised as Ray's.
"""


def add_submit(parser: argparse.ArgumentParser) -> None:
    """`--submit`, for verbs that can run on a cluster's head."""
    parser.add_argument(
        "--submit",
        metavar="ADDRESS",
        help="on a Ray cluster, as a job; ADDRESS is its dashboard, as http://127.0.0.1:8265",
    )


def ask(args: argparse.Namespace, verb: str, *words: str) -> int:
    """Runs a short verb on the cluster, prints its output and returns its exit code.

    Raises:
        UserError: the storage is not one of a cluster, or the job server does not answer.
    """
    jobs = _jobs(args)
    flags = ["--json"] if args.json else []
    return jobs.follow(jobs.submit(_command(args.storage, verb, [*words, *flags])), _print)


def start(
    args: argparse.Namespace,
    verb: str,
    study: str,
    words: Sequence[str],
    files: Mapping[str, Path] | None = None,
) -> int:
    """Starts a study's driver on the cluster and follows its output; Ctrl-C ends only that.

    Args:
        args: the arguments of the command line.
        verb: run or resume.
        study: the study's name.
        words: the arguments of the verb on the cluster.
        files: files to send, by their path there; None: those sent at the start of the study.

    Returns:
        The exit code.

    Raises:
        UserError: options do not go together, or the job server does not answer.
    """
    _check_options(args, study)
    jobs = _jobs(args)
    command = _command(args.storage, verb, [*words, "--address", "auto"])
    if files is None:
        # The files sent at its start; a study that was started on the cluster has none.
        folder = shlex.quote(_sent_with(args, study))
        job = jobs.submit(f"cd {folder} 2>/dev/null; {command}")
    else:
        with tempfile.TemporaryDirectory() as copy:
            _copy(files, Path(copy))
            job = jobs.submit(_in_its_own_folder(args, study, command), Path(copy))
    _print(f"job {job} on {args.submit}; Ctrl-C leaves it running\n")
    try:
        return jobs.follow(job, _print)
    except KeyboardInterrupt:
        _print(f"\n{study} goes on. Look at it, stop it, follow it again:\n")
        follow = f"RAY_AUTH_MODE=token ray job logs --follow --address {args.submit} {job}"
        for line in (_again(args, "show", study), _again(args, "stop", study), follow):
            _print(f"  {line}\n")
        return INTERRUPTED


def _check_options(args: argparse.Namespace, study: str) -> None:
    why = {
        "--json": f"ask when it has ended: {_again(args, 'show', study)} --json",
        "--address": "leave it out: the job finds the cluster that it runs on",
        "--plan": "run `plan` on a machine like the cluster's",
    }
    conflicting = [name for name in why if getattr(args, name[2:], None)]
    if conflicting:
        what = "does not go together with --submit"
        raise UserError(Problem(what, name, fix=why[name]) for name in conflicting)


def _jobs(args: argparse.Namespace) -> Jobs:
    if not isinstance(args.storage, Folder) or not args.storage.path.is_absolute():
        expected = "the absolute path of a folder that all nodes share, such as /mnt/shared/studies"
        where = f"--storage {args.storage}"
        raise UserError(Problem("not a folder that a cluster knows", where, expected))
    # Ray takes seconds to import, so cheap checks come first.
    from tune_app.engine.jobs import Jobs

    return Jobs(args.submit)


def _command(storage: Storage, verb: str, words: Sequence[str]) -> str:
    return shlex.join(["python", "-m", "tune_app", verb, *words, "--storage", str(storage)])


def _sent_with(args: argparse.Namespace, study: str) -> str:
    return f"{args.storage}/{SENT}/{study}"


def _in_its_own_folder(args: argparse.Namespace, study: str, command: str) -> str:
    folder = _sent_with(args, study)
    fix = f"go on with it: {_again(args, 'resume', study)}; or choose another --name"
    taken = Problem(f"a study named {study!r} exists", str(args.storage), fix=fix)
    begun = Problem(
        f"files were sent for a study named {study!r}, and there is none",
        folder,
        "a name under which nobody else starts a study just now",
        "choose another --name; or delete that folder, if it is left of a start that was cut off "
        "or of a study that was deleted",
    )
    return "; ".join(KEEP).format(
        study=shlex.quote(f"{args.storage}/{study}"),
        parent=shlex.quote(f"{args.storage}/{SENT}"),
        folder=shlex.quote(folder),
        taken=shlex.join(f"error: {taken}".splitlines()),
        begun=shlex.join(f"error: {begun}".splitlines()),
        command=command,
    )


def _again(args: argparse.Namespace, verb: str, study: str) -> str:
    return f"{commands.verb(verb, study, args.storage)} --submit {args.submit}"


def _copy(files: Mapping[str, Path], folder: Path) -> None:
    for path, source in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
