"""Connections to the gateway that never come to a request."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import uvicorn
from telecine.gateway import main


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
    )
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(main, "HEAD_SECONDS", 0.5)
    config = uvicorn.Config(
        app, port=0, http=main.Protocol, lifespan="off", log_config=None, limit_concurrency=4
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize(
    "said", [b"", b"POST /v1/webhooks/mux/", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT"]
)
def test_connections_without_a_request_do_not_hold_up_others(port: int, said: bytes) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(5):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(said)
        until = time.monotonic() + 5
        answer = 503
        while answer != 200 and time.monotonic() < until:
            time.sleep(0.2)
            answer = httpx2.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code
        assert answer == 200


def test_a_connection_is_used_again_within_that_time(port: int) -> None:
    with httpx2.Client(trust_env=False) as client:
        for _ in range(5):
            assert client.get(f"http://127.0.0.1:{port}/").status_code == 200
            time.sleep(0.2)
