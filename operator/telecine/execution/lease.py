"""Kubernetes Leases: one run of a Sync at a time, one Sync of a Bucket applying at a time.

A holder renews from a thread of its own, so that a slow batch is not mistaken for a dead worker,
and knows by the clock that it may have lost the lease even when the API server is out of reach.
Times are those of the Lease's API: seconds, `renewTime` in UTC with microseconds.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpx2
import structlog
from lightkube import ApiError, Client
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference
from lightkube.resources.coordination_v1 import Lease
from lightkube.types import PatchType

from telecine.workers.protocol import RunLostError

log = structlog.get_logger(__name__)

LABELS = {"app.kubernetes.io/managed-by": "telecine"}
_NOT_OURS = (404, 409, 422)


def sync_lease(sync: str) -> str:
    return f"telecine-sync-{sync}"


def bucket_lease(bucket: str) -> str:
    return f"telecine-bucket-{bucket}"


def _now() -> datetime:
    return datetime.now(UTC)


def expired(lease: Lease) -> bool:
    """Whether nobody holds it, or its holder has not renewed in time."""
    spec = lease.spec
    if spec is None or not spec.holderIdentity or spec.renewTime is None:
        return True
    renewed = spec.renewTime
    age = (_now() - renewed).total_seconds()
    return age > (spec.leaseDurationSeconds or 0)


def holder(client: Client, name: str, namespace: str) -> str | None:
    """Who holds a lease now; None when nobody does."""
    try:
        lease = client.get(Lease, name, namespace=namespace)
    except ApiError as error:
        if error.status.code == 404:
            return None
        raise
    return None if expired(lease) or lease.spec is None else lease.spec.holderIdentity


def take(
    client: Client,
    name: str,
    namespace: str,
    identity: str,
    seconds: int,
    owner: OwnerReference | None = None,
    *,
    force: bool = False,
) -> bool:
    """Takes the lease when nobody else holds it, or with `force` from whoever does."""
    spec = LeaseSpec(holderIdentity=identity, leaseDurationSeconds=seconds, renewTime=_now())
    try:
        lease = client.get(Lease, name, namespace=namespace)
    except ApiError as error:
        if error.status.code != 404:
            raise
        owners = [owner] if owner else None
        meta = ObjectMeta(name=name, namespace=namespace, labels=LABELS, ownerReferences=owners)
        return _write(lambda: client.create(Lease(metadata=meta, spec=spec)))
    held = lease.spec.holderIdentity if lease.spec else None
    if held not in (None, "", identity) and not expired(lease) and not force:
        return False
    lease.spec = spec
    # The resourceVersion read above makes this a compare-and-swap.
    return _write(lambda: client.replace(lease))


def _write(call: Callable[[], Any]) -> bool:
    try:
        call()
    except ApiError as error:
        if error.status.code == 409:
            return False
        raise
    return True


def ensure(client: Client, name: str, namespace: str) -> None:
    """Makes the lease, held by nobody, where there is none: workers may not make any."""
    meta = ObjectMeta(name=name, namespace=namespace, labels=LABELS)
    try:
        client.get(Lease, name, namespace=namespace)
    except ApiError as error:
        if error.status.code != 404:
            raise
        _write(lambda: client.create(Lease(metadata=meta, spec=LeaseSpec(holderIdentity=""))))


def release(client: Client, name: str, namespace: str, identity: str) -> None:
    """Gives the lease back; nothing happens when it is another's by now."""
    patch = [
        {"op": "test", "path": "/spec/holderIdentity", "value": identity},
        {"op": "replace", "path": "/spec/holderIdentity", "value": ""},
    ]
    try:
        client.patch(Lease, name, patch, namespace=namespace, patch_type=PatchType.JSON)
    except ApiError as error:
        if error.status.code not in _NOT_OURS:
            raise


def revoke(client: Client, name: str, namespace: str) -> None:
    """Takes the lease from whoever holds it; nothing happens where there is none."""
    patch = [{"op": "replace", "path": "/spec/holderIdentity", "value": ""}]
    try:
        client.patch(Lease, name, patch, namespace=namespace, patch_type=PatchType.JSON)
    except ApiError as error:
        if error.status.code not in _NOT_OURS:
            raise


class HeldLease:
    """A lease that a thread keeps renewing while the block runs; the `Guard` of a worker."""

    def __init__(
        self, client: Client, name: str, namespace: str, identity: str, seconds: int
    ) -> None:
        self._client, self._name, self._namespace = client, name, namespace
        self._identity, self._seconds = identity, seconds
        self._renewed = 0.0
        self._lost = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{name}", daemon=True)

    def __enter__(self) -> Self:
        self._renew()
        if self._lost:
            raise RunLostError(self._lost)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raises RunLostError unless the lease is certainly ours at this moment."""
        if self._lost:
            raise RunLostError(self._lost)
        if time.monotonic() - self._renewed > self._seconds:
            raise RunLostError(f"lease {self._name} could not be renewed in {self._seconds} s")

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds / 4):
            try:
                self._renew()
            except (ApiError, httpx2.HTTPError) as error:
                log.warning("a lease could not be renewed", lease=self._name, error=str(error))
            if self._lost:
                return

    def _renew(self) -> None:
        asked = time.monotonic()
        patch = [
            {"op": "test", "path": "/spec/holderIdentity", "value": self._identity},
            {
                "op": "replace",
                "path": "/spec/renewTime",
                "value": _now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        ]
        try:
            self._client.patch(
                Lease, self._name, patch, namespace=self._namespace, patch_type=PatchType.JSON
            )
        except ApiError as error:
            if error.status.code not in _NOT_OURS:
                raise
            self._lost = f"lease {self._name} is not held by {self._identity} any more"
            return
        self._renewed = asked


@contextlib.contextmanager
def waiting_for(
    client: Client,
    name: str,
    namespace: str,
    identity: str,
    seconds: int,
    *,
    check: Callable[[], None],
    poll: float = 0.5,
) -> Iterator[None]:
    """Waits for a lease, holds it for the block, and gives it back; `check` may end the wait."""
    while not take(client, name, namespace, identity, seconds):
        check()
        time.sleep(poll)
    try:
        with HeldLease(client, name, namespace, identity, seconds):
            yield
    finally:
        with contextlib.suppress(httpx2.HTTPError, ApiError):
            release(client, name, namespace, identity)
