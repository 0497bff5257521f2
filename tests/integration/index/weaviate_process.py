"""A Weaviate of a test's own: with keys, or to be killed."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path

import httpx
from telecine.dev import binaries
from telecine.index.client import WeaviateSettings

_START_SECONDS = 60


class WeaviateProcess:
    """Runs from entering to leaving; `kill` ends it earlier, `start` starts it again."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.ports = _free_ports(6)
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def settings(self, api_key: str | None = None) -> WeaviateSettings:
        return WeaviateSettings(self.endpoint, grpc_port=self.ports[1], api_key=api_key)

    def start(self) -> None:
        http, grpc, gossip, data, raft, rpc = map(str, self.ports)
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "PERSISTENCE_DATA_PATH": str(self.folder / "data"),
            "CLUSTER_HOSTNAME": f"node{http}",
            "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
            "CLUSTER_GOSSIP_BIND_PORT": gossip,
            "CLUSTER_DATA_BIND_PORT": data,
            "RAFT_PORT": raft,
            "RAFT_INTERNAL_RPC_PORT": rpc,
            "RAFT_BOOTSTRAP_EXPECT": "1",
            "GRPC_PORT": grpc,
            "DISABLE_TELEMETRY": "true",
            "ASYNC_INDEXING": "true",
        }
        command = [
            str(binaries.ensure(["weaviate"])["weaviate"]),
            "--host",
            "127.0.0.1",
            "--port",
            http,
            "--scheme",
            "http",
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=os.environ | settings | self.environment, stdout=log, stderr=log
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.endpoint}/v1/.well-known/ready").is_success:
                    return
            time.sleep(0.1)
        raise TimeoutError(f"Weaviate was not ready in {_START_SECONDS} s")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
