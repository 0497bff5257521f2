"""The gateway as an ASGI application."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx2
import structlog
from lightkube import ApiError, Client
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from telecine.execution.pool import IndexPool
from telecine.execution.resolve import MissingReferenceError
from telecine.gateway import mux
from telecine.gateway.deletion import Deletion, Deletions
from telecine.gateway.directory import Directory, Known
from telecine.gateway.metrics import GatewayMetrics, measured
from telecine.gateway.mux import MuxWebhooks, RefusedError
from telecine.gateway.push import Pushes
from telecine.gateway.requests import Requests
from telecine.gateway.signatures import SignatureError, parse, require_recent
from telecine.gateway.updates import Updates
from telecine.index.client import IndexUnavailableError
from telecine.providers.base import ProviderError
from telecine.settings import Settings

log = structlog.get_logger(__name__)
T = TypeVar("T")

ANSWER_SECONDS = 3.5
"""Mux waits 5 s for an answer, network included."""
BODY_SECONDS = 5.0
_THREADS = 8
_BUSY = 50
"""Events at work at once beyond which an update is left to a run: one listing costs fewer calls."""
_MOST_WAITING = 500
"""Events at work at once; beyond it Mux is asked to come again."""
RESUME_SECONDS = 300.0


class Gateway:
    """What the routes share."""

    def __init__(
        self, client: Client, settings: Settings, *, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._settings, self._answer_seconds = settings, answer_seconds
        self.metrics = GatewayMetrics(mux.NAMED | {"push"})
        self._pool = IndexPool()
        self._directory = Directory(client, settings.kube_namespace or "*")
        self._requests = Requests(client)
        self._deletions = Deletions(client, self._pool, settings, self._requests, self.metrics)
        updates = Updates(client, self._pool, settings, self._requests, self.metrics.sources)
        self._pushes = Pushes(client, self._requests, settings.kube_namespace or "*")
        self._mux = MuxWebhooks(self._directory, self._deletions, updates)
        # Looking at signatures has threads of its own: they are never behind the work of others.
        self._lookers = ThreadPoolExecutor(4, "verify")
        # So has what an answer must wait for: it is never behind calls that wait for their turn.
        self._first = ThreadPoolExecutor(4, "begin")
        self._workers = ThreadPoolExecutor(_THREADS, "webhook")
        # And so have removals: an update may wait minutes for a Mux that asked for a pause.
        self._removers = ThreadPoolExecutor(4, "remove")
        self._waiting, self._lock = 0, threading.Lock()
        self._stopping = threading.Event()
        self.ready = False
        """Whether Weaviate has been reached once."""
        self._resumer = threading.Thread(target=self._resume, name="resume", daemon=True)

    def start(self) -> None:
        self._resumer.start()

    def stop(self) -> None:
        """Ends when what was begun is done."""
        self._stopping.set()
        self._lookers.shutdown(wait=True, cancel_futures=True)
        self._first.shutdown(wait=True)
        self._removers.shutdown(wait=True)
        self._workers.shutdown(wait=True)
        if self._resumer.is_alive():
            self._resumer.join(30.0)
        self._requests.close()
        self._pool.close()

    async def mux_webhook(self, request: Request) -> Response:
        """Answers as the reference system does: 200, 400, 401, 404; 413 and 503 besides."""
        try:
            known = await self._look(self._mux.connection, request.path_params["connection_id"])
            signature = parse(request.headers.get("mux-signature"))
            require_recent(signature, time.time(), self._settings.webhook_tolerance_seconds)
            body = await read_body(request, self._settings.webhook_max_bytes)
            await self._look(self._mux.verify, known, signature, body)
            event_type, asset_id = mux.event(body)
            answer = await self._act(known, event_type, asset_id)
            self.metrics.event(event_type, handled=answer["handled"])
            return JSONResponse(answer)
        except SignatureError as error:
            self.metrics.refused(error.reason)
            return refusal(401, str(error))
        except RefusedError as error:
            return refusal(error.status, str(error))
        except MissingReferenceError as error:
            return refusal(400, str(error))
        except (
            ApiError, httpx2.HTTPError, IndexUnavailableError, ProviderError, TimeoutError
        ) as error:  # fmt: skip
            log.warning("a webhook could not be handled now", error=repr(error))
            return refusal(503, "not now; deliver it again", retry_after=30)

    async def git_webhook(self, request: Request) -> Response:
        """Answers as `mux_webhook` does."""
        place = (request.path_params["kube_namespace"], request.path_params["pipeline"])
        try:
            await self._look(self._pushes.known, place)
            body = await read_body(request, self._settings.webhook_max_bytes)
            headers = dict(request.headers)
            answer = await self._look(self._pushes.take, place, headers, body)
            self.metrics.event("push", handled=answer["handled"])
            return JSONResponse(answer)
        except RefusedError as error:
            return refusal(error.status, str(error))
        except MissingReferenceError as error:
            return refusal(400, str(error))
        except (ApiError, httpx2.HTTPError) as error:
            log.warning("a push could not be handled now", error=repr(error))
            return refusal(503, "not now; deliver it again", retry_after=30)

    async def _act(self, known: Known, event_type: str, asset_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = {"received": True, "event_type": event_type, "handled": False}
        if asset_id:
            answer["asset_id"] = asset_id
        if not mux.is_handled(event_type, asset_id):
            return answer
        if self._waiting >= _MOST_WAITING:
            raise RefusedError(503, "too many events are waiting; deliver it again")
        answer["handled"] = True
        until = time.monotonic() + self._answer_seconds
        bound = structlog.contextvars.bound_contextvars(event=event_type, asset=asset_id)
        with bound:
            begun = self._submit(self._first, lambda: self._mux.begin(known, event_type, asset_id))
            try:
                deletion = await _within(begun, until)
            except TimeoutError:
                # Mux comes again; what could be begun by now need not wait for that.
                begun.add_done_callback(lambda late: self._go_on(known, asset_id, late))
                raise
            if deletion is not None:
                answer["deleted_objects"] = deletion.objects
                self.metrics.cascade_queued(1)
            busy = self._waiting > _BUSY
            rest = self._submit(
                self._workers if deletion is None else self._removers,
                lambda: self._finish(known, event_type, asset_id, deletion, busy),
            )
            try:
                more = await _within(rest, until)
                answer.update(more)
            except TimeoutError:
                log.info("answered before all was done")
            log.info("webhook", **answer)
        if deletion is not None and deletion.failed is not None:
            raise deletion.failed
        return answer

    def _go_on(self, known: Known, asset_id: str, begun: Future[Deletion | None]) -> None:
        if begun.exception() is None and (deletion := begun.result()) is not None:
            self._submit(
                self._removers,
                lambda: self._finish(known, mux.DELETED, asset_id, deletion, busy=False),
            )

    def _finish(
        self,
        known: Known,
        event_type: str,
        asset_id: str,
        deletion: Deletion | None,
        busy: bool,
    ) -> dict[str, Any]:
        if deletion is not None:
            self.metrics.cascade_queued(-1)
        try:
            return self._mux.finish(known, event_type, asset_id, deletion, busy=busy)
        except (IndexUnavailableError, ApiError, httpx2.HTTPError) as error:
            if deletion is None:
                raise
            # The tombstones are there: it is tried again from them.
            log.warning("a removal broke off", asset=asset_id, error=str(error))
            return {}

    def _submit(self, pool: ThreadPoolExecutor, call: Callable[[], T]) -> Future[T]:
        with self._lock:
            self._waiting += 1
        self.metrics.queued(1)

        def begun() -> T:
            self.metrics.queued(-1)
            return call()

        future = pool.submit(begun)
        future.add_done_callback(self._done)
        return future

    def _done(self, future: Future[Any]) -> None:
        with self._lock:
            self._waiting -= 1
        error = None if future.cancelled() else future.exception()
        if error is not None:
            log.warning("the work of a webhook failed", error=str(error))

    async def _look(self, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._lookers, call, *arguments)

    def _resume(self) -> None:
        while True:
            try:
                if not self.ready:
                    self._deletions.warm()
                    self.ready = True
                count = self._deletions.resume(self._directory.connections())
                if count:
                    log.info("removals were finished that had broken off", objects=count)
            except Exception as error:  # noqa: BLE001 - this thread is the only one there is
                log.warning("removals cannot be looked for now", error=repr(error))
            if self._stopping.wait(RESUME_SECONDS if self.ready else 5.0):
                return


async def _within(future: Future[T], until: float) -> T:
    """The result, if it comes in time; otherwise it goes on.

    Raises:
        TimeoutError: it did not.
    """
    wrapped = asyncio.wrap_future(future)
    return await asyncio.wait_for(asyncio.shield(wrapped), max(until - time.monotonic(), 0.0))


async def read_body(request: Request, most: int) -> bytes:
    """The raw body, as it is signed.

    Raises:
        RefusedError: 413 beyond `most` bytes, 408 when it does not come within some seconds.
    """
    told = request.headers.get("content-length", "0")
    if told.isdecimal() and int(told) > most:
        raise RefusedError(413, f"the payload is over {most} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > most:
                    raise RefusedError(413, f"the payload is over {most} bytes")
    except (TimeoutError, ClientDisconnect) as error:
        raise RefusedError(408, "the payload did not come to its end") from error
    return bytes(body)


def refusal(status: int, message: str, *, retry_after: int | None = None) -> JSONResponse:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = {"received": False, "error": message}
    return JSONResponse(body, status_code=status, headers=headers)


def create_app(gateway: Gateway) -> Starlette:
    """The application; it starts and stops the gateway with itself."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        gateway.start()
        yield
        await asyncio.to_thread(gateway.stop)

    async def healthy(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(request: Request) -> Response:
        told = "ready" if gateway.ready else "Weaviate was not reached yet"
        return JSONResponse({"status": told}, status_code=200 if gateway.ready else 503)

    return Starlette(
        routes=[
            Route("/healthz", healthy),
            Route("/readyz", ready),
            Route(
                "/v1/webhooks/git/{kube_namespace}/{pipeline}",
                gateway.git_webhook,
                methods=["POST"],
            ),
            Route("/v1/webhooks/mux/{connection_id}", gateway.mux_webhook, methods=["POST"]),
        ],
        middleware=[measured(gateway.metrics)],
        lifespan=lifespan,
    )
