"""Connections and their Secrets, remembered for some seconds: what every request needs.

A flood of requests with unknown ids or bad signatures must not become a flood at the API server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog
from lightkube import Client
from pydantic import ValidationError

from telecine.api.connection import ConnectionSpec
from telecine.execution.resolve import (
    MissingReferenceError,
    cluster_lookup,
    list_all,
    read_secret,
)
from telecine.planning.identity import connection_id

log = structlog.get_logger(__name__)
_FRESH_SECONDS = 10.0
_SOONEST_SECONDS = 1.0
"""How soon something is asked for again that was just asked for."""


@dataclass(frozen=True)
class Known:
    """A Connection as it was last seen."""

    kube_namespace: str
    name: str
    spec: ConnectionSpec


@dataclass
class _Held:
    at: float
    values: Mapping[str, str] = field(repr=False)


class Directory:
    """Thread-safe. All methods may raise ApiError and httpx2.HTTPError."""

    def __init__(
        self, client: Client, where: str = "*", clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`where` is the Kubernetes namespace looked into, `*` for all."""
        self._client, self._where, self._clock = client, where, clock
        self._lock = threading.Lock()
        self._listed = float("-inf")
        self._known: dict[str, Known] = {}
        self._secrets: dict[tuple[str, str], _Held] = {}

    def connection(self, ident: str) -> Known | None:
        """The Connection of an id, as `status.connectionId` shows it."""
        with self._lock:
            age = self._clock() - self._listed
            if age > _FRESH_SECONDS or (ident not in self._known and age > _SOONEST_SECONDS):
                self._list()
            return self._known.get(ident)

    def connections(self) -> list[Known]:
        """All of them, at most some seconds old."""
        with self._lock:
            if self._clock() - self._listed > _FRESH_SECONDS:
                self._list()
            return list(self._known.values())

    def secret(self, known: Known, *, newer_than: float = _FRESH_SECONDS) -> Mapping[str, str]:
        """The Connection's decoded Secret, at most so many seconds old; empty where it names none.

        Raises:
            MissingReferenceError: the Secret does not exist.
        """
        reference = known.spec.secret_ref
        if reference is None:
            return {}
        key = (known.kube_namespace, reference.name)
        with self._lock:
            held = self._secrets.get(key)
            oldest = self._clock() - max(newer_than, _SOONEST_SECONDS)
            if held is None or held.at < oldest:
                try:
                    values = read_secret(
                        cluster_lookup(self._client), known.kube_namespace, known.spec
                    )
                except MissingReferenceError:
                    self._secrets.pop(key, None)
                    raise
                held = self._secrets[key] = _Held(self._clock(), values)
            return held.values

    def _list(self) -> None:
        found: dict[str, Known] = {}
        for body in list_all(self._client, "Connection", self._where):
            metadata = body["metadata"]
            namespace, name = metadata["namespace"], metadata["name"]
            try:
                spec = ConnectionSpec.model_validate(body["spec"])
            except ValidationError as error:
                # One that an older version took must not cost the others their webhooks.
                log.warning("a Connection cannot be read", connection=name, error=str(error))
                continue
            found[connection_id(namespace, name)] = Known(namespace, name, spec)
        # Only when it came to its end: until then what was known still holds.
        self._known = found
        self._listed = self._clock()
