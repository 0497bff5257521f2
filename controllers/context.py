"""What every reconciler is given: the cluster, the cache, the index, and how to be called again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from lightkube import Client
from telecine.api.base import Phase
from telecine.api.namespace import NamespaceSpec
from telecine.api.sync import RunStatus
from telecine.execution.executor import Executor
from telecine.execution.pool import IndexPool
from telecine.execution.resolve import (
    MissingReferenceError,
    ResolvedNamespace,
    ResolvedSync,
    cluster_lookup,
    decode_secret,
    namespace_from,
)
from telecine.index.client import WeaviateSettings
from telecine.index.index import Index
from telecine.settings import Settings

from .calls import RunCalls
from .claims import Claims
from .queue import FRESH, WorkQueue
from .redaction import Redactor
from .status import Writer
from .store import SECRET, Key, Store

Body = dict[str, Any]


class Demands:
    """What somebody asked a controller to do at its next look, beyond what it does anyway.

    A Sync that failed asks its Connection for a check; a run that ended asks its Bucket and
    Namespace for new counts. Counts are also due now and then, spread over time.
    """

    def __init__(self, every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._every, self._clock = every, clock
        self._mutex = threading.Lock()
        self._asked: set[Key] = set()
        self._starved: set[Key] = set()
        self._next: dict[Key, float] = {}

    def ask(self, key: Key) -> None:
        with self._mutex:
            self._asked.add(key)

    def asked(self, key: Key) -> bool:
        with self._mutex:
            return key in self._asked

    def take(self, key: Key) -> bool:
        """Whether it was asked; whoever takes it does it."""
        with self._mutex:
            if key not in self._asked:
                return False
            self._asked.discard(key)
            return True

    def counts_due(self, key: Key, known: bool) -> bool:
        """Whether the counts are to be read; at the start known ones may wait their turn."""
        with self._mutex:
            if known and key not in self._next:
                self._next[key] = self._clock() + self._every * random.random()
            return key in self._asked or self._next.get(key, 0.0) <= self._clock()

    def counted(self, key: Key) -> None:
        with self._mutex:
            self._asked.discard(key)
            self._next[key] = self._clock() + self._every * random.uniform(0.9, 1.1)

    def counts_in(self, key: Key) -> float:
        """Seconds until the counts are due again."""
        with self._mutex:
            return max(self._next.get(key, 0.0) - self._clock(), 0.0)

    def want_worker(self, key: Key) -> None:
        """Notes a Sync that found no free worker: it looks again when one ends."""
        with self._mutex:
            self._starved.add(key)

    def take_starved(self) -> set[Key]:
        with self._mutex:
            starved, self._starved = self._starved, set()
            return starved

    def forget(self, key: Key) -> None:
        with self._mutex:
            self._asked.discard(key)
            self._starved.discard(key)
            self._next.pop(key, None)


@dataclass
class Context:
    """One per operator; used from several threads."""

    client: Client
    store: Store
    queue: WorkQueue[Key]
    settings: Settings
    writer: Writer
    pool: IndexPool
    executor: Executor
    demands: Demands
    stop_runs: Callable[[Context, str, str], None]
    """Ends the workers of a Sync (Kubernetes namespace, name) and keeps them from writing on."""
    claims: Claims
    calls: RunCalls
    redactor: Redactor = field(default_factory=Redactor)
    _resolved: dict[Key, ResolvedNamespace] = field(default_factory=dict, repr=False)
    """Namespaces with a Weaviate of their own, as they were last resolved."""

    def lookup(self, kind: str, namespace: str, name: str) -> Body:
        """A resource from the store, a Secret from the API server.

        What is in a Secret is kept out of every message of this reconcile.
        Raises MissingReferenceError, ApiError, httpx2.HTTPError.
        """
        if kind != SECRET:
            return self.store.lookup(kind, namespace, name)
        body = cluster_lookup(self.client)(SECRET, namespace, name)
        self.redactor.learn(decode_secret(body).values())
        return body

    def secret(self, namespace: str, name: str) -> tuple[dict[str, str], str]:
        """The decoded Secret and its resourceVersion. Raises as `lookup`."""
        body = self.lookup(SECRET, namespace, name)
        return decode_secret(body), str(body["metadata"]["resourceVersion"])

    def namespace(self, kube_namespace: str, name: str) -> ResolvedNamespace:
        """A Namespace with its tenant and where that is. Raises as `lookup`."""
        resolved = namespace_from(self.lookup, kube_namespace, name, self.settings)
        if resolved.spec.weaviate and resolved.spec.weaviate.connection_ref:
            self._resolved[Key("Namespace", kube_namespace, name)] = resolved
        return resolved

    def namespace_for_cleanup(self, kube_namespace: str, name: str) -> ResolvedNamespace:
        """As `namespace`; where its Connection or Secret went first, as it was before that.

        Deletions come in any order, and a tenant must not be left behind for it.
        """
        try:
            return self.namespace(kube_namespace, name)
        except MissingReferenceError as error:
            known = self._resolved.get(Key("Namespace", kube_namespace, name))
            if error.kind == "Namespace" or known is None:
                raise
            body = self.lookup("Namespace", kube_namespace, name)
            return replace(known, spec=NamespaceSpec.model_validate(body["spec"]))

    def forget(self, key: Key) -> None:
        """A resource is gone."""
        self.queue.discard(key)
        self.demands.forget(key)
        self.calls.forget(key)
        self._resolved.pop(key, None)

    def index(self, settings: WeaviateSettings) -> AbstractContextManager[Index]:
        """A shared connection for a `with` block. Raises IndexUnavailableError."""
        self.redactor.learn([settings.api_key or ""])
        return self.pool.use(settings)

    def ask(self, key: Key) -> None:
        """Asks a controller for a look now, and for the check or counts that it puts off."""
        self.demands.ask(key)
        self.queue.add(key, 0.0, FRESH)

    def report_failure(self, connection: Key) -> None:
        """A Connection failed in use: it is checked now, and the check counts for its breaker."""
        self.ask(connection)

    def run_closed(self, resolved: ResolvedSync, run: RunStatus) -> None:
        """A run is over: counts are read anew, and a failed one has its Connection checked."""
        namespace = resolved.kube_namespace
        self.ask(Key("Bucket", namespace, resolved.bucket_name))
        self.ask(Key("Namespace", namespace, resolved.namespace_name))
        if run.phase is Phase.FAILED:
            self.report_failure(Key("Connection", namespace, resolved.connection_name))
