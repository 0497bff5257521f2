"""Search in one collection: by words, by vectors, or by both."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from telecine.index.pairs import pair
from telecine.index.schema import DOCUMENT_PROPERTIES
from telecine.index.wire import equal, every, some, unescape
from telecine.planning.types import Vector

if TYPE_CHECKING:
    from weaviate.collections.collection import Collection

_ALPHA = 0.75
_SCORES = re.compile(
    r"Result Set (?P<by>keyword|vector),.*?original score (?P<score>-?[\d.eE+-]+\d)", re.DOTALL
)


class Mode(StrEnum):
    HYBRID = "hybrid"
    VECTOR = "vector"
    KEYWORD = "keyword"


@dataclass(frozen=True)
class Request:
    """What is searched for."""

    query: str | None
    vectors: Mapping[str, Vector]
    """The query's vector for each named vector to compare with."""
    mode: Mode
    limit: int
    bucket: str | None = None
    kube_namespace: str | None = None
    filters: Mapping[str, str] = field(default_factory=dict)
    properties: Sequence[str] = ()
    """Where keyword search looks; empty: into all text that is searchable."""


@dataclass
class Hit:
    """A document that matched."""

    score: float
    """Higher is better; comparable within one search only. By vector: 1 - cosine distance."""
    object_id: UUID
    bucket: str
    path: str
    text: str
    properties: dict[str, Any]
    """The extractor's outputs beside the text."""
    source_metadata: dict[str, Any]
    fields: dict[str, Any]
    document_id: UUID
    explain: str
    """Why it matched, for people."""


def search(collection: Collection[Any, Any], request: Request) -> list[Hit]:
    """The best matches, best first.

    Raises:
        ValueError: the mode needs a query or vectors that are not given.
    """
    if request.mode is not Mode.VECTOR and not request.query:
        raise ValueError(f"{request.mode} search needs a query")
    if request.mode is not Mode.KEYWORD and not request.vectors:
        raise ValueError(f"{request.mode} search needs the query's vectors")
    found = _SEARCHES[request.mode](collection, request)
    return [_hit(one, request.mode) for one in found.objects]


def _common(request: Request) -> dict[str, Any]:
    from weaviate.classes.query import MetadataQuery

    parts = [
        None if request.bucket is None else equal("bucket", request.bucket),
        None if request.kube_namespace is None else equal("kube_namespace", request.kube_namespace),
        *(some("metadata_pairs", [pair(k, v)]) for k, v in request.filters.items()),
    ]
    return {
        "limit": request.limit,
        "filters": every(parts),
        "return_metadata": MetadataQuery(score=True, distance=True, explain_score=True),
    }


def _hybrid(collection: Collection[Any, Any], request: Request) -> Any:
    from weaviate.classes.query import HybridFusion

    return collection.query.hybrid(
        query=_words(request),
        alpha=_ALPHA,
        # Keeps how far apart scores are, which a fusion of ranks forgets.
        fusion_type=HybridFusion.RELATIVE_SCORE,
        **_vectors(request, "vector"),
        **_common(request),
    )


def _vector(collection: Collection[Any, Any], request: Request) -> Any:
    return collection.query.near_vector(**_vectors(request, "near_vector"), **_common(request))


def _keyword(collection: Collection[Any, Any], request: Request) -> Any:
    where = list(request.properties) or None
    return collection.query.bm25(query=_words(request), query_properties=where, **_common(request))


_SEARCHES = {Mode.HYBRID: _hybrid, Mode.VECTOR: _vector, Mode.KEYWORD: _keyword}


def _words(request: Request) -> str:
    return (request.query or "").encode("utf-8", "replace").decode()


def _vectors(request: Request, name: str) -> dict[str, Any]:
    """One vector by its name; of several, the mean of their distances counts."""
    from weaviate.classes.query import TargetVectors

    vectors = {key: [float(x) for x in vector] for key, vector in request.vectors.items()}
    names = list(vectors)
    if len(names) == 1:
        return {name: vectors[names[0]], "target_vector": names[0]}
    return {name: vectors, "target_vector": TargetVectors.average(names)}


def _hit(found: Any, mode: Mode) -> Hit:
    stored, metadata = found.properties, found.metadata
    if mode is Mode.VECTOR:
        score = 1.0 - metadata.distance
        explain = f"cosine similarity {score:.3f}"
    else:
        score = metadata.score
        explain = (
            f"keyword score {score:.3f}"
            if mode is Mode.KEYWORD
            else _explained(metadata.explain_score or "")
        )
    return Hit(
        score=score,
        object_id=UUID(stored["object_id"]),
        bucket=stored["bucket"],
        path=unescape(stored["path"]),
        text=unescape(stored["text"]),
        properties={
            name: unescape(value) if isinstance(value, str) else value
            for name, value in stored.items()
            if name not in DOCUMENT_PROPERTIES and value is not None
        },
        source_metadata=json.loads(stored["source_metadata"]),
        fields=json.loads(stored["fields"]),
        document_id=UUID(int=found.uuid.int),
        explain=explain,
    )


def _explained(text: str) -> str:
    """Weaviate's explanation of a hybrid score, in short: `keyword score 1.9, ...`."""
    names = {"keyword": "keyword score", "vector": "cosine similarity"}
    parts = [f"{names[m['by']]} {float(m['score']):.3f}" for m in _SCORES.finditer(text)]
    return ", ".join(parts) or "hybrid"
