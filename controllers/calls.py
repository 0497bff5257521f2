"""Which runs' calls to their source are in the operator's counters: each run's once."""

from __future__ import annotations

import threading
from typing import Any

from telecine.api.connection import Provider
from telecine.api.sync import RunStatus
from telecine.execution.metrics import Source, SourceCounters

from .history import totals
from .store import Key, Store

Body = dict[str, Any]


class RunCalls:
    """Adds what runs asked of their sources as they end. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store, self._mutex = store, threading.Lock()
        self.counters = SourceCounters()
        self._counted: dict[Key, tuple[str, str]] = {}
        """Of each Sync its uid and the last run that was counted: a run is closed again when its
        end could not be written."""

    def count(self, body: Body, run: RunStatus) -> None:
        """Counts a run of a Sync that ends now; again does nothing."""
        metadata, spec = body["metadata"], body["spec"]
        key = Key("Sync", metadata["namespace"], metadata["name"])
        connection = self._store.get(
            Key("Connection", key.namespace, spec["connectionRef"]["name"])
        )
        if connection is None:
            return
        with self._mutex:
            if self._counted.get(key) == (metadata["uid"], run.id):
                return
            self._counted[key] = (metadata["uid"], run.id)
        source = Source(
            Provider(connection["spec"]["provider"]), key.namespace, connection["metadata"]["name"]
        )
        self.counters.add(source, totals(run).calls)

    def forget(self, key: Key) -> None:
        """A Sync is gone."""
        with self._mutex:
            self._counted.pop(key, None)
