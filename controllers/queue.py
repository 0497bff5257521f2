"""A keyed work queue: due times, two priorities, and never two workers on one key.

It knows nothing of Kubernetes, and takes its clock from outside, so that every rule of it is
tested without waiting.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Callable, Hashable
from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

import structlog

log = structlog.get_logger(__name__)

K = TypeVar("K", bound=Hashable)
_STALE = 64
"""Overtaken entries that a heap may hold beyond the valid ones before it is rebuilt."""


class Priority(IntEnum):
    """New and changed resources go before routine looks at unchanged ones."""

    FRESH = 0
    ROUTINE = 1


FRESH = Priority.FRESH
ROUTINE = Priority.ROUTINE


class _Entry(NamedTuple):
    due: float
    priority: Priority
    ticket: int
    """Grows with each entry: tells a key's valid entry from overtaken ones, and keeps order."""


class WorkQueue(Generic[K]):
    """Keys that wait until they are due; thread-safe, O(log n) for each call.

    A key is in the queue at most once. What is added while the key is worked on comes out again
    afterwards. Times are seconds of `clock`.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        base: float = 5.0,
        cap: float = 300.0,
        jitter: float = 0.1,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`base` and `cap` bound the backoff, which is made longer by up to `jitter` of it."""
        self._clock, self._base, self._cap = clock, base, cap
        self._jitter, self._chance = jitter, chance
        self._condition = threading.Condition()
        self._tickets = 0
        self._waiting: dict[K, _Entry] = {}
        self._running: dict[K, _Entry | None] = {}
        """Keys worked on, with what was added meanwhile."""
        self._later: list[tuple[float, int, K]] = []
        self._ready: list[tuple[Priority, float, int, K]] = []
        self._failures: dict[K, int] = {}
        self._closed = False

    def add(self, key: K, after: float = 0.0, priority: Priority = FRESH) -> None:
        """Makes the key due in `after` seconds; of several times the earliest counts."""
        with self._condition:
            self._tickets += 1
            entry = _Entry(self._clock() + max(after, 0.0), priority, self._tickets)
            if key in self._running:
                self._running[key] = _merged(self._running[key], entry)
                return
            merged = _merged(self._waiting.get(key), entry)
            if merged is not self._waiting.get(key):
                self._put(key, merged)

    def retry(self, key: K) -> float:
        """Makes the key due after its backoff, which doubles with each call; returns seconds."""
        with self._condition:
            failures = self._failures.get(key, 0) + 1
            self._failures[key] = failures
        delay = min(self._cap, self._base * 2.0 ** min(failures - 1, 32))
        delay *= 1 + self._jitter * self._chance()
        self.add(key, delay, ROUTINE)
        return delay

    def forget(self, key: K) -> None:
        """Ends the key's backoff: its next failure counts as the first."""
        with self._condition:
            self._failures.pop(key, None)

    def discard(self, key: K) -> None:
        """Takes the key out: what it stood for is gone."""
        with self._condition:
            self._failures.pop(key, None)
            self._waiting.pop(key, None)
            if key in self._running:
                self._running[key] = None

    def get(self, timeout: float | None = None) -> K | None:
        """The next key that is due, to be given back with `done`; None: time is up, or closed."""
        until = None if timeout is None else time.monotonic() + timeout
        with self._condition:
            while not self._closed:
                key = self._next()
                if key is not None:
                    return key
                pause = self._pause()
                if until is not None:
                    left = until - time.monotonic()
                    if left <= 0:
                        return None
                    pause = left if pause is None else min(pause, left)
                self._condition.wait(pause)
            return None

    def done(self, key: K) -> None:
        """The key is not worked on any more, and may come out again."""
        with self._condition:
            again = self._running.pop(key)
            if again is not None:
                self._put(key, again)

    def close(self) -> None:
        """Nothing comes out any more; whoever waits in `get` returns."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def __len__(self) -> int:
        """Keys waiting or being worked on."""
        with self._condition:
            return len(self._waiting) + len(self._running)

    def _put(self, key: K, entry: _Entry) -> None:
        self._waiting[key] = entry
        if entry.due <= self._clock():
            heapq.heappush(self._ready, (entry.priority, entry.due, entry.ticket, key))
        else:
            heapq.heappush(self._later, (entry.due, entry.ticket, key))
        self._compact()
        self._condition.notify()

    def _next(self) -> K | None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, ticket, key = heapq.heappop(self._later)
            if self._valid(key, ticket):
                heapq.heappush(self._ready, (self._waiting[key].priority, due, ticket, key))
        while self._ready:
            _, _, ticket, key = heapq.heappop(self._ready)
            if self._valid(key, ticket):
                del self._waiting[key]
                self._running[key] = None
                if self._ready:
                    self._condition.notify()
                return key
        return None

    def _pause(self) -> float | None:
        """Seconds until something can become due; None: not before something is added."""
        return max(self._later[0][0] - self._clock(), 0.0) if self._later else None

    def _valid(self, key: K, ticket: int) -> bool:
        entry = self._waiting.get(key)
        return entry is not None and entry.ticket == ticket

    def _compact(self) -> None:
        """Rebuilds the heaps when most of them is overtaken, so that they stay O(keys)."""
        if len(self._later) + len(self._ready) <= 2 * len(self._waiting) + _STALE:
            return
        self._later = [item for item in self._later if self._valid(item[2], item[1])]
        self._ready = [item for item in self._ready if self._valid(item[3], item[2])]
        heapq.heapify(self._later)
        heapq.heapify(self._ready)


def _merged(old: _Entry | None, new: _Entry) -> _Entry:
    """The earlier due time and the higher priority; `old` itself when `new` adds nothing."""
    if old is None:
        return new
    if new.due >= old.due and new.priority >= old.priority:
        return old
    return _Entry(min(old.due, new.due), min(old.priority, new.priority), new.ticket)


def run_workers(
    queue: WorkQueue[K], reconcile: Callable[[K], None], count: int
) -> list[threading.Thread]:
    """Starts threads that work on the queue's keys until it is closed.

    `reconcile` decides when its key comes back. When it raises, the key backs off.
    """

    def work() -> None:
        while (key := queue.get()) is not None:
            try:
                reconcile(key)
            except Exception:
                log.exception("a reconcile failed unforeseen", key=str(key))
                queue.retry(key)
            finally:
                queue.done(key)

    threads = [
        threading.Thread(target=work, name=f"reconcile-{number}", daemon=True)
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    return threads
