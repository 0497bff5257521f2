"""An S3 server for demo and tests: moto's, as a process of its own."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import boto3
import httpx2

from telecine.dev.processes import Running, free_ports, is_free, spawn, stop, tail

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

Client: TypeAlias = "S3Client"

ACCESS_KEY, SECRET_KEY, REGION = "telecine-demo", "telecine-demo-secret", "us-east-1"
_READY_SECONDS = 60.0


class S3Error(Exception):
    """The server did not start, or moto is not installed."""


class S3Server:
    """A running moto server on loopback."""

    def __init__(self, port: int, process: Running) -> None:
        self.port, self.process = port, process

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Client:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )

    def stop(self) -> None:
        stop([self.process])


def start(log: Path, port: int | None = None) -> S3Server:
    """Starts the server and returns when it answers.

    Raises:
        S3Error: moto is absent, or the port is taken.
    """
    if importlib.util.find_spec("moto") is None:
        raise S3Error("the S3 server of the demo is moto: pip install 'moto[s3,server]'")
    port = port or free_ports(1)[0]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = spawn("s3", command, log)
    try:
        if _answers(process, port):
            return S3Server(port, process)
    except BaseException:
        stop([process])
        raise
    stop([process])
    raise S3Error(f"the S3 server did not start on port {port}:\n{tail(log)}")


def _answers(process: Running, port: int) -> bool:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.alive:
        with suppress(httpx2.HTTPError):
            httpx2.get(f"http://127.0.0.1:{port}/moto-api/", timeout=2.0, trust_env=False)
            # Not another's answer: a second server on a port ends at once.
            return process.alive
        time.sleep(0.1)
    return False


@contextmanager
def serve(port: int | None = None, *, preferred_port: int | None = None) -> Iterator[S3Server]:
    """A server for a block, on the preferred port when that is free."""
    if preferred_port is not None and port is None and is_free(preferred_port):
        port = preferred_port
    with tempfile.TemporaryDirectory(prefix="telecine-s3-") as folder:
        server = start(Path(folder) / "s3.log", port)
        try:
            yield server
        finally:
            server.stop()
