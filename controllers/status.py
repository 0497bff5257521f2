"""The one place that writes status, conditions, finalizers and Events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx2
import structlog
from lightkube import ApiError, Client
from lightkube.types import PatchType
from telecine.api.base import FINALIZER, REQUESTED_AT, Phase
from telecine.execution.kube import RESOURCES, emit_event

from .result import Outcome
from .store import Change, Store

log = structlog.get_logger(__name__)

Body = dict[str, Any]
MESSAGE_MAX = 1024
"""Characters of a condition's message."""


def stamp(time: datetime) -> str:
    """As Kubernetes writes times: RFC 3339, whole seconds, UTC."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def conditions(body: Mapping[str, Any], outcome: Outcome, now: datetime) -> list[dict[str, Any]]:
    """Ready always; Reconciling and Stalled only while true (kstatus)."""
    before = {c["type"]: c for c in (body.get("status") or {}).get("conditions") or []}
    if outcome.keep and before:
        wanted = {t: (c["status"], c["reason"], c.get("message", "")) for t, c in before.items()}
    else:
        wanted = _wanted(before, outcome)
    generation = body["metadata"].get("generation")
    made: list[dict[str, Any]] = []
    for name, (value, reason, message) in wanted.items():
        old = before.get(name)
        same = old is not None and old["status"] == value
        condition = {
            "type": name,
            "status": value,
            "reason": reason,
            "message": message[:MESSAGE_MAX],
            "lastTransitionTime": old["lastTransitionTime"] if old and same else stamp(now),
        }
        if generation is not None:
            condition["observedGeneration"] = generation
        made.append(condition)
    return made


def _wanted(
    before: Mapping[str, Mapping[str, Any]], outcome: Outcome
) -> dict[str, tuple[str, str, str]]:
    reason, message = outcome.reason or "Unknown", outcome.message
    ready = ("Unknown" if outcome.ready is None else str(outcome.ready), reason, message)
    old = before.get("Ready")
    if outcome.ready is None and old is not None:
        ready = (old["status"], old["reason"], old.get("message", ""))
    wanted = {"Ready": ready}
    if outcome.reconciling:
        wanted["Reconciling"] = ("True", reason, message)
    if outcome.stalled:
        wanted["Stalled"] = ("True", reason, message)
    return wanted


def desired(
    body: Mapping[str, Any], outcome: Outcome, now: datetime, *, acknowledge: bool = True
) -> dict[str, Any]:
    """The whole status that shall be, as fields to merge.

    With `acknowledge` the annotation requestedAt counts as handled; a Sync does that by itself,
    when the run that was asked for is over.
    """
    before = body.get("status") or {}
    fields: dict[str, Any] = {
        "phase": before.get("phase") or Phase.PENDING.value,
        "observedGeneration": body["metadata"].get("generation"),
        "conditions": conditions(body, outcome, now),
    }
    if outcome.phase is not None and not outcome.keep:
        fields["phase"] = outcome.phase.value
    requested = (body["metadata"].get("annotations") or {}).get(REQUESTED_AT)
    if acknowledge and requested is not None:
        fields["lastHandledReconcileAt"] = requested
    return fields | outcome.status


def reduced(current: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a JSON merge patch (RFC 7386) that would change something."""
    left: dict[str, Any] = {}
    for name, value in patch.items():
        if value is None:
            if name in current:
                left[name] = None
        elif isinstance(value, dict) and isinstance(current.get(name), dict):
            if inner := reduced(current[name], value):
                left[name] = inner
        elif name not in current or current[name] != value:
            left[name] = value
    return left


def transition(body: Mapping[str, Any], status: Mapping[str, Any], outcome: Outcome) -> bool:
    """Whether phase or reason become others, which is when an Event tells of it."""
    before = body.get("status") or {}
    if outcome.keep or not outcome.reason:
        return False
    reasons = {c["reason"] for c in before.get("conditions") or []}
    return before.get("phase") != status["phase"] or outcome.reason not in reasons


class Writer:
    """Writes to the API server, and takes its answers into the store at once."""

    def __init__(self, client: Client, store: Store, changed: Callable[[Change], None]) -> None:
        """`changed` is told what a write of ours means to others."""
        self._client, self._store, self._changed = client, store, changed

    def write(self, kind: str, body: Body, outcome: Outcome, *, acknowledge: bool = True) -> None:
        """Brings the status to the outcome; writes nothing when it says so already.

        Raises:
            ApiError, httpx2.HTTPError: the API server refused, or cannot be reached.
        """
        status = desired(body, outcome, datetime.now(UTC), acknowledge=acknowledge)
        patch = reduced(body.get("status") or {}, status)
        if not patch:
            return
        metadata = body["metadata"]
        try:
            answer = self._client.patch(
                RESOURCES[kind].Status,
                metadata["name"],
                # The uid keeps a status from a resource that has only the name in common.
                {"metadata": {"uid": metadata["uid"]}, "status": patch},
                namespace=metadata["namespace"],
                patch_type=PatchType.MERGE,
            )
        except ApiError as error:
            if error.status.code in (404, 409):
                log.info("a status came too late", kind=kind, name=metadata["name"])
                return
            raise
        self._took_in(kind, dict(answer))
        if transition(body, status, outcome):
            warning = outcome.warning or outcome.stalled or outcome.phase is Phase.FAILED
            self.event(kind, body, outcome.reason, outcome.message, warning=warning)

    def event(
        self, kind: str, body: Body, reason: str, message: str, *, warning: bool = False
    ) -> None:
        """Tells of something once; that it could not be told is only logged."""
        try:
            emit_event(self._client, kind, body, reason, message, warning=warning)
        except (ApiError, httpx2.HTTPError) as error:
            log.warning(
                "an Event could not be written",
                kind=kind,
                name=body["metadata"]["name"],
                reason=reason,
                error=str(error),
            )

    def set_finalizer(self, kind: str, body: Body, present: bool) -> Body:
        """Puts the finalizer on or takes it off; returns the body as it is then.

        Raises:
            ApiError: as of the API server; 409 when the resource changes all the time.
        """
        for attempt in range(5):
            metadata = body["metadata"]
            others = [f for f in metadata.get("finalizers") or [] if f != FINALIZER]
            wanted = [*others, FINALIZER] if present else others
            if wanted == (metadata.get("finalizers") or []):
                return body
            change = {"resourceVersion": metadata["resourceVersion"], "finalizers": wanted or None}
            try:
                answer = self._client.patch(
                    RESOURCES[kind],
                    metadata["name"],
                    {"metadata": {"uid": metadata["uid"], **change}},
                    namespace=metadata["namespace"],
                    patch_type=PatchType.MERGE,
                )
            except ApiError as error:
                if error.status.code == 404 and not present:
                    return body
                if error.status.code != 409 or attempt == 4:
                    raise
                uid = metadata["uid"]
                body = dict(
                    self._client.get(
                        RESOURCES[kind], metadata["name"], namespace=metadata["namespace"]
                    )
                )
                if body["metadata"]["uid"] != uid:
                    return body
                continue
            body = dict(answer)
            self._took_in(kind, body)
        return body

    def _took_in(self, kind: str, body: Body) -> None:
        change = self._store.put(kind, body)
        if change is not None:
            self._changed(change)
