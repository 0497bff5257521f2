"""The connection to Weaviate and the three ways in which it can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

if TYPE_CHECKING:
    from weaviate import WeaviateClient
    from weaviate.proto.v1.v6300.v1.batch_pb2 import BatchObject

    from telecine.index.index import Index

INIT_SECONDS = 5
QUERY_SECONDS = 30
INSERT_SECONDS = 90
#: Objects and bytes of one batch; Weaviate refuses messages over its `grpcMaxMessageSize`.
BATCH_OBJECTS = 1000
BATCH_BYTES = 8 << 20
_BATCHES_AT_ONCE = 2
_GRPC_METHODS = ("Search", "BatchObjects", "BatchDelete", "TenantsGet", "Aggregate")


class IndexUnavailableError(Exception):
    """Weaviate did not do what was asked: try again later.

    `permanent` means that trying again is useless until the settings or the Secret change.
    """

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class IndexAbsentError(IndexUnavailableError):
    """The collection or the tenant does not exist (yet)."""


class IndexSchemaError(Exception):
    """A collection has another shape than Telecine's; `str()` names what was found and wanted."""


class IndexWriteError(Exception):
    """Some objects of a batch were refused; all others are written."""

    def __init__(self, failures: list[tuple[UUID, str]]) -> None:
        ident, why = failures[0]
        super().__init__(f"Weaviate refused {len(failures)} objects, the first ({ident}): {why}")
        self.failures = failures


@dataclass(frozen=True)
class WeaviateSettings:
    """Where Weaviate is: `endpoint` is the URL of its REST API."""

    endpoint: str
    grpc_host: str | None = None
    """Absent: the endpoint's host."""
    grpc_port: int = 50051
    grpc_secure: bool | None = None
    """Absent: secure when the endpoint is https."""
    api_key: str | None = field(default=None, repr=False)


def open_index(settings: WeaviateSettings) -> Index:
    """Connects; the Index is a context manager that closes the connection.

    Raises:
        IndexUnavailableError: Weaviate cannot be reached (told within about five seconds), or
            refuses the key (`permanent`).
    """
    from telecine.index.index import Index

    return Index(Session(settings))


class Session:
    """One connection, usable from several threads, whose errors are Telecine's own."""

    def __init__(self, settings: WeaviateSettings) -> None:
        self.settings = settings
        with self.call():
            self.client = _connect(settings)
            # The client retries an unreachable gRPC server for a minute; Telecine retries by
            # itself, and the code of an error is lost further up.
            connection: Any = self.client._connection
            self.stub: Any = SimpleNamespace(
                **{
                    name: self._guarded(getattr(connection._grpc_stub, name))
                    for name in _GRPC_METHODS
                }
            )
            connection._grpc_stub = self.stub
        key = settings.api_key
        self.metadata = (("authorization", f"Bearer {key}"),) if key else None

    def close(self) -> None:
        self.client.close()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Within it every failure of Weaviate or on the way to it becomes one of ours."""
        import httpx
        from weaviate.exceptions import (
            AuthenticationFailedError,
            UnexpectedStatusCodeError,
            WeaviateBaseError,
        )

        try:
            yield
        except UnexpectedStatusCodeError as error:
            denied = error.status_code in (401, 403)
            raise self.failure(str(error), permanent=denied) from None
        except httpx.HTTPStatusError as error:
            denied = error.response.status_code in (401, 403)
            said = f"status {error.response.status_code}: {error.response.text[:500]}"
            raise self.failure(said, permanent=denied) from None
        except AuthenticationFailedError as error:
            raise self.failure(str(error), permanent=True) from None
        except (WeaviateBaseError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise self.failure(str(error) or type(error).__name__) from None

    def insert(self, objects: Iterable[BatchObject]) -> None:
        """Writes whole objects, two batches at a time.

        Raises:
            IndexWriteError: Weaviate refused some; the others are written.
        """
        failures: list[tuple[UUID, str]] = []
        batches = batched_by_size(objects)
        with ThreadPoolExecutor(_BATCHES_AT_ONCE, "insert") as pool:
            waiting = [pool.submit(self._insert, b) for b in _take(batches, _BATCHES_AT_ONCE)]
            while waiting:
                failures += waiting.pop(0).result()
                waiting += [pool.submit(self._insert, b) for b in _take(batches, 1)]
        if failures:
            raise IndexWriteError(failures)

    def _insert(self, batch: list[BatchObject]) -> list[tuple[UUID, str]]:
        from weaviate.proto.v1 import batch_pb2

        request = batch_pb2.BatchObjectsRequest(objects=batch)
        reply = self.stub.BatchObjects(request, timeout=INSERT_SECONDS, metadata=self.metadata)
        failures = [(UUID(batch[e.index].uuid), self.redact(e.error)) for e in reply.errors]
        if failures and _absent_or_inactive(failures[0][1]):
            raise self.failure(failures[0][1])
        return failures

    def _guarded(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """A gRPC method that raises our errors, without the client's retries."""
        from grpc import RpcError, StatusCode  # type: ignore[import-untyped]

        denied = (StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED)

        def call(request: Any, **options: Any) -> Any:
            try:
                return method(request, **options)
            except RpcError as error:
                code, details = error.code(), error.details() or ""
                text = f"{details or 'no details'} ({code.name})"
                raise self.failure(text, permanent=code in denied) from None

        return call

    def failure(self, text: str, *, permanent: bool = False) -> IndexUnavailableError:
        """The error for what Weaviate or the network said."""
        said = self.redact(text).strip()
        if "tenant not active" in said:
            return IndexUnavailableError(
                f"the tenant is INACTIVE (its Namespace is SUSPENDED or ARCHIVED): {said}"
            )
        if _absent_or_inactive(said):
            return IndexAbsentError(f"the index is not there yet: {said}")
        where = urlsplit(self.settings.endpoint).netloc.rpartition("@")[2]
        if permanent:
            return IndexUnavailableError(
                f"Weaviate at {where} refuses the API key: {said}", permanent=True
            )
        return IndexUnavailableError(f"Weaviate at {where} failed: {said}")

    def redact(self, text: str) -> str:
        key = self.settings.api_key
        return text.replace(key, "[redacted]") if key else text


def _absent_or_inactive(said: str) -> bool:
    signs = ("tenant not active", "tenant not found", "could not find class", "class not found")
    return any(sign in said for sign in signs)


def batched_by_size(objects: Iterable[BatchObject]) -> Iterator[list[BatchObject]]:
    """Batches under both bounds; an object larger than the bound goes alone."""
    batch: list[BatchObject] = []
    size = 0
    for item in objects:
        more = item.ByteSize()
        if batch and (size + more > BATCH_BYTES or len(batch) >= BATCH_OBJECTS):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += more
    if batch:
        yield batch


def _take(batches: Iterator[list[BatchObject]], count: int) -> Iterator[list[BatchObject]]:
    for _ in range(count):
        batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _connect(settings: WeaviateSettings) -> WeaviateClient:
    import httpx
    import weaviate
    from weaviate.classes.init import AdditionalConfig, Auth, Timeout
    from weaviate.config import ConnectionConfig, GrpcConfig
    from weaviate.connect import ConnectionParams

    url = urlsplit(settings.endpoint)
    try:
        port = url.port
    except ValueError:
        port = -1
    if url.scheme not in ("http", "https") or not url.hostname or port == -1:
        raise IndexUnavailableError(
            "the Weaviate endpoint must be a URL such as http://weaviate:8080", permanent=True
        )
    secure = url.scheme == "https"
    # The client itself waits for its first answer as long as for a query.
    headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
    with httpx.Client(trust_env=False, timeout=INIT_SECONDS) as probe:
        probe.get(f"{url.scheme}://{url.netloc}/v1/meta", headers=headers).raise_for_status()
    client = weaviate.WeaviateClient(
        ConnectionParams.from_params(
            http_host=url.hostname,
            http_port=port or (443 if secure else 80),
            http_secure=secure,
            grpc_host=settings.grpc_host or url.hostname,
            grpc_port=settings.grpc_port,
            grpc_secure=secure if settings.grpc_secure is None else settings.grpc_secure,
        ),
        auth_client_secret=Auth.api_key(settings.api_key) if settings.api_key else None,
        additional_config=AdditionalConfig(
            timeout=Timeout(init=INIT_SECONDS, query=QUERY_SECONDS, insert=INSERT_SECONDS),
            connection=ConnectionConfig(session_pool_max_retries=0),
            # gRPC's own pause grows to two minutes, long after Weaviate is back.
            grpc_config=GrpcConfig(channel_options=[("grpc.max_reconnect_backoff_ms", 2000)]),
        ),
        # They ask the package index for the client's newest version, too.
        skip_init_checks=True,
    )
    try:
        client.connect()
    except BaseException:
        client.close()
        raise
    return client


__all__ = [
    "IndexAbsentError",
    "IndexSchemaError",
    "IndexUnavailableError",
    "IndexWriteError",
    "Session",
    "WeaviateSettings",
    "open_index",
]
