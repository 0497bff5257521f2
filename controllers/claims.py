"""Which Namespace a tenant belongs to: no two may have one, or each could read and drop what is
the other's. `spec.tenant` can name any, also that of another Kubernetes namespace."""

from __future__ import annotations

import threading
from typing import Any

from telecine.api.base import FINALIZER
from telecine.api.namespace import NamespaceStatus

from .store import TENANT, Key, Store

Body = dict[str, Any]


class Claims:
    """Thread-safe. A claim ends when its Namespace is gone."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mutex = threading.Lock()
        self._holders: dict[str, tuple[Key, str]] = {}
        """Key and uid of the Namespace that has a tenant."""

    def claim(self, tenant: str, key: Key, body: Body) -> bool:
        """Whether the tenant is this Namespace's; one that nobody has goes to the first.

        After a start it goes to the one that had it before (its finalizer tells), then to the
        oldest.
        """
        uid = body["metadata"]["uid"]
        with self._mutex:
            held = self._holders.get(tenant)
            if held is not None and held[1] != uid:
                holder = self._store.get(held[0])
                if holder is not None and holder["metadata"]["uid"] == held[1]:
                    return False
                held = None
            if held is None:
                rivals = self._store.bodies(
                    self._store.referrers(Key(TENANT, "", tenant), "Namespace")
                )
                if any(_rank(tenant, rival) < _rank(tenant, body) for rival in rivals):
                    return False
                self._holders[tenant] = (key, uid)
            return True


def _rank(tenant: str, body: Body) -> tuple[bool, str, str]:
    metadata = body["metadata"]
    status = NamespaceStatus.model_validate(body.get("status") or {})
    had_it = FINALIZER in (metadata.get("finalizers") or []) and status.tenant == tenant
    return not had_it, metadata["creationTimestamp"], metadata["uid"]
