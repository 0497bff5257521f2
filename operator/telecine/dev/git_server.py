"""A Git server on loopback that wants a token, for the demo and for tests: git http-backend."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

#: Nothing of the user's own configuration, and commits that are the same on every machine.
ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (
            ("NAME", "A"),
            ("EMAIL", "a@git.test"),
            ("DATE", "2026-01-01T00:00:00Z"),
        )
    },
}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def backend(
    root: Path, method: str, path: str, headers: Mapping[str, str | None], body: bytes
) -> Answer:
    """What Git's own server for HTTP, a CGI program, answers for the repositories of a folder."""
    info, _, query = path.partition("?")
    environment = {
        **ENVIRONMENT, "GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": info, "QUERY_STRING": query, "REQUEST_METHOD": method,
        "CONTENT_TYPE": headers.get("Content-Type") or "", "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": "127.0.0.1", "HTTP_CONTENT_ENCODING": headers.get("Content-Encoding") or "",
        "GIT_PROTOCOL": headers.get("Git-Protocol") or "",
    }  # fmt: skip
    done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True)
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
    status = int(fields.pop("Status", "200").split()[0])
    return Answer(status, {**fields, "Content-Length": str(len(content))}, content)


class GitServer:
    """The repositories of a folder, for a `with` block; user `reader`, password `token`."""

    def __init__(self, root: Path) -> None:
        self.root, self.token = root, secrets.token_hex(16)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self
        wanted = base64.b64encode(f"reader:{self.token}".encode()).decode()

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Authorization") == f"Basic {wanted}":
                    answer = backend(server.root, self.command, self.path, dict(self.headers), body)
                else:
                    challenge = {"WWW-Authenticate": 'Basic realm="git"', "Content-Length": "0"}
                    answer = Answer(401, challenge, b"")
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            do_POST = do_GET  # noqa: N815

        return Handler
