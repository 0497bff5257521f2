"""Asks for runs of Syncs and new counts of Buckets, many hints at once becoming one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from lightkube import ApiError, Client

from telecine.api.base import REQUESTED_AT
from telecine.execution.kube import annotate

log = structlog.get_logger(__name__)
APART_SECONDS = 5.0
"""Hints about one resource that come closer together become one."""


class Target(NamedTuple):
    """A resource that is to be looked at: a Sync runs, a Bucket counts."""

    kube_namespace: str
    name: str
    kind: str = "Sync"


class Requests:
    """A first hint is passed on at once, what follows soon after together, and nothing is lost:
    the annotation stays until a run that began after it has ended."""

    def __init__(
        self,
        client: Client,
        *,
        apart: float = APART_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._apart, self._clock = client, apart, clock
        self._changed = threading.Condition()
        self._last: dict[Target, float] = {}
        self._due: dict[Target, float] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="requests", daemon=True)
        self._thread.start()

    def ask(self, targets: Iterable[Target]) -> None:
        """Has them looked at soon. Returns at once."""
        with self._changed:
            now = self._clock()
            for target in targets:
                at = max(now, self._last.get(target, float("-inf")) + self._apart)
                self._due.setdefault(target, at)
            self._changed.notify()

    def close(self) -> None:
        """Passes on what waits, and ends."""
        with self._changed:
            self._closed = True
            self._due = dict.fromkeys(self._due, float("-inf"))
            self._changed.notify()
        self._thread.join(30.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._ready():
                    if self._closed:
                        return
                    self._changed.wait(self._until_next())
                going = self._ready()
                for target in going:
                    del self._due[target]
                    self._last[target] = self._clock()
            for target in going:
                self._pass_on(target)

    def _ready(self) -> list[Target]:
        now = self._clock()
        return [target for target, at in self._due.items() if at <= now]

    def _until_next(self) -> float | None:
        if not self._due:
            return None
        return max(min(self._due.values()) - self._clock(), 0.01)

    def _pass_on(self, target: Target) -> None:
        now = datetime.now(UTC).isoformat()
        try:
            annotate(
                self._client, target.kind, target.kube_namespace, target.name, {REQUESTED_AT: now}
            )
        except ApiError as error:
            if error.status.code == 404:
                return
            self._again(target, error)
        except Exception as error:  # noqa: BLE001 - this thread is the only one there is
            # lightkube raises KeyError for an answer without a content type, of a proxy perhaps.
            self._again(target, error)

    def _again(self, target: Target, error: Exception) -> None:
        log.warning("a look could not be asked for", resource=target.name, error=str(error))
        with self._changed:
            if not self._closed:
                self._due.setdefault(target, self._clock() + self._apart)
