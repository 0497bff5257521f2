"""An S3 endpoint that answers as a test tells it: for what a healthy server never says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote_plus, unquote, urlsplit

import pytest
from telecine.api.connection import S3Config
from telecine.planning.types import Asset
from telecine.providers.base import Provider, ProviderError
from telecine.providers.s3 import S3Provider

ROLE = "arn:aws:iam::123456789012:role/reader"


@dataclass
class Request:
    method: str
    path: str
    """Decoded."""
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    body: str


@dataclass
class Reply:
    status: int = 200
    body: bytes | str = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """Close the connection half way through the body."""


@dataclass
class ScriptedS3:
    """A running server; `answer` may be replaced at any time."""

    endpoint: str
    answer: Callable[[Request], Reply]
    requests: list[Request] = field(default_factory=list)

    def provider(self, secret: dict[str, str] | None = None, **options: Any) -> S3Provider:
        """A provider of bucket `shelf` that tries everything once."""
        config = {
            name: options.pop(name) for name in list(options) if name in S3Config.model_fields
        }
        return S3Provider(
            S3Config(bucket="shelf", endpoint=self.endpoint, **config),
            secret if secret is not None else {"access_key_id": "me", "secret_access_key": "mine"},
            **{"attempts": 1, **options},
        )


@contextmanager
def scripted_s3(answer: Callable[[Request], Reply]) -> Iterator[ScriptedS3]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {k: v[0] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
            length = int(self.headers.get("Content-Length", 0))
            request = Request(
                self.command,
                unquote(url.path),
                query,
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(length).decode(),
            )
            scripted.requests.append(request)
            self._send(scripted.answer(request))

        do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 - the standard library's names

        def _send(self, reply: Reply) -> None:
            body = reply.body.encode() if isinstance(reply.body, str) else reply.body
            self.send_response(reply.status)
            headers = {"Content-Length": str(len(body)), **reply.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if reply.cut else body)
            if reply.cut:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Silence: pytest shows what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scripted = ScriptedS3(f"http://127.0.0.1:{server.server_port}", answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def listing(
    keys: Sequence[str], *, following: str | None = None, storage: str = "STANDARD", size: int = 2
) -> str:
    """A page of ListObjectsV2 as Amazon sends it."""
    rows = "".join(
        f"<Contents><Key>{quote_plus(key, safe='/')}</Key>"
        "<LastModified>2026-03-01T10:00:00.000Z</LastModified>"
        f"<ETag>&quot;etag&quot;</ETag><Size>{size}</Size><StorageClass>{storage}</StorageClass>"
        "</Contents>"
        for key in keys
    )
    more = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>shelf</Name>'
        f"<EncodingType>url</EncodingType><IsTruncated>{str(bool(more)).lower()}</IsTruncated>"
        f"{more}{rows}</ListBucketResult>"
    )


def refusal(status: int, code: str, message: str = "No.", **headers: str) -> Reply:
    """An error as S3 sends it."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Reply(status, body, {name.replace("_", "-"): text for name, text in headers.items()})


def unused_endpoint() -> str:
    """An address of this machine where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def broken_after(reply: Reply) -> Callable[[Request], Reply]:
    """A first page, and then the reply."""

    def answer(request: Request) -> Reply:
        first = "continuation-token" not in request.query
        return Reply(body=listing(["a", "b"], following="2")) if first else reply

    return answer


def failure(provider: Provider, source_path: str = "") -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        list(provider.list(source_path))
    return caught.value


def only(provider: Provider) -> Asset:
    [[asset]] = list(provider.list(""))
    return asset
