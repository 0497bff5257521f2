"""The index: schema, tenants, and the way to a tenant's ledger and documents."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from telecine.api.namespace import NamespaceState
from telecine.index import schema
from telecine.index.client import INIT_SECONDS, Session
from telecine.index.documents import Documents
from telecine.index.freeform import Freeform
from telecine.index.ledger import Ledger
from telecine.index.schema import FREE, LEDGER, PREFIX, DocumentCollection

_WANTED = {
    NamespaceState.ACTIVE: "ACTIVE",
    NamespaceState.SUSPENDED: "INACTIVE",
    NamespaceState.ARCHIVED: "OFFLOADED",
}


class Index:
    """Telecine's part of one Weaviate. A context manager; usable from several threads.

    All methods raise `IndexUnavailableError` when Weaviate cannot be reached or refuses.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.session.close()

    def check(self) -> str:
        """Asks both of Weaviate's APIs; returns its version as in `Weaviate 1.35.2`."""
        from weaviate.proto.v1 import tenants_pb2

        with self.session.call():
            version = self.session.client.get_meta()["version"]
            if self.session.client.collections.exists(LEDGER):
                self.session.stub.TenantsGet(
                    tenants_pb2.TenantsGetRequest(
                        collection=LEDGER, names=tenants_pb2.TenantNames(values=["-"])
                    ),
                    timeout=INIT_SECONDS,
                    metadata=self.session.metadata,
                )
        return f"Weaviate {version}"

    def ensure_schema(self, collections: Sequence[DocumentCollection]) -> None:
        """Creates or extends the ledger and the given collections; several may do it at once.

        Raises:
            IndexSchemaError: a collection of that name has another shape.
        """
        schema.ensure(self.session, collections)

    def tenant_state(self, tenant: str) -> str | None:
        """The state of the tenant in the ledger as Weaviate calls it; None: it does not exist."""
        with self.session.call():
            if not self.session.client.collections.exists(LEDGER):
                return None
            return self._state(LEDGER, tenant)

    def set_tenant(
        self,
        tenant: str,
        state: NamespaceState,
        collections: Sequence[DocumentCollection | str] = (),
    ) -> str:
        """Brings the tenant into a state, in the ledger and in all collections that have it.

        It is created in the ledger and in `collections` where it is absent. Returns the state
        reached: ACTIVE, INACTIVE or OFFLOADED (or on the way there: OFFLOADING, ONLOADING).
        OFFLOADED needs Weaviate's offload module; without it INACTIVE is reached.
        """
        names = [LEDGER, *(c if isinstance(c, str) else c.name for c in collections)]
        with self.session.call():
            others = [n for n in self.document_collections() if n not in names]
            present = [n for n in others if self._state(n, tenant) is not None]
            for name in dict.fromkeys(names):
                if self._state(name, tenant) is None:
                    self._create(name, tenant)
            # The ledger last: its state stands for all.
            for name in [*present, *reversed(list(dict.fromkeys(names)))]:
                self._move(name, tenant, _WANTED[state])
            return self._state(LEDGER, tenant) or "ABSENT"

    def drop_tenant(self, tenant: str, collections: Sequence[str] | None = None) -> None:
        """Removes the tenant with all it holds from Telecine collections; None: from every one.

        Raises:
            ValueError: a collection is not Telecine's.
        """
        with self.session.call():
            existing = self._telecine_collections()
            there = self.session.client.collections.list_all(simple=True)
            foreign = [n for n in collections or () if n in there and n not in existing]
            foreign += [n for n in collections or () if n not in there and not n.startswith(PREFIX)]
            if foreign:
                raise ValueError(f"not collections of Telecine: {', '.join(foreign)}")
            for name in existing if collections is None else collections:
                if name in existing and self._state(name, tenant) is not None:
                    self.session.client.collections.use(name).tenants.remove([tenant])

    def document_collections(self) -> list[str]:
        """Names of the existing collections of documents."""
        return [name for name in self._telecine_collections() if name != LEDGER]

    def ledger(self, tenant: str) -> Ledger:
        return Ledger(self.session, tenant)

    def documents(self, tenant: str, collection: DocumentCollection | str) -> Documents:
        name = collection if isinstance(collection, str) else collection.name
        return Documents(self.session, tenant, name)

    def freeform(self, collection: DocumentCollection) -> Freeform:
        """For a collection that is `free`."""
        return Freeform(self.session, collection.name)

    def _telecine_collections(self) -> list[str]:
        """All of them, the ledger last, so that what refers to it goes before it."""
        with self.session.call():
            found = self.session.client.collections.list_all(simple=True)
        names = (n for n, c in found.items() if n.startswith(PREFIX) or c.description == FREE)
        return sorted(names, key=lambda n: (n == LEDGER, n))

    def _state(self, collection: str, tenant: str) -> str | None:
        found: Any = self.session.client.collections.use(collection).tenants.get_by_name(tenant)
        return None if found is None else str(found.activity_status.value)

    def _create(self, collection: str, tenant: str) -> None:
        from weaviate.exceptions import UnexpectedStatusCodeError

        try:
            self.session.client.collections.use(collection).tenants.create([tenant])
        except UnexpectedStatusCodeError as error:
            if "already exists" not in str(error):
                raise

    def _move(self, collection: str, tenant: str, wanted: str) -> None:
        from weaviate.classes.tenants import TenantUpdateActivityStatus
        from weaviate.collections.classes.tenants import TenantUpdate
        from weaviate.exceptions import UnexpectedStatusCodeError

        if self._state(collection, tenant) == wanted:
            return
        tenants = self.session.client.collections.use(collection).tenants
        status = TenantUpdateActivityStatus(wanted)
        try:
            tenants.update([TenantUpdate(name=tenant, activity_status=status)])
        except UnexpectedStatusCodeError as error:
            if wanted != "OFFLOADED" or "offload" not in str(error):
                raise
            self._move(collection, tenant, "INACTIVE")
