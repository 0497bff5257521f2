"""What the gateway's own threads and memory outlive: an API server that answers nonsense."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest
from lightkube import Client, KubeConfig
from telecine.gateway import directory
from telecine.gateway.app import Gateway
from telecine.gateway.directory import Directory
from telecine.gateway.requests import Requests, Target
from telecine.planning.identity import connection_id
from telecine.settings import Settings


class Server(ThreadingHTTPServer):
    """An API server behind a proxy that says 502, without a content type, at first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = 0

    def client(self) -> Client:
        told = {
            "clusters": [
                {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.server_port}"}}
            ],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        }
        return Client(config=KubeConfig.from_dict(told), trust_env=False)


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_PATCH(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.answers += 1
        body = b"{}" if self.server.answers > 1 else b""
        self.send_response(200 if body else 502)
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_a_hint_is_passed_on_when_the_api_server_answers_again(server: Server) -> None:
    requests = Requests(server.client(), apart=0.01)
    requests.ask([Target("media", "films")])
    until = time.monotonic() + 10
    while server.answers < 2 and time.monotonic() < until:
        time.sleep(0.01)
    requests.close()
    assert server.answers == 2


def test_looking_for_broken_off_removals_goes_on_after_any_failure(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telecine.gateway.app.RESUME_SECONDS", 0.0)
    gateway = Gateway(server.client(), Settings())
    tries: list[int] = []
    enough = threading.Event()

    def fails() -> None:
        tries.append(len(tries))
        if len(tries) == 3:
            enough.set()
        raise KeyError("Content-Type")

    gateway.ready = True
    monkeypatch.setattr(gateway._directory, "connections", fails)
    gateway.start()
    assert enough.wait(10)
    gateway.stop()


def test_a_listing_that_fails_forgets_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    now, away = [0.0], [False]

    def list_all(*_: Any) -> list[dict[str, Any]]:
        if away[0]:
            raise httpx2.ConnectError("the API server is away")
        metadata = {"namespace": "media", "name": "mux"}
        spec = {"provider": "mux", "mux": {}, "secretRef": {"name": "mux"}}
        return [{"metadata": metadata, "spec": spec}]

    monkeypatch.setattr(directory, "list_all", list_all)
    client: Any = None
    known = Directory(client, clock=lambda: now[0])
    ident = connection_id("media", "mux")
    assert known.connection(ident) is not None
    away[0], now[0] = True, 2.0
    with pytest.raises(httpx2.ConnectError):
        known.connection("conn_unknown")
    assert known.connection(ident) is not None, "it was listed two seconds ago"
