"""Runs a command on a cluster's head with Ray's job server, and follows its output.

The job belongs to the cluster: it continues when the process that submitted it has ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from tune_app.errors import INTERRUPTED, Problem, UserError

KNOCK_TIMEOUT_S = 10.0

CHATTER = re.compile(
    r"^(\S+ \S+\s+INFO job_manager\.py:.*|Running entrypoint for job .*)\n?", re.MULTILINE
)
"""Lines that Ray prints at the start of a job's output."""


class Jobs:
    """A client of the job server at `address`.

    Raises:
        UserError: there is no job server, or it refuses the token.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        _knock(address)
        # Ray would prefer these variables to `address`.
        for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
            os.environ.pop(name, None)
        with self._explained():
            self._client = JobSubmissionClient(address)
        # Ray logs each connection and upload at the level INFO.
        logging.getLogger("ray").setLevel(logging.WARNING)

    def submit(self, command: str, files: Path | None = None) -> str:
        """Starts a shell command on the head, in a copy of the folder `files`; returns its id.

        Raises:
            UserError: the job server refuses the job or does not answer.
        """
        # No environment variables: everyone who may view the job would see them, keys included.
        environment = {"working_dir": str(files)} if files is not None else {}
        with self._explained():
            return str(self._client.submit_job(entrypoint=command, runtime_env=environment))

    def follow(self, job: str, write: Callable[[str], object]) -> int:
        """Passes a job's output to `write` until the job ends; returns its exit code.

        Raises:
            UserError: the connection broke; the job continues.
        """
        with self._explained():
            asyncio.run(self._tail(job, write))
            info = self._client.get_job_info(job)
        if info.status == JobStatus.SUCCEEDED:
            return 0
        if info.status == JobStatus.STOPPED:
            return INTERRUPTED
        if info.driver_exit_code is None:
            # The job never started; only Ray's message says why.
            write(f"{info.message}\n")
        return info.driver_exit_code or 1

    async def _tail(self, job: str, write: Callable[[str], object]) -> None:
        async for text in self._client.tail_job_logs(job):
            write(CHATTER.sub("", text))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except AuthenticationError as error:
            fix = "copy the cluster's token to ~/.ray/auth_token, or set RAY_AUTH_TOKEN_PATH"
            what = "Ray's job server refuses the token"
            raise UserError(Problem(what, _where(self.address), fix=fix)) from error
        except (RuntimeError, OSError, aiohttp.ClientError) as error:
            raise UserError(_unreachable(self.address, error)) from error


def _knock(address: str) -> None:
    """Refuses an address where nothing listens; Ray would retry for long."""
    parts = urlsplit(address)
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        port = None
    if parts.scheme not in ("http", "https") or not parts.hostname or port is None:
        expected = "http://HOST:PORT of Ray's dashboard, such as http://127.0.0.1:8265"
        raise UserError(Problem("not an address of Ray's dashboard", _where(address), expected))
    try:
        socket.create_connection((parts.hostname, port), KNOCK_TIMEOUT_S).close()
    except OSError as error:
        raise UserError(_unreachable(address, error)) from error


def _unreachable(address: str, error: Exception) -> Problem:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, RuntimeError):
        fix = "see dashboard_agent.log in /tmp/ray/session_latest/logs on the head"
        return Problem(f"Ray's job server cannot do it: {lines[0]}", _where(address), fix=fix)
    fix = "keep `ray dashboard cluster.yaml` running in another terminal; jobs go on without it"
    return Problem(f"cannot reach Ray's job server: {lines[0]}", _where(address), fix=fix)


def _where(address: str) -> str:
    return f"--submit {address}"
