"""Real Git servers on loopback: git http-backend behind HTTP, and sshd with a deploy key."""

from __future__ import annotations

import base64
import getpass
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from telecine.dev.git_server import ENVIRONMENT, backend

HANDLER = "def handler(event):\n    return {'key': event['key']}\n"


class Repository:
    """A bare repository, and a work tree to make its commits in."""

    def __init__(self, folder: Path, name: str = "films") -> None:
        self.bare, self.tree = folder / f"{name}.git", folder / f"{name}-tree"
        self._git("init", "--quiet", "--bare", "--initial-branch=main", str(self.bare), at=folder)
        self._git("init", "--quiet", "--initial-branch=main", str(self.tree), at=folder)
        self.git("remote", "add", "origin", str(self.bare))
        self.allow("uploadpack.allowFilter", "true")

    def _git(self, *arguments: str, at: Path) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=at, env=ENVIRONMENT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def git(self, *arguments: str) -> str:
        return self._git(*arguments, at=self.tree)

    def allow(self, name: str, value: str) -> None:
        self._git("config", name, value, at=self.bare)

    def write(self, path: str, content: str | bytes) -> None:
        target = self.tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, message: str = "Change", **files: str) -> str:
        """Commits the work tree with files (`__` is `/`, `_py` is `.py`), pushes; its id."""
        for name, content in files.items():
            self.write(name.replace("__", "/").replace("_py", ".py"), content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        self.push("HEAD")
        return self.git("rev-parse", "HEAD")

    def repack(self) -> None:
        """So that files are told by their differences."""
        self._git("repack", "-a", "-d", "-f", "--quiet", "--depth=5", "--window=5", at=self.bare)

    def push(self, *refs: str) -> None:
        self.git("push", "--quiet", "--force", "origin", *refs)


class HttpServer:
    """git http-backend as CGI, for the repositories of a folder.

    Below `/private/` it asks for the user `reader` with the password `s3cr3t-t0ken`; `/hang/`
    never answers, `/moved/` redirects to another server, `/broken/` answers 502.
    """

    USER, TOKEN = "reader", "s3cr3t-t0ken"

    def __init__(self, root: Path, elsewhere: str = "", certificate: Path | None = None) -> None:
        self.root, self.elsewhere = root, elsewhere
        self.scheme = "https" if certificate else "http"
        self.requests: list[tuple[str, str | None]] = []
        """Path and Authorization header of each."""
        self.ending = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @contextmanager
    def serving(self) -> Iterator[HttpServer]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.ending.set()
            self._server.shutdown()
            self._server.server_close()


def _handler(server: HttpServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            given = self.headers.get("Authorization")
            server.requests.append((self.path, given))
            wanted = base64.b64encode(f"{server.USER}:{server.TOKEN}".encode()).decode()
            first, _, rest = self.path.lstrip("/").partition("/")
            if first == "hang":
                server.ending.wait(60)
            elif first == "broken":
                self.send_error(502)
            elif first == "moved":
                self.send_response(302)
                self.send_header("Location", f"{server.elsewhere}/private/{rest}")
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif first == "private" and given != f"Basic {wanted}":
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="films"')
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self._run(f"/{rest}")

        do_POST = do_GET  # noqa: N815

        def _run(self, path: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = backend(server.root, self.command, path, dict(self.headers), body)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(answer.body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    return Handler


class SshServer:
    """sshd with its own host key and port; the deploy key may run git-shell and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if self._sshd is None:
            pytest.skip("there is no sshd: apt-get install openssh-server")
        self._folder = folder
        self.host_key = self._key("host")
        self.deploy_key = self._key("deploy")
        self.other_key = self._key("other")
        self.user = getpass.getuser()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        shell = shutil.which("git-shell") or f"{os.path.realpath(shutil.which('git') or '')}-shell"
        (folder / "authorized_keys").write_text(
            f'restrict,command="{shell} -c \\"$SSH_ORIGINAL_COMMAND\\"" '
            + (folder / "deploy.pub").read_text()
        )
        (folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nPidFile none\nUsePAM no\n"
            "StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin forced-commands-only\nAcceptEnv GIT_PROTOCOL\n"
        )

    def _key(self, name: str) -> str:
        line = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name]
        subprocess.run(line, cwd=self._folder, check=True)
        return (self._folder / name).read_text()

    def public(self, name: str) -> str:
        return " ".join((self._folder / f"{name}.pub").read_text().split()[:2])

    def known(self, name: str = "host") -> str:
        return f"[127.0.0.1]:{self.port} {self.public(name)}\n"

    def url(self, repository: Path) -> str:
        return f"ssh://{self.user}@127.0.0.1:{self.port}{repository}"

    @contextmanager
    def serving(self) -> Iterator[SshServer]:
        if os.geteuid() == 0:
            # Its place for separated privileges, which the package's service would make.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        log = self._folder / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [str(self._sshd), "-D", "-e", "-f", str(self._folder / "config")],
                stdin=subprocess.DEVNULL,
                stderr=file,
            )
        try:
            self._wait(process, log)
            yield self
        finally:
            process.terminate()
            process.wait(10)

    def _wait(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + 20
        while "Server listening" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
