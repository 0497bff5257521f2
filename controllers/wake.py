"""Who looks when a resource changes: itself, and what refers to it."""

from __future__ import annotations

from .queue import FRESH, WorkQueue
from .store import SECRET, TENANT, Change, Key, Store, references

_ABOVE = {"Bucket": "Namespace", "Sync": "Bucket"}
"""Kinds whose number is part of the status of what they refer to."""


def wake(store: Store, queue: WorkQueue[Key], change: Change, *, own: bool = False) -> None:
    """Makes everyone look whom a change concerns; `own` ones were written by its controller."""
    if change.itself and not own:
        queue.add(change.key, 0.0, FRESH)
    if change.dependants:
        wake_referrers(store, queue, change.key)
    if (change.created or change.deleted) and change.body is not None:
        for target in references(change.key.kind, change.body, store.tenant_prefix):
            if target.kind == TENANT:
                wake_referrers(store, queue, target, but=change.key)
            elif target.kind == _ABOVE.get(change.key.kind):
                queue.add(target, 0.0, FRESH)


def wake_referrers(store: Store, queue: WorkQueue[Key], key: Key, but: Key | None = None) -> None:
    """What refers to a resource looks again, and what refers to that: a Sync waits for all that
    its Bucket needs."""
    seen = {key} if but is None else {key, but}
    waiting = [key]
    while waiting:
        for referrer in store.referrers(waiting.pop()):
            if referrer not in seen:
                seen.add(referrer)
                waiting.append(referrer)
                queue.add(referrer, 0.0, FRESH)


def wake_for_secret(
    store: Store, queue: WorkQueue[Key], namespace: str, name: str, operators: str | None
) -> None:
    """A Secret came, changed or went. `operators` is `namespace/name` of the operator's own."""
    wake_referrers(store, queue, Key(SECRET, namespace, name))
    if operators == f"{namespace}/{name}":
        for key in store.keys("Namespace"):
            queue.add(key, 0.0, FRESH)
