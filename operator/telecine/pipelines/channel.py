"""The handler's side of its connection to the host: one question at a time."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

from telecine.pipelines.wire import READ_BYTES, Frame, Frames, encode


class RefusedError(Exception):
    """The host cannot do what was asked; `str()` says why."""


class Channel:
    """Frames over a blocking socket. Threads of the handler may share it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._frames = connection, Frames()
        self._waiting: list[Frame] = []
        self._mutex = threading.Lock()
        self.call = 0
        """Number of the call that is at work; the host tells frames of an earlier one by it."""
        self.content = -1
        """File descriptor of the asset's content, read-only, as the last call brought it."""

    def send(self, kind: str, fields: dict[str, Any], blob: bytes = b"") -> None:
        """Blocks as long as the host takes no more.

        Raises:
            OSError: the connection is gone.
            WireError: it is too long.
        """
        with self._mutex:
            self._connection.sendall(encode(kind, {**fields, "call": self.call}, blob))

    def ask(self, kind: str, fields: dict[str, Any], blob: bytes = b"") -> Frame:
        """The host's answer.

        Raises:
            RefusedError: it has none.
            OSError, WireError: as `send`.
        """
        with self._mutex:
            self._connection.sendall(encode(kind, {**fields, "call": self.call}, blob))
            answer = self.receive()
        if answer is None:
            raise ConnectionResetError("the host is gone")
        if answer.kind == "refused":
            raise RefusedError(str(answer.fields.get("message", "")))
        return answer

    def receive(self) -> Frame | None:
        """The next frame; None when the host is gone."""
        while not self._waiting:
            data, fds, _, _ = socket.recv_fds(
                self._connection, READ_BYTES, 1, socket.MSG_CMSG_CLOEXEC
            )
            for fd in fds:
                if self.content >= 0:
                    os.close(self.content)
                self.content = fd
            if not data:
                return None
            self._waiting += self._frames.feed(data)
        return self._waiting.pop(0)
