"""A small hub on loopback: a folder of repositories behind the hub's HTTP interface.

It speaks what `datasets.load_dataset` and the `from_pretrained` of `transformers` ask for:

    HEAD, GET  [/datasets]/NAME/resolve/REVISION/PATH        a file, or a redirect to it
    GET        /api/{models,datasets}/NAME[/revision/R]      commit, files, whether gated
    GET        /api/{models,datasets}/NAME/tree/R[/PATH]     files and folders below a path
    GET        /api/{models,datasets}/NAME/refs              branches
    GET        /api/{models,datasets}/NAME/auth-check        whether the files may be read

On disk a repository is {models,datasets}/OWNER/NAME/REVISION/..., a folder for each branch, with
its name as in an address (`refs%2Fconvert%2Fparquet`). Errors are told as the hub does it, by
status and a header `X-Error-Code`; who brings no token is told 401 for what is private and for
what does not exist alike.
Sources: https://huggingface.co/docs/hub/api, `huggingface_hub.utils.hf_raise_for_status`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, unquote, urlsplit

STORED_APART = {".bin", ".parquet", ".safetensors"}
"""The address of such a file is a redirect to another host, without a commit in its answer."""

_NAME = "([^/]+(?:/[^/]+)??)"
_RESOLVE = re.compile(f"/(?:(datasets)/)?{_NAME}/resolve/([^/]+)/(.+)")
_WHAT = "(?:/(revision|tree|refs|auth-check)(?:/([^/]+)(?:/(.*))?)?)?"
_API = re.compile(f"/api/(models|datasets)/{_NAME}{_WHAT}")


class Refusal(Exception):
    """An answer that is not what was asked for: a status, and headers that say why."""

    def __init__(self, status: int, code: str = "", message: str = "", **headers: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        told = {"X-Error-Code": code, "X-Error-Message": message} | headers
        self.headers = {name.replace("_", "-"): value for name, value in told.items() if value}


@dataclass(frozen=True)
class Repositories:
    """What the hub holds, and who may see it."""

    root: Path
    private: Mapping[str, str] = field(default_factory=dict)
    """The one token that opens a repository; without it, it does not seem to exist."""
    gated: Mapping[str, str] = field(default_factory=dict)
    """The one token that opens the files of a repository; all may know which there are."""
    moved: Mapping[str, str] = field(default_factory=dict)
    """New names by old names."""

    def branch(self, kind: str, name: str, revision: str, token: str) -> Path:
        """The folder of a branch or a commit."""
        folder = self.root / kind / name
        if token and token not in {*self.private.values(), *self.gated.values()}:
            raise Refusal(401, message="Invalid credentials in Authorization header")
        if not folder.is_dir() or self.private.get(name, token) != token:
            raise Refusal(404 if token else 401, "RepoNotFound", "Repository not found")
        for branch in folder.iterdir():
            if revision in (unquote(branch.name), commit_of(branch)):
                return branch
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def check_gate(self, name: str, token: str) -> None:
        """Refuses the files of a gated repository to those who were not let in."""
        if self.gated.get(name, token) != token:
            raise Refusal(403 if token else 401, "GatedRepo", f"Access to {name} is restricted")


def commit_of(branch: Path) -> str:
    """Forty hexadecimal digits that follow from the name and the contents of a branch."""
    contents = [(str(path.relative_to(branch)), _digest(path)) for path in _files(branch)]
    return hashlib.sha1(json.dumps([*branch.parts[-3:], contents]).encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Hub:
    """A running server."""

    repositories: Repositories
    endpoint: str = ""
    requests: list[str] = field(default_factory=list)
    """Method, path and status of every request so far."""
    leaks: list[str] = field(default_factory=list)
    """Paths on the other host that were asked for with a token."""


@contextmanager
def serving(repositories: Repositories) -> Iterator[Hub]:
    """A server on a free port of loopback, stopped at the end."""
    hub = Hub(repositories)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Takes a request apart, finds the answer, sends it."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        try:
            if path.startswith("/contents/"):
                self._contents(unquote(path.removeprefix("/contents/")))
            elif match := _RESOLVE.fullmatch(path):
                self._resolve(*(unquote(part or "") for part in match.groups()))
            elif match := _API.fullmatch(path):
                self._api(*(unquote(part or "") for part in match.groups()))
            else:
                raise Refusal(404, message="no such address")
        except Refusal as refusal:
            self._send(refusal.status, b"{}", refusal.headers)

    def log_message(self, *_: object) -> None:
        """Says nothing: the requests are kept in `Hub.requests`."""

    def _branch(self, kind: str, name: str, revision: str) -> Path:
        if name in self.hub.repositories.moved:
            new = self.path.replace(f"/{name}", f"/{self.hub.repositories.moved[name]}", 1)
            raise Refusal(307, Location=new)
        return self.hub.repositories.branch(kind, name, revision, self._token())

    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _resolve(self, kind: str, name: str, revision: str, path: str) -> None:
        branch = self._branch(kind or "models", name, revision)
        self.hub.repositories.check_gate(name, self._token())
        file, commit = branch / path, commit_of(branch)
        if not file.is_file():
            raise Refusal(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit)
        if file.suffix not in STORED_APART:
            self._file(file, {"X-Repo-Commit": commit})
            return
        stored = file.relative_to(self.hub.repositories.root)
        elsewhere = self.hub.endpoint.replace("127.0.0.1", "localhost")
        linked = {
            "X-Repo-Commit": commit,
            "X-Linked-Size": str(file.stat().st_size),
            "X-Linked-Etag": f'"{_digest(file)}"',
            "Location": f"{elsewhere}/contents/{quote(str(stored))}",
        }
        self._send(302, b"", linked)

    def _contents(self, path: str) -> None:
        # The address alone opens the file: a token has no business here.
        if self._token():
            self.hub.leaks.append(path)
        self._file(self.hub.repositories.root / path, {})

    def _file(self, file: Path, headers: dict[str, str]) -> None:
        self._send(200, file.read_bytes(), headers | {"ETag": f'"{_digest(file)}"'})

    def _api(self, kind: str, name: str, what: str, revision: str, path: str) -> None:
        branch = self._branch(kind, name, revision or "main")
        match what:
            case "tree":
                self._json(_tree(branch, path, "recursive=true" in self.path.lower()))
            case "refs":
                self._json(_refs(branch.parent))
            case "auth-check":
                self.hub.repositories.check_gate(name, self._token())
                self._json({})
            case _:
                gated = "manual" if name in self.hub.repositories.gated else False
                files = [{"rfilename": str(path.relative_to(branch))} for path in _files(branch)]
                about = {"id": name, "sha": commit_of(branch), "siblings": files, "gated": gated}
                self._json(about)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.hub.requests.append(f"{self.command} {self.path} {status}")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _refs(repository: Path) -> dict[str, Any]:
    branches = [
        {"name": path.name, "ref": f"refs/heads/{path.name}", "targetCommit": commit_of(path)}
        for path in sorted(repository.iterdir())
        if not path.name.startswith("refs%2F")
    ]
    return {"branches": branches, "tags": [], "converts": []}


def _tree(branch: Path, below: str, recursive: bool) -> list[dict[str, Any]]:
    folder = branch / below
    if not folder.is_dir():
        raise Refusal(404, "EntryNotFound", f"{below} does not exist")
    return [_entry(branch, p) for p in sorted(folder.rglob("*") if recursive else folder.iterdir())]


def _entry(branch: Path, path: Path) -> dict[str, Any]:
    name = str(path.relative_to(branch))
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": "0" * 40, "size": 0}
    oid, size = _digest(path), path.stat().st_size
    entry: dict[str, Any] = {"type": "file", "path": name, "oid": oid[:40], "size": size}
    if path.suffix in STORED_APART:
        entry["lfs"] = {"oid": oid, "size": size, "pointerSize": 130}
    return entry
