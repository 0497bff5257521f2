"""One look at one resource: its controller's verdict, its status, and when the next look is due.

Also the life of its finalizer: on when the resource becomes ready, off when its cleanup is done,
or when that could not be done in time.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import structlog
from lightkube import ApiError
from telecine.api.base import FINALIZER

from .context import Context
from .queue import FRESH, ROUTINE
from .result import Outcome, StalledError, WaitingError, from_error
from .store import Key

log = structlog.get_logger(__name__)

Body = dict[str, Any]
_EXPECTED = (StalledError, WaitingError)


def _nothing(ctx: Context, body: Body) -> None:
    return


def _nothing_left(ctx: Context, body: Body) -> str:
    return "nothing is left behind"


@dataclass(frozen=True)
class Controller:
    """The controller of one kind, as functions of the context and the resource's body."""

    kind: str
    reconcile: Callable[[Context, Body], Outcome]
    """Brings about what the spec says; may raise any exception."""
    finalize: Callable[[Context, Body], None] = _nothing
    """Cleans up before the resource goes. What it raises has it called again, until the
    operator's `cleanup_seconds` are over."""
    leftovers: Callable[[Context, Body], str] = _nothing_left
    """For people, when the cleanup was given up: what is left, and what to do about it."""
    finalizer: bool = False
    """Whether a resource that was ready needs `finalize`."""
    acknowledges: bool = True
    """Whether each look answers the annotation requestedAt."""


def is_outage(error: Exception) -> bool:
    """Whether the API server is at fault, so that no condition could be written either."""
    if isinstance(error, ApiError):
        return error.status.code in (None, 409, 429) or error.status.code >= 500
    return isinstance(error, httpx2.HTTPError)


class Dispatcher:
    """Runs the controllers on the keys of the queue."""

    def __init__(self, ctx: Context, controllers: list[Controller]) -> None:
        self._ctx = ctx
        self._controllers = {controller.kind: controller for controller in controllers}
        self._cleanups: dict[str, float] = {}
        """When the cleanup of a resource (by uid) first failed."""

    def __call__(self, key: Key) -> None:
        ctx, controller = self._ctx, self._controllers[key.kind]
        ctx.redactor.begin()
        body = ctx.store.get(key)
        if body is None:
            ctx.forget(key)
            return
        try:
            if body["metadata"].get("deletionTimestamp"):
                self._delete(key, controller, body)
            else:
                self._reconcile(key, controller, body)
        except (ApiError, httpx2.HTTPError) as error:
            delay = ctx.queue.retry(key)
            log.warning(
                "the API server did not take it", key=str(key), error=str(error), again_in=delay
            )

    def _reconcile(self, key: Key, controller: Controller, body: Body) -> None:
        ctx = self._ctx
        try:
            outcome = controller.reconcile(ctx, body)
        except Exception as error:
            if is_outage(error):
                raise
            outcome = self._failed(key, error)
        body = ctx.store.get(key) or body
        if controller.finalizer and (outcome.hold or outcome.ready is True):
            body = ctx.writer.set_finalizer(key.kind, body, True)
        ctx.writer.write(key.kind, body, outcome, acknowledge=controller.acknowledges)
        if outcome.retry:
            ctx.queue.retry(key)
            return
        ctx.queue.forget(key)
        if outcome.requeue_after is not None:
            soon = outcome.requeue_after <= 0
            ctx.queue.add(key, outcome.requeue_after, FRESH if soon else ROUTINE)

    def _failed(self, key: Key, error: Exception) -> Outcome:
        clean = self._ctx.redactor.clean
        outcome = from_error(error)
        outcome.message = clean(outcome.message)
        if outcome.reason == "ReconcileError":
            trace = self._ctx.redactor.clean_lines("".join(traceback.format_exception(error)))
            log.error("a reconcile failed", key=str(key), trace=trace)
        elif not isinstance(error, _EXPECTED):
            log.warning("a reconcile failed", key=str(key), error=outcome.message)
        return outcome

    def _delete(self, key: Key, controller: Controller, body: Body) -> None:
        ctx = self._ctx
        if FINALIZER not in (body["metadata"].get("finalizers") or []):
            return
        try:
            controller.finalize(ctx, body)
        except Exception as error:  # noqa: BLE001 - whatever it is, the deletion must end
            self._cleanup_failed(key, controller, body, error)
            return
        log.info("cleaned up", key=str(key))
        self._release(key, body)

    def _cleanup_failed(
        self, key: Key, controller: Controller, body: Body, error: Exception
    ) -> None:
        """Tries again until the time for it is over; then lets the resource go, and says so."""
        ctx = self._ctx
        outcome = self._failed(key, error)
        left = self._time_left(body)
        if left > 0:
            message = f"the deletion waits for its cleanup: {outcome.message}"
            waiting = Outcome(None, "Deleting", message, False, reconciling=True)
            ctx.writer.write(key.kind, body, waiting, acknowledge=False)
            if isinstance(error, WaitingError) and error.after is not None:
                ctx.queue.add(key, error.after, ROUTINE)
            else:
                ctx.queue.retry(key)
            ctx.queue.add(key, left, ROUTINE)
            return
        said = (
            f"the cleanup of {key.kind} {key.name} was given up after "
            f"{ctx.settings.cleanup_seconds} s ({outcome.message}): "
            f"{ctx.redactor.clean(controller.leftovers(ctx, body))}"
        )
        log.warning("a cleanup was skipped", key=str(key), message=said)
        ctx.writer.event(key.kind, body, "CleanupSkipped", said, warning=True)
        self._release(key, body)

    def _release(self, key: Key, body: Body) -> None:
        self._ctx.writer.set_finalizer(key.kind, body, False)
        self._ctx.queue.forget(key)
        self._cleanups.pop(body["metadata"]["uid"], None)

    def _time_left(self, body: Body) -> float:
        """Seconds in which the cleanup may still be tried, from its first failure on.

        Time in which no operator ran does not count: it may have been down with Weaviate.
        """
        first = self._cleanups.setdefault(body["metadata"]["uid"], time.monotonic())
        return self._ctx.settings.cleanup_seconds - (time.monotonic() - first)
