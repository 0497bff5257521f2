"""Pushes to Git repositories: `POST /v1/webhooks/git/{kube_namespace}/{pipeline}`.

A push asks the Pipeline, and the others of its Kubernetes namespace whose code is in the same
repository with the same Secret, to look at it now instead of when its polling is due.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from lightkube import Client
from pydantic import ValidationError

from telecine.api.pipeline import GitSource, PipelineSpec
from telecine.execution.resolve import cluster_lookup, decode_secret, list_all
from telecine.gateway.mux import RefusedError
from telecine.gateway.requests import Requests, Target
from telecine.pipelines.webhook import PushEvent, WebhookError, same_repository, verify

log = structlog.get_logger(__name__)
SECRET_KEY = "webhook_secret"
_FRESH_SECONDS = 10.0
_SOONEST_SECONDS = 1.0
Place = tuple[str, str]
"""Kubernetes namespace and name of a Pipeline."""


@dataclass(frozen=True)
class _Held:
    at: float
    values: Mapping[str, str] = field(repr=False)


class Pushes:
    """Thread-safe. Whatever comes, Pipelines and each Secret are read once a second at most."""

    def __init__(
        self,
        client: Client,
        requests: Requests,
        where: str = "*",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._requests, self._where, self._clock = client, requests, where, clock
        self._lock = threading.Lock()
        self._listed = float("-inf")
        self._sources: dict[Place, GitSource] = {}
        self._secrets: dict[Place, _Held] = {}

    def known(self, place: Place) -> GitSource:
        """Where a Pipeline's code is.

        Raises:
            RefusedError: 404, there is no such Pipeline with code in Git.
            ApiError, httpx2.HTTPError: they cannot be asked for.
        """
        with self._lock:
            age = self._clock() - self._listed
            if age > _FRESH_SECONDS or (place not in self._sources and age > _SOONEST_SECONDS):
                self._list()
            found = self._sources.get(place)
        if found is None:
            raise RefusedError(404, "there is no such Pipeline with code in Git")
        return found

    def take(self, place: Place, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Verifies a delivery and asks for what follows from it; the answer's body.

        Raises:
            RefusedError: 400, 401 or 404.
            ApiError, httpx2.HTTPError, MissingReferenceError: not now.
        """
        source = self.known(place)
        secret = self._secret(place, source).get(SECRET_KEY)
        if not secret:
            raise RefusedError(401, f"the Pipeline's git.secretRef has no key {SECRET_KEY}")
        try:
            event = verify(headers, body, secret)
        except WebhookError as error:
            raise RefusedError(400 if error.reason == "malformed" else 401, str(error)) from error
        if event is None:
            return {"received": True, "handled": False}
        if not same_repository(source.url, event):
            raise RefusedError(400, "the push is to another repository than the Pipeline's git.url")
        asked = sorted(name for name in self._meant(place, source, event))
        self._requests.ask(Target(place[0], name, "Pipeline") for name in asked)
        log.info("a push", ref=event.ref, commit=event.commit, pipelines=asked)
        return {"received": True, "handled": bool(asked), "ref": event.ref, "pipelines": asked}

    def _meant(self, place: Place, source: GitSource, event: PushEvent) -> list[str]:
        with self._lock:
            everyone = dict(self._sources)
        return [
            name
            for (namespace, name), other in everyone.items()
            if namespace == place[0]
            and other.secret_ref == source.secret_ref
            and same_repository(other.url, event)
            and event.ref in (other.ref, f"refs/heads/{other.ref}", f"refs/tags/{other.ref}")
        ]

    def _secret(self, place: Place, source: GitSource) -> Mapping[str, str]:
        if source.secret_ref is None:
            return {}
        key = (place[0], source.secret_ref.name)
        with self._lock:
            held = self._secrets.get(key)
            if held is None or held.at < self._clock() - _SOONEST_SECONDS:
                body = cluster_lookup(self._client)("Secret", *key)
                held = self._secrets[key] = _Held(self._clock(), decode_secret(body))
            return held.values

    def _list(self) -> None:
        found: dict[Place, GitSource] = {}
        for body in list_all(self._client, "Pipeline", self._where):
            metadata = body["metadata"]
            try:
                spec = PipelineSpec.model_validate(body["spec"])
            except ValidationError as error:
                log.warning("a Pipeline cannot be read", name=metadata["name"], error=str(error))
                continue
            if spec.git is not None:
                found[metadata["namespace"], metadata["name"]] = spec.git
        self._sources, self._listed = found, self._clock()
