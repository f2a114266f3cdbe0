"""A real S3 server on loopback, from an environment of its own beside the tests' (see Makefile)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

SERVER = Path(sys.prefix) / "servers" / "bin" / "moto_server"
SECRET = "wJalrXUtnFEMI-not-a-real-secret-7MDENG"
TIMEOUT_S = 60


@contextmanager
def object_server() -> Iterator[dict[str, str]]:
    """Runs the server; gives the environment in which it is AWS, with a bucket `studies`."""
    if not SERVER.exists():
        pytest.skip("no S3 server: `make test` sets it up")
    server, port = _started()
    environment = {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        _make_bucket(environment)
        yield environment
    finally:
        server.kill()
        server.wait()


def _started() -> tuple[subprocess.Popen[bytes], int]:
    """A server that takes connections, and its port."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [str(SERVER), "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Somebody else may have taken the port meanwhile: then it ends, and has another try.
        while server.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return server, port


def _make_bucket(environment: dict[str, str]) -> None:
    code = (
        "import os; from pyarrow import fs\n"
        "fs.S3FileSystem(endpoint_override=os.environ['AWS_ENDPOINT_URL'],"
        " allow_bucket_creation=True).create_dir('studies')"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, check=True)
