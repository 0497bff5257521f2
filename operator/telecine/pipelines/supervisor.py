"""`python -m telecine.pipelines.supervisor --socket PATH`: starts and ends users' handlers.

Listens on a Unix socket. Each connection is one host's: it gets a `Session`, a process that
dies with the connection, with everything below it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import traceback
from pathlib import Path

from telecine.pipelines import processes
from telecine.pipelines.session import Session

_LIFELINE = 0


class Supervisor:
    """Accepts hosts."""

    def __init__(self, path: Path, *, lifeline: bool) -> None:
        """With `lifeline` it ends when its standard input does, and takes the socket's folder
        with it."""
        self._path, self._bound = path, lifeline
        self._sessions: dict[int, Path] = {}
        self._open = True
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(16)
        self._listener.setblocking(False)

    def run(self) -> None:
        processes.adopt_orphans()
        processes.hide()
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._close())
        watched: list[int] = [woken, self._listener.fileno(), *([_LIFELINE] if self._bound else [])]
        try:
            while self._open:
                ready, _, _ = select.select(watched, [], [])
                if woken in ready:
                    os.read(woken, 4096)
                    self._reap()
                if self._bound and _LIFELINE in ready and not os.read(_LIFELINE, 4096):
                    self._close()
                if self._open and self._listener.fileno() in ready:
                    self._accept()
        finally:
            self._end()

    def _close(self) -> None:
        self._open = False

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        if _peer(connection) in processes.descendants(os.getpid()):
            # A handler that would have another one, out of its own limits.
            connection.close()
            return
        scratch = Path(tempfile.mkdtemp(prefix="telecine-handler-"))
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_session(connection, scratch, parent)
        self._sessions[pid] = scratch
        connection.close()

    def _become_session(self, connection: socket.socket, scratch: Path, parent: int) -> None:
        """Never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            self._listener.close()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            processes.end_with_parent(signal.SIGTERM)
            if os.getppid() == parent:
                Session(connection, scratch).run()
                code = 0
        except BaseException:  # noqa: BLE001 - a forked process must not go on as its parent
            traceback.print_exc()
        finally:
            os._exit(code)

    def _reap(self) -> None:
        gone = False
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            scratch = self._sessions.pop(pid, None)
            if scratch is not None:
                gone = True
                shutil.rmtree(scratch, ignore_errors=True)
        if gone:
            # What a session that was killed has left is this process's now.
            processes.end_descendants(os.getpid(), self._reap, set(self._sessions))

    def _end(self) -> None:
        self._listener.close()
        for pid in self._sessions:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for pid, scratch in list(self._sessions.items()):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            shutil.rmtree(scratch, ignore_errors=True)
        self._sessions.clear()
        # What a session that was killed has left.
        processes.end_descendants(os.getpid(), self._reap)
        self._path.unlink(missing_ok=True)
        if self._bound:
            shutil.rmtree(self._path.parent, ignore_errors=True)


def _peer(connection: socket.socket) -> int:
    """Process id of who connected; 0 where it is not to be seen from here."""
    size = struct.calcsize("3i")
    pid, _, _ = struct.unpack(
        "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    return int(pid)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="telecine.pipelines.supervisor", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--lifeline", action="store_true", help="end when standard input does")
    given = parser.parse_args(arguments)
    Supervisor(given.socket, lifeline=given.lifeline).run()


if __name__ == "__main__":
    main(sys.argv[1:])
