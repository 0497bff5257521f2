"""What Mux's webhooks do: `POST /v1/webhooks/mux/{connection_id}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from telecine.api.connection import Provider
from telecine.gateway.deletion import Deletion, Deletions
from telecine.gateway.directory import Directory, Known
from telecine.gateway.signatures import Signature, SignatureError, holds
from telecine.gateway.updates import Updates
from telecine.index.client import IndexUnavailableError
from telecine.providers.base import ProviderError

DELETED, UPDATED, READY = "video.asset.deleted", "video.asset.updated", "video.asset.ready"
#: Both families of events about static renditions, of the older and of today's API.
_RENDITIONS = ("video.asset.static_renditions.", "video.asset.static_rendition.")
#: Events that metrics name; "Webhook reference" in Mux's documentation lists many more.
NAMED = frozenset(
    {
        DELETED,
        UPDATED,
        READY,
        "video.asset.created",
        "video.asset.errored",
        *(f"{_RENDITIONS[0]}{what}" for what in ("ready", "preparing", "deleted", "errored")),
        *(f"{_RENDITIONS[1]}{what}" for what in ("created", "ready", "deleted", "errored")),
    }
)


class RefusedError(Exception):
    """An answer other than 200; `str()` is for whoever looks into Mux's list of deliveries."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class MuxWebhooks:
    """The parts of an answer, in the order in which they are called; the first two are cheap.

    All but `event` block, and raise ApiError and httpx2.HTTPError.
    """

    def __init__(self, directory: Directory, deletions: Deletions, updates: Updates) -> None:
        self._directory, self._deletions, self._updates = directory, deletions, updates

    def connection(self, ident: str) -> Known:
        """Raises RefusedError 404."""
        known = self._directory.connection(ident)
        if known is None or known.spec.provider is not Provider.MUX:
            raise RefusedError(404, f"{ident[:64]} is not the id of a Connection of provider mux")
        return known

    def verify(self, known: Known, signature: Signature, body: bytes) -> None:
        """Compares with the Connection's secret.

        Raises:
            RefusedError: 400 without a secret.
            SignatureError: no hash holds.
        """
        for age in (10.0, 0.0):  # once more with the Secret read anew: it may just have changed
            secret = self._directory.secret(known, newer_than=age).get("webhook_secret", "").strip()
            if secret and holds(signature, body, secret):
                return
        if not secret:
            raise RefusedError(
                400,
                f"Connection {known.name} has no webhook_secret: put the signing secret of the "
                "webhook in Mux's dashboard into its Secret under that key",
            )
        raise SignatureError(
            "wrong", "the signature does not hold for this body and webhook_secret"
        )

    def begin(self, known: Known, event_type: str, asset_id: str) -> Deletion | None:
        """What must be durable before the answer. Raises IndexUnavailableError as well."""
        return self._deletions.begin(known, asset_id) if event_type == DELETED else None

    def finish(
        self,
        known: Known,
        event_type: str,
        asset_id: str,
        deletion: Deletion | None,
        *,
        busy: bool = False,
    ) -> dict[str, Any]:
        """The rest, which may outlast the answer; returns what the answer adds where it does not.

        When the gateway is `busy`, an update is left to a run, which sees all of them by one
        listing; so is one that fails and may succeed later.

        Raises IndexUnavailableError and ProviderError as well.
        """
        if deletion is not None:
            self._deletions.finish(deletion)
            return {}
        if event_type == UPDATED and not busy:
            secret = self._directory.secret(known)
            try:
                update = self._updates.apply(known, secret, asset_id)
            except (ProviderError, IndexUnavailableError) as error:
                # The answer may be given already, and then Mux does not come again.
                if not error.permanent:
                    self._updates.request(known, asset_id)
                raise
            return {"deleted_objects": update.unindexed, "requested_runs": update.requested}
        return {"requested_runs": self._updates.request(known, asset_id)}


def event(body: bytes) -> tuple[str, str]:
    """Type and asset id; the id is empty in what is about something else.

    Raises:
        RefusedError: 400: no JSON object with a type.
    """
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "the payload is not valid JSON") from error
    if not isinstance(told, Mapping) or not isinstance(told.get("type"), str):
        raise RefusedError(400, "the payload is not an event of Mux: it has no type")
    event_type, asset_id = str(told["type"]), _asset_id(told)
    if not (_is_text(event_type) and _is_text(asset_id)):
        raise RefusedError(400, "the payload has text that is not Unicode")
    return event_type, asset_id


def _is_text(told: str) -> bool:
    """Whether it can be answered and logged: JSON can spell half of a character."""
    return not any("\ud800" <= letter <= "\udfff" for letter in told)


def is_handled(event_type: str, asset_id: str) -> bool:
    """Whether anything is done about an event."""
    acted_on = event_type in (DELETED, UPDATED, READY) or event_type.startswith(_RENDITIONS)
    return acted_on and bool(asset_id)


def _asset_id(told: Mapping[str, Any]) -> str:
    """Of `data`; events about one static rendition have that as `data`, with `asset_id`."""
    kind, data = told.get("object"), told.get("data")
    about = kind if isinstance(kind, Mapping) else {}
    inside = data if isinstance(data, Mapping) else {}
    single = str(told["type"]).startswith("video.asset.static_rendition.")
    candidates = (
        inside.get("asset_id") if single else inside.get("id"),
        about.get("id") if about.get("type") == "asset" else None,
    )
    return next((one for one in candidates if isinstance(one, str) and 0 < len(one) <= 512), "")
