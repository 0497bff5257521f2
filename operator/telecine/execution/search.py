"""Search over everything that serves a Namespace: by meaning, by words, by a picture."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from telecine.extractors.base import Extractor, Leg
from telecine.extractors.registry import extractor_class
from telecine.index.documents import Documents
from telecine.index.fusion import (
    PICTURE_BY_PICTURE,
    PICTURE_BY_TEXT,
    TEXT,
    WORDS,
    Found,
    Moment,
    Space,
    fuse,
)
from telecine.index.index import Index
from telecine.index.search import Mode
from telecine.planning.types import Document, Recipe, Vector

_CANDIDATES = 50
"""Hits of each leg, at least: the range of their scores is what they are measured by."""
_PICTURES = frozenset({"visual", "likeness"})


Serving = Sequence[tuple[Recipe, str]]
"""Recipes, and the collections that have their documents."""


class NothingServesError(LookupError):
    """No extractor of the Namespace can answer; `str()` says why."""


@dataclass(frozen=True)
class Query:
    """What is looked for."""

    text: str | None = None
    picture: Any = None
    """RGB pixels, (H, W, 3) uint8."""
    mode: Mode = Mode.HYBRID
    limit: int = 10
    bucket: str | None = None
    filters: Mapping[str, str] = field(default_factory=dict)
    """Equalities of metadata, keys dotted."""


def search(index: Index, tenant: str, serving: Serving, query: Query) -> list[Moment]:
    """The best moments over every extractor that serves a tenant, best first.

    Raises:
        NothingServesError: no extractor serves, or none that takes such a query.
        ModelUnavailableError: a model that the documents were made with cannot be loaded here.
        IndexUnavailableError, IndexAbsentError: as of the index.
    """
    if not serving:
        raise NothingServesError("no extractor serves this Namespace yet: look at its status")
    found: list[Found] = []
    extractors: dict[str, tuple[Extractor, Mapping[str, Vector]]] = {}
    asked = False
    for recipe, collection in serving:
        store = index.documents(tenant, collection)
        extractor = extractor_class(recipe.name, recipe.version)(recipe.parameters)
        vectors = _vectors(extractor, query)
        extractors[collection] = (extractor, vectors)
        for leg in extractor.legs:
            asked = asked or leg.vector in vectors or bool(query.text)
            found += _leg(store, collection, leg, vectors, query)
    if not asked:
        raise NothingServesError(
            "no extractor of this Namespace compares pictures: it needs image_extractor or "
            "multimodal_extractor, and a model for pictures here"
        )
    moments = fuse(found, query.limit)
    for moment in moments:
        extractor, vectors = extractors[moment.collection]
        moment.time = _second(moment, query, extractor, vectors)
    return moments


def _vectors(extractor: Extractor, query: Query) -> Mapping[str, Vector]:
    """The query's vectors by the models that made the documents."""
    if query.mode is Mode.KEYWORD:
        return {}
    if query.picture is not None:
        return extractor.embed_picture(query.picture)
    return extractor.embed_query(query.text or "")


def _leg(
    store: Documents, collection: str, leg: Leg, vectors: Mapping[str, Vector], query: Query
) -> list[Found]:
    most = max(_CANDIDATES, 3 * query.limit)
    scope: dict[str, Any] = {"limit": most, "bucket": query.bucket, "filters": query.filters}
    found: list[Found] = []
    if leg.vector in vectors:
        space, mine = _space(leg.vector, query), {leg.vector: vectors[leg.vector]}
        hits = store.search(None, mine, mode=Mode.VECTOR, **scope)
        found += [Found(leg.why, space, collection, hit) for hit in hits]
    if leg.words and query.text and query.mode is not Mode.VECTOR:
        hits = store.search(query.text, None, mode=Mode.KEYWORD, properties=leg.words, **scope)
        found += [Found(leg.why, WORDS, collection, hit) for hit in hits]
    return found


def _space(vector: str, query: Query) -> Space:
    if vector not in _PICTURES:
        return TEXT
    return PICTURE_BY_TEXT if query.picture is None else PICTURE_BY_PICTURE


def _second(
    moment: Moment, query: Query, extractor: Extractor, vectors: Mapping[str, Vector]
) -> float | None:
    """The second of a film at which to look: of what was said, that of the sentence that comes
    nearest to the query; None where there is no time."""
    properties = moment.hit.properties
    if properties.get("kind") == "frame":
        return float(properties["time"])
    if "start_time" not in properties:
        return None
    sentences = json.loads(properties.get("sentences") or "[]")
    if not sentences:
        return float(properties["start_time"])
    texts = [str(text) for _, _, text in sentences]
    if "transcription" in vectors and len(texts) > 1:
        documents = [Document("", texts={"transcription": [text]}) for text in texts]
        extractor.embed(documents)
        wanted = vectors["transcription"]
        likeness = [_product(d.vectors["transcription"], wanted) for d in documents]
    else:
        words = _stems(query.text or "")
        likeness = [float(len(words & _stems(text))) for text in texts]
    return float(sentences[likeness.index(max(likeness))][0])


def _product(left: Vector, right: Vector) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def passage(moment: Moment) -> str:
    """What a person reads of a moment."""
    properties = moment.hit.properties
    return (
        moment.hit.text
        or str(properties.get("transcription") or "")
        or str(properties.get("ocr_text") or "")
    )


def _stems(text: str) -> set[str]:
    """Words by their first letters, so that plurals and tenses meet."""
    return {word[:6] for word in re.findall(r"\w{3,}", text.lower())}
