"""A small W&B server on loopback: as much of its HTTP interface as the client needs.

    POST /graphql                                       queries by their first field, see `Answers`
    POST /files/ENTITY/PROJECT/RUN/file_stream          lines of a run's files by their offset
    PUT  /storage/ENTITY/PROJECT/RUN/NAME               uploads
    POST /sdk/otel/...                                  telemetry, thrown away

It keeps what it got in sqlite. A line of history that comes again at its offset takes the place of
the first, as in W&B. `Trouble` makes it slow, refuse or hang, `die` and `revive` take it away and
back at the same address.

    python -m tests.support.wandb_server FOLDER [--port N] [--delay-s S] [--status CODE]

Sources: the requests of `wandb` 0.31 and `wandb-workspaces` 0.4, as they arrive.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support.wandb_answers import Answers
from tests.support.wandb_store import Run, Store

KEY = "0123456789abcdef" * 2 + "01234567"

_FIRST_FIELD = re.compile(r"\{\s*(?:(\w+)\s*:\s*)?(\w+)")
"""With the name that the answer is to have."""


@dataclass
class Trouble:
    """What goes wrong; changed at any time."""

    delay_s: float = 0.0
    """Each answer takes so long."""
    status: int = 0
    """Each request is refused with it."""
    only: str = ""
    """Only requests whose path or query has this word are in trouble."""


class Server:
    """The server of one test; a thread of this process."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.trouble = Trouble()
        self.requests: list[str] = []
        """The first field of each query, or the last part of the path, in the order of arrival."""
        self.store = Store(folder / "wandb-server.sqlite")
        self._http: _Http | None = None
        self._port = port
        self._kept: socket.socket | None = None
        self.revive()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """What makes a W&B client use this server."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_MODE": "online"}

    def revive(self) -> None:
        handler = type("Handler", (_Handler,), {"server_of": self})
        self.close()
        self._http = _Http(("127.0.0.1", self._port), handler)
        self._port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def die(self) -> None:
        """Nobody listens any more, and open connections break."""
        self.close()
        # Until it is revived nobody else may take the port.
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", self._port))

    def close(self) -> None:
        """The same for good."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http.break_all()
            self._http = None

    def runs(self, project: str) -> dict[str, Run]:
        """The runs of a project by id."""
        rows = self.store.ask(
            "select id, fields, complete, exitcode from run where project = ?", project
        )
        return {id: self._run(project, id, *rest) for id, *rest in rows}

    def _run(self, project: str, id: str, fields: str, complete: int, code: int | None) -> Run:
        known = json.loads(fields)
        config = json.loads(known.get("config") or "{}")
        summary = self.store.lines(project, id, "wandb-summary.json")
        statement = "select name, content from file where project = ? and run = ?"
        return Run(
            id=id,
            fields=known,
            config={key: item["value"] for key, item in config.items() if key != "_wandb"},
            history=[json.loads(row) for row in self._history(project, id)],
            summary=json.loads(summary[-1]) if summary else {},
            files=dict(self.store.ask(statement, project, id)),
            complete=bool(complete),
            exitcode=code,
        )

    def _history(self, project: str, id: str) -> list[str]:
        return self.store.lines(project, id, "wandb-history.jsonl")


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def break_all(self) -> None:
        for request in list(self._open):
            with suppress(OSError):
                request.shutdown(2)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away in the middle are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the server keeps its own record."""

    def do_GET(self) -> None:
        self._answered(lambda: None)

    def do_PUT(self) -> None:
        def keep() -> dict[str, Any]:
            _, _, _, project, run, name = (unquote(p) for p in self.path.split("/", 5))
            self.store.ask(
                "insert or replace into file values (?,?,?,?)", project, run, name, self.body
            )
            return {}

        self._answered(keep)

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        stream = re.fullmatch(r"/files/[^/]+/([^/]+)/([^/]+)/file_stream", path)
        if path.endswith("/graphql"):
            self._answered(self._graphql)
        elif stream:
            self._answered(lambda: self._stream(*(unquote(part) for part in stream.groups())))
        else:
            self._answered(lambda: {})

    @property
    def store(self) -> Store:
        return self.server_of.store

    def _answered(self, answer: Any) -> None:
        self.body = self._read()
        what = self._what()
        trouble = self.server_of.trouble
        troubled = trouble.only in what or trouble.only in self.path
        self.server_of.requests.append(what)
        if troubled and trouble.delay_s:
            time.sleep(trouble.delay_s)
        if troubled and trouble.status:
            return self._send(trouble.status, {"errors": [{"message": "refused"}]})
        if not self._has_key() and "/storage/" not in self.path and "otel" not in self.path:
            return self._send(401, {"errors": [{"message": "user is not logged in"}]})
        found = answer()
        return self._send(404 if found is None else 200, found)

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            raw = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw

    def _what(self) -> str:
        if not self.path.endswith("/graphql"):
            return self.path.rsplit("/", 1)[-1]
        return _first_field(json.loads(self.body)["query"])[1]

    def _has_key(self) -> bool:
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        return kind == "Basic" and base64.b64decode(given).decode().partition(":")[2] == KEY

    def _graphql(self) -> dict[str, Any]:
        asked = json.loads(self.body)
        answer = getattr(Answers(self.store, self.server_of.url), self._what(), None)
        if answer is None:
            return {"errors": [{"message": f"no field {self._what()}"}]}
        name = _first_field(asked["query"])[0]
        return {"data": {name: answer(asked.get("variables") or {})}}

    def _stream(self, project: str, run: str) -> dict[str, Any]:
        sent = json.loads(self.body)
        self.store.stream(project, run, sent.get("files") or {})
        if sent.get("complete"):
            statement = "update run set complete = 1, exitcode = ? where project = ? and id = ?"
            self.store.ask(statement, sent.get("exitcode"), project, run)
        return {"exitcode": None, "limits": {}}

    def _send(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _first_field(query: str) -> tuple[str, str]:
    """The name in the answer, and the field."""
    found = _FIRST_FIELD.search(query)
    return (found[1] or found[2], found[2]) if found else ("", "")


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server that is gone afterwards."""
    server = Server(folder)
    try:
        yield server
    finally:
        server.close()
        server.store.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--status", type=int, default=0)
    args = parser.parse_args()
    server = Server(args.folder, args.port)
    server.trouble = Trouble(args.delay_s, args.status)
    print(server.url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
