"""A Mux environment, the resources that declare it searchable, and a gateway; no operator."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from lightkube import Client
from telecine.api.namespace import NamespaceState
from telecine.dev.mux import MuxLibrary, MuxServer, SigningKey, event, signature
from telecine.dev.serving import Serving
from telecine.execution.resolve import resolve_sync
from telecine.execution.worker import make_job
from telecine.gateway.app import Gateway, create_app
from telecine.index.client import WeaviateSettings, open_index
from telecine.index.index import Index
from telecine.planning.identity import connection_id, object_id
from telecine.planning.types import ObjectRecord, ObjectState
from telecine.settings import Settings
from telecine.workers.protocol import Job
from telecine.workers.toolset import collection_of

from tests.integration.harness import Ran, run_job
from tests.integration.operator_process import Resources, eventually

WEBHOOK_SECRET = "your-32-char-random-string-0000"
#: What makes documents within moments: no speech, no text recognition.
QUICK = {
    "name": "multimodal_extractor",
    "parameters": {
        "run_transcription": False,
        "run_ocr": False,
        "run_multimodal_embedding": False,
        "enable_thumbnails": False,
        "time_split_interval": 2,
    },
}
FLAGGED = {"field": "passthrough", "operator": "contains", "value": "vi:1"}


@dataclass
class MuxWorld:
    """One Namespace `films`, Bucket `videos`, Connection `mux` and Sync `flagged`."""

    client: Client
    resources: Resources
    settings: Settings
    index: Index
    library: MuxLibrary
    server: MuxServer
    gateway: str
    film: Path
    runs: int = 0
    tenants: set[str] = field(default_factory=set)

    def declare(
        self, *, connection: str = "mux", extractor: dict[str, Any] = QUICK, **sync: Any
    ) -> None:
        """The resources of the examples; `sync` stands in the Sync's spec."""
        server, make = self.server, self.resources.create
        self.resources.secret(
            connection,
            access_token_id=server.token_id,
            access_token_secret=server.token_secret,
            webhook_secret=WEBHOOK_SECRET,
        )
        make("Namespace", "films", {"featureExtractors": [extractor]})
        make("Connection", connection, self.connection(connection))
        self.bucket("videos")
        self.sync("flagged", **sync)
        eventually(lambda: httpx2.get(f"{self.gateway}/readyz", trust_env=False).is_success)
        # The gateway looks for a Connection it does not know once a second at most.
        eventually(lambda: self.post({"type": "test"}).status_code == 200)

    def connection(self, secret: str = "mux") -> dict[str, Any]:
        mux = {"endpoint": self.server.url, "streamEndpoint": self.server.url}
        return {
            "provider": "mux",
            "mux": {**mux, "requestsPerSecond": 1000},
            "secretRef": {"name": secret},
        }

    def bucket(self, name: str) -> None:
        spec = {"namespaceRef": {"name": "films"}, "blobType": "video"}
        self.resources.create("Bucket", name, spec)

    def sync(self, name: str, bucket: str = "videos", **spec: Any) -> None:
        references = {"bucketRef": {"name": bucket}, "connectionRef": {"name": "mux"}}
        self.resources.create("Sync", name, {**references, "sourcePath": "mux://", **spec})

    def job(self, sync: str = "flagged") -> Job:
        """A worker's job, made as a worker makes it."""
        self.runs += 1
        resolved = resolve_sync(self.client, self.resources.namespace, sync, self.settings)
        if resolved.tenant not in self.tenants:
            collections = [collection_of(recipe) for recipe in resolved.recipes]
            self.index.ensure_schema(collections)
            names = [collection.name for collection in collections]
            self.index.set_tenant(resolved.tenant, NamespaceState.ACTIVE, names)
            self.tenants.add(resolved.tenant)
        return make_job(resolved, self.index, self.settings, f"{self.runs}.1")

    def run(self, sync: str = "flagged") -> Ran:
        return run_job(self.job(sync))

    @property
    def tenant(self) -> str:
        return f"{self.resources.namespace}_films"

    def add(self, passthrough: str | None = "app|vi:1", **more: Any) -> str:
        return self.library.add(self.film, passthrough=passthrough, **more)

    def record(self, asset_id: str, bucket: str = "videos") -> ObjectRecord | None:
        ident = object_id(self.resources.namespace, bucket, "mux", asset_id)
        return self.index.ledger(self.tenant).get([ident]).get(ident)

    def indexed(self) -> set[str]:
        """Ids of the assets that are in the index, each whole and with nothing beside it."""
        records = list(self.index.ledger(self.tenant).scan_all())
        assert all(r.state is ObjectState.COMPLETED for r in records), records
        owners = {row[1] for row in self.documents()}
        assert owners == {r.id for r in records}
        return {r.asset_id for r in records}

    def documents(self) -> list[Any]:
        return [
            row
            for name in self.index.document_collections()
            if name in self.index.session.client.collections.list_all()
            for row in self._rows(name)
        ]

    def _rows(self, collection: str) -> list[Any]:
        from telecine.index.client import IndexAbsentError

        try:
            return list(self.index.documents(self.tenant, collection).scan())
        except IndexAbsentError:
            return []

    @property
    def webhook_url(self) -> str:
        ident = connection_id(self.resources.namespace, "mux")
        return f"{self.gateway}/v1/webhooks/mux/{ident}"

    def post(
        self,
        told: dict[str, Any] | bytes,
        *,
        secret: str = WEBHOOK_SECRET,
        at: int | None = None,
        url: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx2.Response:
        """Delivers one webhook as Mux does."""
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        signed = {"Mux-Signature": signature(secret, body, at)}
        return httpx2.post(
            url or self.webhook_url,
            content=body,
            headers=signed if headers is None else headers,
            timeout=20.0,
            trust_env=False,
        )

    def deleted(self, told: dict[str, Any]) -> int:
        """How many objects a webhook says it removed."""
        answer = self.post(told)
        assert answer.status_code == 200, answer.text
        count: int = answer.json()["deleted_objects"]
        return count

    def tell(self, kind: str, asset_id: str) -> httpx2.Response:
        """Delivers an event about an asset."""
        return self.post(event(kind, {"id": asset_id}))

    def requested(self, sync: str = "flagged") -> str | None:
        """What asks for a run of the Sync."""
        metadata = self.resources.get("Sync", sync)["metadata"]
        found: str | None = (metadata.get("annotations") or {}).get("telecine.dev/requestedAt")
        return found


@contextlib.contextmanager
def make_mux_world(
    client: Client,
    namespace: str,
    weaviate: WeaviateSettings,
    film: Path,
    *,
    signing_key: SigningKey | None = None,
    answer_seconds: float = 3.5,
    **settings: Any,
) -> Iterator[MuxWorld]:
    """Everything but the resources; gone afterwards."""
    told = Settings(
        weaviate_endpoint=weaviate.endpoint,
        weaviate_grpc_port=weaviate.grpc_port,
        kube_namespace=namespace,
        asset_retry_seconds=0.0,
        **settings,
    )
    library = MuxLibrary()
    gateway = Gateway(client, told, answer_seconds=answer_seconds)
    with (
        MuxServer(library, signing_key=signing_key) as server,
        Serving(create_app(gateway)) as serving,
        open_index(weaviate) as index,
    ):
        world = MuxWorld(
            client, Resources(client, namespace), told, index, library, server, serving.url, film
        )
        try:
            yield world
        finally:
            for tenant in world.tenants:
                index.drop_tenant(tenant)
