"""An ASGI application for a `with` block, on a free port of loopback unless told otherwise."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Any, Self

import uvicorn

_END_SECONDS = 30.0


class Serving:
    """Runs in a thread; nothing is left of it afterwards."""

    def __init__(
        self, app: Any, *, lifespan: bool = True, address: tuple[str, int] = ("127.0.0.1", 0)
    ) -> None:
        self._socket = socket.create_server(address, backlog=512)
        # asyncio only does so for sockets that name TCP as their protocol; without, each answer
        # waits 40 ms for an acknowledgement.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(
            app,
            log_config=None,
            lifespan="on" if lifespan else "off",
            access_log=False,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="serving", daemon=True
        )

    @property
    def url(self) -> str:
        """Where this machine finds it."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join(_END_SECONDS)
        self._socket.close()
