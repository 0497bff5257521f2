"""Open connections to Weaviate, shared by all reconciles and opened anew after a failure."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from telecine.index.client import (
    IndexAbsentError,
    IndexUnavailableError,
    WeaviateSettings,
    open_index,
)
from telecine.index.index import Index

_MOST = 16
"""Weaviates kept connected; beyond it the longest unused is closed."""
_PAUSE = 2.0
"""Seconds for which a Weaviate that could not be reached is not tried again, so that thousands
of resources do not wait for the same timeout one after the other."""


@dataclass
class _Shared:
    index: Index
    users: int = 0
    dropped: bool = False


@dataclass
class _Slot:
    """One Weaviate: the connection, or when and why there is none."""

    mutex: threading.Lock = field(default_factory=threading.Lock)
    shared: _Shared | None = None
    error: IndexUnavailableError | None = None
    until: float = 0.0


class IndexPool:
    """Thread-safe. A connection is closed when its last user has left it."""

    def __init__(
        self,
        opener: Callable[[WeaviateSettings], Index] = open_index,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open, self._clock = opener, clock
        self._mutex = threading.Lock()
        self._slots: OrderedDict[WeaviateSettings, _Slot] = OrderedDict()

    @contextmanager
    def use(self, settings: WeaviateSettings) -> Iterator[Index]:
        """The Index of a Weaviate for the block, which must not close it.

        Raises:
            IndexUnavailableError: it cannot be reached, or could not be a moment ago.
        """
        slot = self._slot(settings)
        shared = self._enter(slot, settings)
        try:
            yield shared.index
        except IndexAbsentError:
            raise
        except IndexUnavailableError:
            self._drop(slot, shared)
            raise
        finally:
            self._leave(shared)

    def close(self) -> None:
        with self._mutex:
            slots = list(self._slots.values())
            self._slots.clear()
        for slot in slots:
            self._retire(slot)

    def _slot(self, settings: WeaviateSettings) -> _Slot:
        retired: list[_Slot] = []
        with self._mutex:
            slot = self._slots.setdefault(settings, _Slot())
            self._slots.move_to_end(settings)
            while len(self._slots) > _MOST:
                retired.append(self._slots.popitem(last=False)[1])
        for old in retired:
            self._retire(old)
        return slot

    def _enter(self, slot: _Slot, settings: WeaviateSettings) -> _Shared:
        with slot.mutex:
            if slot.shared is None:
                if slot.error is not None and self._clock() < slot.until:
                    raise IndexUnavailableError(str(slot.error), permanent=slot.error.permanent)
                try:
                    slot.shared = _Shared(self._open(settings))
                except IndexUnavailableError as error:
                    slot.error, slot.until = error, self._clock() + _PAUSE
                    raise
            with self._mutex:
                slot.shared.users += 1
            return slot.shared

    def _drop(self, slot: _Slot, shared: _Shared) -> None:
        """The next user opens a connection anew."""
        with slot.mutex:
            if slot.shared is shared:
                slot.shared = None
        with self._mutex:
            shared.dropped = True

    def _leave(self, shared: _Shared) -> None:
        with self._mutex:
            shared.users -= 1
            last = shared.dropped and shared.users == 0
        if last:
            shared.index.close()

    def _retire(self, slot: _Slot) -> None:
        with slot.mutex:
            shared, slot.shared = slot.shared, None
        if shared is None:
            return
        with self._mutex:
            shared.dropped = True
            unused = shared.users == 0
        if unused:
            shared.index.close()
