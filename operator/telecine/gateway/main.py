"""The gateway's process: `telecine gateway`, or `python -m telecine.gateway.main`."""

from __future__ import annotations

import structlog
import uvicorn

from telecine.execution.kube import load_client
from telecine.execution.logs import configure_logging
from telecine.execution.metrics import MetricsServer
from telecine.gateway.app import Gateway, create_app
from telecine.settings import Settings, load_settings

log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; what was begun is finished."""
    gateway = Gateway(load_client(), settings)
    log.info("the gateway starts", host=settings.gateway_host, port=settings.gateway_port)
    with MetricsServer(settings.metrics_port, gateway.metrics):
        uvicorn.run(
            create_app(gateway),
            host=settings.gateway_host,
            port=settings.gateway_port,
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
