"""A host's connections: to its supervisor, and to the runner that the supervisor started for it."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from telecine.pipelines import processes
from telecine.pipelines.faults import RuntimeUnavailableError
from telecine.pipelines.surroundings import started_with
from telecine.pipelines.wire import READ_BYTES, Frame, Frames, encode

_START_SECONDS = 30.0
_END_SECONDS = 40.0


class Clock:
    """The time that one asset has left. What the caller does with a document does not count."""

    def __init__(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds

    def left(self) -> float:
        return self.until - time.monotonic()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        since = time.monotonic()
        try:
            yield
        finally:
            self.until += time.monotonic() - since


class Link:
    """Frames over a socket, with a clock."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection, self._frames = connection, Frames()
        self._waiting: deque[Frame] = deque()
        self.closed = False

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self.closed = True
        self._connection.close()

    def pop(self) -> Frame | None:
        return self._waiting.popleft() if self._waiting else None

    def receive(self) -> None:
        """Takes what is there; `closed` when the other side is.

        Raises:
            WireError: it is no frame.
        """
        try:
            data = self._connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return
        self._waiting += self._frames.feed(data)

    def _writable(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._connection, select.POLLOUT)
        return bool(poll.poll(seconds * 1000))

    def send(
        self,
        kind: str,
        fields: Mapping[str, Any] | None = None,
        blob: bytes = b"",
        *,
        fds: Sequence[int] = (),
        until: float,
    ) -> None:
        """Sends a frame whole; to one that is gone, nothing.

        Args:
            fds: file descriptors that go with it.
            until: a time of `time.monotonic`.

        Raises:
            TimeoutError: the other side has not taken it by then.
        """
        data = memoryview(encode(kind, dict(fields or {}), blob))
        while data:
            try:
                if fds:
                    data = data[socket.send_fds(self._connection, [data], list(fds)) :]
                    fds = ()
                else:
                    data = data[self._connection.send(data) :]
            except BlockingIOError:
                left = until - time.monotonic()
                if left <= 0 or not self._writable(left):
                    raise TimeoutError("the handler's process takes nothing any more") from None
            except OSError:
                # Reading tells why it is gone.
                return


def readable(links: Sequence[Link], seconds: float) -> list[Link]:
    """Those of the links that have something, as soon as one has."""
    poll = select.poll()
    for link in links:
        poll.register(link, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll(max(seconds, 0) * 1000)}
    return [link for link in links if link.fileno() in ready]


class OwnSupervisor:
    """A supervisor as a subprocess. It ends, with all it started, when this process does: its
    standard input is a pipe that only this process holds."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Raises RuntimeUnavailableError."""
        if sys.platform != "linux":
            raise RuntimeUnavailableError(
                f"handlers are watched by means of Linux alone, and this is {sys.platform}: run "
                "it in a container"
            )
        self._folder = Path(tempfile.mkdtemp(prefix="telecine-handlers-"))
        self.socket = self._folder / "supervisor.sock"
        command = [sys.executable, "-P", "-m", "telecine.pipelines.supervisor"]
        try:
            self._process = subprocess.Popen(
                [*command, "--socket", str(self.socket), "--lifeline"],
                stdin=subprocess.PIPE,
                env={**started_with(environment), "TMPDIR": str(self._folder)},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise RuntimeUnavailableError(f"no supervisor can be started: {error}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> bool:
        return self._process.poll() is not None

    def close(self) -> None:
        """Ends it; what it started is gone when this returns."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # A handler can have killed everything that would have ended what it started.
        processes.end_marked(f"{self._folder}/")
        shutil.rmtree(self._folder, ignore_errors=True)


def connected(path: Path, patience: float, own: OwnSupervisor | None) -> Link:
    """A connection to the supervisor at a path, waited for.

    Raises:
        RuntimeUnavailableError: none is there within `patience` seconds, or it ended.
    """
    until = time.monotonic() + (_START_SECONDS if own is not None else patience)
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
            return Link(connection)
        except OSError as error:
            connection.close()
            if own is not None and own.ended():
                raise RuntimeUnavailableError(
                    "the supervisor ended as soon as it started"
                ) from None
            if time.monotonic() > until:
                raise RuntimeUnavailableError(
                    f"no supervisor listens at {path}: {error.strerror or error}; it is to run in "
                    "the handler's container of the same Pod"
                ) from None
        time.sleep(0.02)


def pair() -> tuple[Link, socket.socket]:
    """The host's end of a connection to a runner, and the runner's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    return Link(ours), theirs


@contextlib.contextmanager
def opened(path: Path) -> Any:
    """A descriptor for reading a file.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
