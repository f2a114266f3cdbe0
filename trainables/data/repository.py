"""Repositories of the hub: resolves commits, lists their contents, and explains failures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from huggingface_hub import HfApi, constants, get_token, resolve_revision

# Of httpx or of httpx2, whichever this version of the hub's client is built on.
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)

from tune_app.errors import Problem, UserError, nearest

Kind = Literal["dataset", "model"]


@dataclass(frozen=True)
class Contents:
    """The contents of a commit of a repository."""

    name: str
    """The current name of the repository, which may have been renamed."""
    files: list[str]


@dataclass(frozen=True)
class Repository:
    """A dataset or model of the hub at a branch, tag or commit; at `main` without one."""

    kind: Kind
    name: str
    revision: str | None
    where: str
    """The name in messages, e.g. `tokenizer owner/name`."""
    expected: str = ""
    """What is allowed in place of a name that does not exist."""

    def cached_commit(self) -> str | None:
        """The commit of this revision at its last download; no network access."""
        try:
            revision = resolve_revision(
                self.name, repo_type=self.kind, revision=self.revision, local_files_only=True
            )
        except (RevisionResolutionError, HFValidationError):
            return None
        return str(revision.resolved)

    def commit(self) -> str:
        """The current commit of this revision, which the cache refers to from now on.

        Raises:
            UserError: there is no such revision, or the hub cannot be reached.
        """
        with self._explained():
            resolved = resolve_revision(self.name, repo_type=self.kind, revision=self.revision)
            return str(resolved.resolved)

    def contents(self, commit: str) -> Contents:
        """The contents of a commit, after a check that they may be read.

        Raises:
            UserError: there is no such commit, it may not be read, or the hub cannot be reached.
        """
        api = HfApi()
        with self._explained():
            info = api.dataset_info if self.kind == "dataset" else api.model_info
            about = info(self.name, revision=commit)
            if about.gated:
                # The list of files may be public although the files are not.
                api.auth_check(self.name, repo_type=self.kind)
            return Contents(about.id, [file.rfilename for file in about.siblings or ()])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except RevisionResolutionError as error:
            raise UserError(self._problem(error.__cause__ or error)) from error
        except (HTTPError, OSError, ValueError) as error:
            raise UserError(self._problem(error)) from error

    def _problem(self, error: BaseException) -> Problem:
        match error:
            case OfflineModeIsEnabled():
                return self._offline()
            case GatedRepoError():
                return self._gated()
            case RepositoryNotFoundError():
                return self._unknown()
            case RevisionNotFoundError():
                return self._unknown_revision()
            case HfHubHTTPError() if error.response.status_code == 401:
                return self._bad_token("the hub does not know the token that was sent")
            case UnicodeEncodeError():
                return self._bad_token("the token for the hub holds letters that no token has")
            case HFValidationError():
                return Problem(first_line(error), self.where, self.expected)
            case HfHubHTTPError():
                return Problem(f"the hub answered: {first_line(error)}", self.where)
            case _:
                return self._unreachable(error)

    def _offline(self) -> Problem:
        return Problem(
            what="was not downloaded before, and HF_HUB_OFFLINE forbids downloads",
            where=self.where,
            expected=self.expected,
            fix=f"check the name (there is no file or folder {self.name!r} here), or unset "
            "HF_HUB_OFFLINE",
        )

    def _unreachable(self, error: BaseException) -> Problem:
        return Problem(
            what=f"the hub at {constants.ENDPOINT} could not be reached: {first_line(error)}",
            where=self.where,
            expected=self.expected,
            fix=f"check the name (there is no file or folder {self.name!r} here) and "
            "the connection",
        )

    def _gated(self) -> Problem:
        page = f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"
        return Problem(
            what="it is gated: only accounts that its owner let in may read it",
            where=self.where,
            fix=f"ask at {page}, then set HF_TOKEN to a token of the account that was let in",
        )

    def _unknown(self) -> Problem:
        sent = "with the token that was sent, " if get_token() else ""
        secret = "the token of HF_TOKEN must be one" if sent else "set HF_TOKEN to a token"
        return Problem(
            what=f"{sent}the hub shows no {self.kind} of this name",
            where=self.where,
            expected=self.expected,
            fix=f"check the name (there is no file or folder {self.name!r} here either); "
            f"if it is private, {secret} that may read it",
        )

    def _unknown_revision(self) -> Problem:
        refs = HfApi().list_repo_refs(self.name, repo_type=self.kind)
        names = [ref.name for ref in (*refs.branches, *refs.tags)]
        return unknown("revision", str(self.revision), names, self.where)

    def _bad_token(self, what: str) -> Problem:
        return Problem(
            what=what,
            where=self.where,
            fix="set HF_TOKEN to a valid token; for what is public, unset it and `hf auth logout`",
        )


def unknown(option: str, value: str, names: Iterable[str], where: str) -> Problem:
    """The problem of a part of a repository that does not exist."""
    names = list(names)
    hint = nearest(value, names)
    return Problem(
        what=f"there is no {option} {value!r}",
        where=where,
        expected=f"one of {', '.join(names)}",
        fix=hint if hint.startswith("did") else "",
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without the advice that libraries add."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
