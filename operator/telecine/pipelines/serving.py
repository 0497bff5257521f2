"""The asset at a URL of this machine, for as long as its handler is at work on it."""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import quote, unquote

_PIECE = 1 << 18
_AT_ONCE = 32
_REMEMBERED = 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_MIME = re.compile(r"[\w.+-]+/[\w.+-]+(?:; ?[\w-]+=[\w.-]+)?\Z")


class _Served(NamedTuple):
    path: Path
    name: str
    mime_type: str


class AssetServer:
    """HTTP on 127.0.0.1. Whoever makes one calls `close`."""

    def __init__(self) -> None:
        self._assets: dict[str, _Served] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        self._http = _Http(("127.0.0.1", 0), _Request, self)
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.1,), name="handler-assets", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @contextmanager
    def serving(self, path: Path, name: str, mime_type: str) -> Iterator[str]:
        """The URL of a file; it answers 410 afterwards."""
        token = secrets.token_urlsafe(24)
        shown = PurePosixPath(name).name or "asset"
        mime = mime_type if _MIME.match(mime_type) else "application/octet-stream"
        self._assets[token] = _Served(path, shown, mime)
        try:
            port = self._http.server_address[1]
            yield f"http://127.0.0.1:{port}/{token}/{quote(shown, safe='')}"
        finally:
            del self._assets[token]
            self._gone[token] = None
            while len(self._gone) > _REMEMBERED:
                self._gone.popitem(last=False)

    def find(self, path: str) -> _Served | HTTPStatus:
        """What a request's path names, or why it names nothing."""
        token, _, name = path.partition("?")[0].removeprefix("/").partition("/")
        served = self._assets.get(token)
        if served is not None and unquote(name) == served.name:
            return served
        return HTTPStatus.GONE if token in self._gone else HTTPStatus.NOT_FOUND

    @contextmanager
    def room(self) -> Iterator[bool]:
        """Whether one more request can be served now."""
        if not self._room.acquire(blocking=False):
            yield False
            return
        try:
            yield True
        finally:
            self._room.release()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], request: Any, assets: AssetServer) -> None:
        super().__init__(address, request)
        self.assets = assets

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that goes away in the middle is nothing to tell of."""


class _Request(BaseHTTPRequestHandler):
    server: _Http
    timeout = 30
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """URLs carry the token."""

    def _answer(self, *, body: bool) -> None:
        with self.server.assets.room() as room:
            found = self.server.assets.find(self.path) if room else HTTPStatus.SERVICE_UNAVAILABLE
            if isinstance(found, HTTPStatus):
                self.send_error(found)
                return
            try:
                file = found.path.open("rb")
            except OSError:
                self.send_error(HTTPStatus.GONE)
                return
            with file:
                self._send(file, found, body)

    def _send(self, file: BinaryIO, served: _Served, body: bool) -> None:
        size = file.seek(0, 2)
        given = self.headers.get("Range")
        wanted = None if given is None else span(given, size)
        if given is not None and _RANGE.match(given.strip()) and wanted is None:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        first, end = wanted or (0, size)
        self.send_response(HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK)
        self.send_header("Content-Type", served.mime_type)
        self.send_header("Content-Length", str(end - first))
        self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{size}")
        self.end_headers()
        if body:
            self._copy(file, first, end)

    def _copy(self, file: BinaryIO, first: int, end: int) -> None:
        file.seek(first)
        while first < end and (data := file.read(min(_PIECE, end - first))):
            self.wfile.write(data)
            first += len(data)


def span(given: str, size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last of a Range header (RFC 9110, 14.1.2); None when
    it is of another kind, several ranges, or beyond the end."""
    found = _RANGE.match(given.strip())
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    return (start, end) if start < end else None
