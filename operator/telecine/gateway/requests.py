"""Asks for runs of Syncs, many hints at once becoming one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import httpx2
import structlog
from lightkube import ApiError, Client

from telecine.api.base import REQUESTED_AT
from telecine.execution.kube import annotate

log = structlog.get_logger(__name__)
APART_SECONDS = 5.0
"""Hints for one Sync that come closer together share a run."""


class SyncName(NamedTuple):
    kube_namespace: str
    name: str


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
        self._last: dict[SyncName, float] = {}
        self._due: dict[SyncName, float] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="requests", daemon=True)
        self._thread.start()

    def ask(self, syncs: Iterable[SyncName]) -> None:
        """Has the Syncs run soon. Returns at once."""
        with self._changed:
            now = self._clock()
            for sync in syncs:
                at = max(now, self._last.get(sync, float("-inf")) + self._apart)
                self._due.setdefault(sync, at)
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
                for sync in going:
                    del self._due[sync]
                    self._last[sync] = self._clock()
            for sync in going:
                self._pass_on(sync)

    def _ready(self) -> list[SyncName]:
        now = self._clock()
        return [sync for sync, at in self._due.items() if at <= now]

    def _until_next(self) -> float | None:
        if not self._due:
            return None
        return max(min(self._due.values()) - self._clock(), 0.01)

    def _pass_on(self, sync: SyncName) -> None:
        now = datetime.now(UTC).isoformat()
        try:
            annotate(self._client, "Sync", sync.kube_namespace, sync.name, {REQUESTED_AT: now})
        except ApiError as error:
            if error.status.code == 404:
                return
            self._again(sync, error)
        except httpx2.HTTPError as error:
            self._again(sync, error)

    def _again(self, sync: SyncName, error: Exception) -> None:
        log.warning("a run could not be asked for", sync=sync.name, error=str(error))
        with self._changed:
            if not self._closed:
                self._due.setdefault(sync, self._clock() + self._apart)
