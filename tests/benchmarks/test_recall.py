"""Recall of the offline defaults on the labelled set: films, pictures with text, photographs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from telecine.api.bucket import BucketSpec
from telecine.api.namespace import FeatureExtractor
from telecine.dev.media.labelled import LabelledSet, make
from telecine.execution.search import Query, search
from telecine.extractors.image_extractor import read_picture
from telecine.index.client import WeaviateSettings
from telecine.index.fusion import Moment
from telecine.settings import cache_dir
from telecine.workers.toolset import collection_of

from tests.benchmarks.measure import tell
from tests.integration.harness import World, make_world

T = TypeVar("T")


@pytest.fixture(scope="module")
def labelled() -> LabelledSet:
    return make(cache_dir() / "media")


@pytest.fixture(scope="module")
def library(
    weaviate: WeaviateSettings, labelled: LabelledSet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """All of the set in one Namespace, so that every kind is a distraction for the others."""
    folder = tmp_path_factory.mktemp("recall") / "source"
    folder.mkdir()
    for name in ("films", "pictures", "photographs"):
        shutil.copytree(getattr(labelled, name), folder / name)
    bucket = BucketSpec.model_validate(
        {
            "namespaceRef": {"name": "library"},
            "schema": {"properties": {"film": {"type": "video"}, "picture": {"type": "image"}}},
        }
    )
    extractor = FeatureExtractor(name="multimodal_extractor")
    with make_world(weaviate, folder, extractors=(extractor,), bucket=bucket) as made:
        ran = made.run()
        assert ran.progress.failed == 0
        assert ran.progress.extracted == 20 + 40 + 40
        print("\n[bench] features:", ran.progress.features)
        yield made


def look_up(world: World, query: Query) -> list[Moment]:
    serving = [(recipe, collection_of(recipe).name) for recipe in world.recipes]
    return search(world.index, world.tenant, serving, query)


def recall(
    what: str, items: Iterable[T], find: Callable[[T], list[bool]], least: tuple[float, float]
) -> None:
    """Recall at 1 and 5; `find` tells of each result whether it is right."""
    found = [find(item) for item in items]
    first = sum(bool(hits) and hits[0] for hits in found) / len(found)
    five = sum(any(hits[:5]) for hits in found) / len(found)
    tell(f"recall, {what}", queries=len(found), at_1=first, at_5=five)
    assert first >= least[0]
    assert five >= least[1]


def test_spoken_sentences_are_found_at_their_second(library: World, labelled: LabelledSet) -> None:
    assert len(labelled.moments) >= 60
    recall(
        "spoken sentences in films, at their second",
        labelled.moments,
        lambda wanted: [
            m.time is not None and wanted.is_at(Path(m.hit.path).name, m.time, m.time + 0.1)
            for m in look_up(library, Query(wanted.query, limit=5))
        ],
        (0.7, 0.9),
    )


def test_text_seen_in_pictures_is_found(library: World, labelled: LabelledSet) -> None:
    assert len(labelled.signs) >= 40
    recall(
        "text seen in pictures",
        labelled.signs,
        lambda wanted: [
            Path(m.hit.path).name == wanted.picture
            for m in look_up(library, Query(wanted.query, limit=5))
        ],
        (0.7, 0.9),
    )


def test_photographs_are_found_by_copies_of_them(library: World, labelled: LabelledSet) -> None:
    assert len(labelled.likenesses) >= 40
    recall(
        "photographs by changed copies",
        labelled.likenesses,
        lambda wanted: [
            Path(m.hit.path).name == wanted.photograph
            for m in look_up(
                library,
                # The films show the same motifs: among the photographs alone.
                Query(
                    picture=np.asarray(read_picture(wanted.query)),
                    limit=5,
                    filters={"extension": "jpg"},
                ),
            )
        ],
        (0.7, 0.9),
    )
