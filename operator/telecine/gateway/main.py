"""The gateway's process: `telecine gateway`, or `python -m telecine.gateway.main`."""

from __future__ import annotations

import asyncio

import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from telecine.execution.kube import load_client
from telecine.execution.logs import configure_logging
from telecine.execution.metrics import MetricsServer
from telecine.gateway.app import Gateway, create_app
from telecine.settings import Settings, load_settings

log = structlog.get_logger(__name__)
HEAD_SECONDS = 10.0
"""How long a connection may take to send the head of a request."""


class Protocol(H11Protocol):
    """Closes connections that say nothing, or half of a head: uvicorn would keep them for good,
    and count each against the most that it serves at once."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._time()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._time()

    def _time(self) -> None:
        """Lets the time run exactly while there is no request at work."""
        waits = self.cycle is None or self.cycle.response_complete
        if waits and self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self._close)
        elif not waits and self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        self._late = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; what was begun is finished."""
    gateway = Gateway(load_client(), settings)
    log.info("the gateway starts", host=settings.gateway_host, port=settings.gateway_port)
    with MetricsServer(settings.metrics_port, gateway.metrics):
        uvicorn.run(
            create_app(gateway),
            host=settings.gateway_host,
            port=settings.gateway_port,
            http=Protocol,
            log_config=None,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=16 << 10,
            limit_concurrency=1000,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=20,
        )


def main() -> None:
    configure_logging()
    run(load_settings())


if __name__ == "__main__":
    main()
