"""A bucket of an object store, through pyarrow. Credentials come from the environment only.

For S3 they are found as by AWS's own tools: AWS_ACCESS_KEY_ID and so on, AWS_PROFILE, ~/.aws, the
machine's role. AWS_ENDPOINT_URL selects another server with the S3 protocol.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tune_app.errors import Problem, UserError
from tune_app.storage.store import Entry, StorageFailed

SCHEMES = ("s3", "gs")
ENDPOINT = "AWS_ENDPOINT_URL"
SETTINGS = (ENDPOINT, "AWS_REGION", "AWS_DEFAULT_REGION")

TRIES = 5
"""How often a request is made, each with the client library's own retries; pauses of 3 s in all."""

CONNECT_TIMEOUT_S = 5
REQUEST_TIMEOUT_S = 60
_CHUNK_BYTES = 8_000_000

T = TypeVar("T")


def url_problems(url: str) -> list[Problem]:
    """The problems of a bucket's URL. They do not show a URL that may hold a secret."""
    where, parts = "--storage", urlsplit(url)
    if parts.scheme not in SCHEMES:
        urls = " or ".join(f"{scheme}://BUCKET/PREFIX" for scheme in SCHEMES)
        return [Problem(f"storage of kind {parts.scheme!r} is not known", where, f"DIR, {urls}")]
    if "@" in parts.netloc or parts.query or parts.fragment:
        what = "the URL holds more than a bucket and a prefix"
        fix = "credentials and settings come from the environment, e.g. AWS_PROFILE"
        return [Problem(what, where, f"{parts.scheme}://BUCKET/PREFIX", fix)]
    names = parts.path.strip("/").split("/")
    if not parts.netloc or any(name in (".", "..") for name in names):
        return [Problem(f"{url!r} names no bucket", where, f"{parts.scheme}://BUCKET/PREFIX")]
    if "@" in urlsplit(os.environ.get(ENDPOINT, "")).netloc:
        fix = "leave them out of the URL"
        return [Problem("the URL of the server holds credentials", ENDPOINT, fix=fix)]
    return []


def settings() -> dict[str, str]:
    """Environment variables that workers on other machines need; none of them is secret."""
    variables = {name: os.environ[name] for name in SETTINGS if name in os.environ}
    if "@" in urlsplit(variables.get(ENDPOINT, "")).netloc:
        del variables[ENDPOINT]
    return variables


def _file_system(scheme: str, bucket: str) -> Any:
    from pyarrow import fs

    if scheme == "gs":
        return fs.FileSystem.from_uri(f"gs://{bucket}?retry_limit_seconds={REQUEST_TIMEOUT_S}")[0]
    endpoint = os.environ.get(ENDPOINT)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region is None and endpoint is None:
        region = fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(
        endpoint_override=endpoint,
        region=region,
        # A small file is written with one request, so it appears as a whole.
        allow_delayed_open=True,
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=REQUEST_TIMEOUT_S,
    )


class ObjectStore:
    """The objects below a prefix of a bucket.

    Every method raises `StorageFailed` when the bucket does not answer, and `FileNotFoundError`
    when an object that it reads is missing. `sleep` takes seconds.
    """

    def __init__(self, url: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.url = url.rstrip("/")
        self._sleep = sleep
        parts = urlsplit(self.url)
        self._root = f"{parts.netloc}{parts.path}"
        self._files = self._tried(lambda: _file_system(parts.scheme, parts.netloc))

    def below(self, prefix: str) -> ObjectStore:
        """The same bucket with a longer prefix."""
        inner = object.__new__(ObjectStore)
        inner.__dict__ = {**self.__dict__, "url": f"{self.url}/{prefix}"}
        inner._root = f"{self._root}/{prefix}"
        return inner

    def has_bucket(self) -> bool:
        """Whether the bucket exists; its prefix may be empty."""
        from pyarrow import fs

        bucket = self._root.split("/")[0]
        kind = self._tried(lambda: self._files.get_file_info(bucket).type)
        return bool(kind != fs.FileType.NotFound)

    def folders(self, prefix: str = "") -> list[str]:
        """The names of the folders directly in a folder, sorted."""
        from pyarrow import fs

        selector = fs.FileSelector(self._path(prefix), allow_not_found=True)
        entries = self._tried(lambda: self._files.get_file_info(selector))
        return sorted(item.base_name for item in entries if item.type == fs.FileType.Directory)

    def list(self, prefix: str) -> dict[str, Entry]:
        from pyarrow import fs

        selector = fs.FileSelector(self._path(prefix), allow_not_found=True, recursive=True)
        entries = self._tried(lambda: self._files.get_file_info(selector))
        return {
            item.path.removeprefix(f"{self._root}/"): Entry(item.size, item.mtime.timestamp())
            for item in entries
            if item.type == fs.FileType.File
        }

    def read(self, key: str) -> bytes:
        return self._tried(lambda: self._read(key))

    def write(self, key: str, data: bytes) -> None:
        self._tried(lambda: self._write(key, data))

    def remove(self, key: str) -> None:
        self._tried(lambda: self._remove(key))

    def remove_folder(self, prefix: str) -> None:
        """Removes all objects below a folder."""
        self._tried(lambda: self._remove_folder(prefix))

    def upload(self, path: Path, key: str) -> None:
        """Copies a file to the bucket."""
        self._tried(lambda: self._upload(path, key))

    def download(self, key: str, path: Path) -> None:
        """Copies an object to a file, which is incomplete if this fails."""
        self._tried(lambda: self._download(key, path))

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}" if key else self._root

    def _read(self, key: str) -> bytes:
        with self._files.open_input_stream(self._path(key)) as stream:
            return bytes(stream.read())

    def _write(self, key: str, data: bytes) -> None:
        with self._files.open_output_stream(self._path(key)) as stream:
            stream.write(data)

    def _remove(self, key: str) -> None:
        try:
            self._files.delete_file(self._path(key))
        except FileNotFoundError:
            return

    def _remove_folder(self, prefix: str) -> None:
        try:
            self._files.delete_dir(self._path(prefix))
        except FileNotFoundError:
            return

    def _upload(self, path: Path, key: str) -> None:
        with open(path, "rb") as source, self._files.open_output_stream(self._path(key)) as target:
            shutil.copyfileobj(source, target, _CHUNK_BYTES)

    def _download(self, key: str, path: Path) -> None:
        with self._files.open_input_stream(self._path(key)) as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target, _CHUNK_BYTES)

    def _tried(self, call: Callable[[], T]) -> T:
        """The result of `call`, retried with growing pauses while the storage fails."""
        for attempt in range(TRIES):
            try:
                return call()
            except FileNotFoundError:
                raise
            except OSError as error:
                # pyarrow's errors have no number; one with a number comes from the local disk.
                if error.errno is not None and not isinstance(
                    error, (ConnectionError, TimeoutError)
                ):
                    raise
                if attempt == TRIES - 1:
                    raise StorageFailed(f"{self.url}: {_brief(error)}") from error
            self._sleep(0.2 * 2**attempt)
        raise AssertionError("unreachable")


def _brief(error: Exception) -> str:
    """An object store's message without the details of the request."""
    return str(error).partition(" (Request ID")[0].partition("; Details")[0].splitlines()[0]


def checked(url: str) -> str:
    """The URL of a bucket without a trailing slash.

    Raises:
        UserError: it is not the URL of a bucket, or holds credentials.
    """
    problems = url_problems(url)
    if problems:
        raise UserError(problems)
    return url.rstrip("/")
