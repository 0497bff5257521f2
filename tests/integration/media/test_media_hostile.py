"""Broken and hostile media: each handled or FAILED with its reason, and nothing else disturbed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from telecine.api.bucket import BlobType, BucketSpec
from telecine.api.namespace import FeatureExtractor
from telecine.dev.media.hostile import BAIT, KINDS, USABLE, Kind, make, make_all
from telecine.extractors.base import Content, ExtractionError
from telecine.extractors.multimodal_extractor import MultimodalExtractor
from telecine.index.client import WeaviateSettings
from telecine.planning.mimes import guess_mime

from tests.integration.harness import World, make_world

QUICK = {"run_ocr": False, "run_transcription": False, "run_multimodal_embedding": False}
BLOBS = {"image": BlobType.IMAGE, "audio": BlobType.AUDIO, "video": BlobType.VIDEO}


def blob_of(kind: Kind) -> BlobType:
    return BLOBS.get(guess_mime(kind.file).partition("/")[0], BlobType.VIDEO)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.file)
def test_it_gives_documents_or_its_reason(kind: Kind, tmp_path: Path) -> None:
    path, before = make(kind, tmp_path).path, descriptors()
    content = Content(path, path.stat().st_size, "", blob_of(kind), kind.file)
    outcome, failure = "no documents", None
    try:
        documents = list(MultimodalExtractor(QUICK).split(content))
        outcome = USABLE if documents else outcome
        assert all(BAIT not in str(d.properties) for d in documents)
    except ExtractionError as error:
        outcome, failure = error.reason, error
    assert failure is None or (failure.permanent and kind.file in str(failure))
    assert outcome in kind.outcomes | {"NotAPicture"}, kind.about
    assert descriptors() == before, "a file descriptor is left open"


@pytest.fixture
def world(weaviate: WeaviateSettings, tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "source"
    make_all(folder)
    bucket = BucketSpec.model_validate(
        {
            "namespaceRef": {"name": "library"},
            "schema": {
                "properties": {
                    "film": {"type": "video"},
                    "sound": {"type": "audio"},
                    "picture": {"type": "image"},
                }
            },
        }
    )
    extractor = FeatureExtractor(name="multimodal_extractor", parameters=QUICK)
    with make_world(weaviate, folder, extractors=(extractor,), bucket=bucket) as made:
        yield made


def test_a_library_of_nothing_else_is_extracted_to_its_end(world: World) -> None:
    ran = world.run()
    records = world.records()
    assert len(records) > 25
    assert records[BAIT].state == "COMPLETED"
    for kind in KINDS:
        record = records.get(kind.file)
        if record is None:
            continue  # its ending is of no medium: planning left it out
        outcome = USABLE if record.state == "COMPLETED" else record.reason
        assert outcome in kind.outcomes | {"NotAPicture"}, (kind.file, record.message)
        assert record.dead_letter == (record.state == "FAILED")
    assert ran.progress.failed == sum(r.state == "FAILED" for r in records.values())
    assert ran.progress.failed > 10
    again = world.run()
    assert again.progress.downloads == 0, "dead letters rest"
