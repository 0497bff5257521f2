"""Fuses what several ways of looking (legs) found into moments, best first. Pure.

Scores of one space are put between 0 and 1 by their range over all its legs, as Weaviate's
relative score fusion does within one query; a space whose best match is weak counts for less, so
that the least bad of nothing does not beat a real match elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from telecine.index.search import Hit

_ALPHA = 0.75
"""Weight of meaning; words have the rest. At 0.5 common words win over the meaning."""
_AGREEMENT = 0.1
"""What a second reason for the same moment adds."""
_NOTABLE = 0.5
"""Share of the best reason's score from which a further reason is told."""


@dataclass(frozen=True)
class Space:
    """Vectors (or word scores) that can be compared with each other."""

    name: str
    sure: float = 0.5
    """The score from which a best match is surely one."""
    nothing: float = 0.0
    """The score of things that have nothing to do with each other."""
    words: bool = False


TEXT = Space("text")
PICTURE_BY_TEXT = Space("picture by text", sure=0.28, nothing=0.15)
PICTURE_BY_PICTURE = Space("picture by picture", sure=0.6)
WORDS = Space("words", sure=1.0, words=True)


@dataclass(frozen=True)
class Found:
    """One hit of one leg."""

    why: str
    space: Space
    collection: str
    hit: Hit


@dataclass
class Reason:
    """Why a moment matched."""

    why: str
    similarity: float | None = None
    """Cosine of the vectors."""
    words: float | None = None
    """BM25 score of the words."""
    score: float = 0.0
    hit: Hit | None = field(default=None, repr=False)

    def told(self) -> str:
        parts = []
        if self.similarity is not None:
            parts.append(f"similarity {self.similarity:.2f}")
        if self.words is not None:
            parts.append(f"words {self.words:.1f}")
        return f"{self.why} ({', '.join(parts)})"


@dataclass
class Moment:
    """A passage, a picture, or a segment of a film with all that was found in it."""

    score: float
    collection: str
    hit: Hit
    """The document that matched best."""
    reasons: list[Reason]
    documents: list[Hit]
    """All documents of the moment that were found, the best first."""
    time: float | None = None
    """The second of a film or sound at which to look."""


def fuse(found: Sequence[Found], limit: int) -> list[Moment]:
    """Moments, best first; a film as a whole only where no moment of it was found."""
    groups: dict[tuple[str, UUID, Any], list[tuple[float, Found]]] = {}
    for one, score in zip(found, _relative(found), strict=True):
        groups.setdefault(_moment(one), []).append((score, one))
    moments = sorted(
        (_fused(key[0], group) for key, group in groups.items()), key=lambda m: -m.score
    )
    parts = {m.hit.object_id for m in moments if m.hit.properties.get("kind") != "whole"}
    shown = [
        m
        for m in moments
        if m.hit.properties.get("kind") != "whole" or m.hit.object_id not in parts
    ]
    return shown[:limit]


def _relative(found: Sequence[Found]) -> list[float]:
    """Each hit's score between 0 and 1 within its space."""
    ranges: dict[str, tuple[float, float]] = {}
    for one in found:
        low, high = ranges.get(one.space.name, (one.hit.score, one.hit.score))
        ranges[one.space.name] = (min(low, one.hit.score), max(high, one.hit.score))
    scores = []
    for one in found:
        low, high = ranges[one.space.name]
        share = (one.hit.score - low) / (high - low) if high > low else 1.0
        space = one.space
        sure = min(max((high - space.nothing) / (space.sure - space.nothing), 0.0), 1.0)
        scores.append(share * sure)
    return scores


def _moment(one: Found) -> tuple[str, UUID, Any]:
    """What a hit is part of: a segment of a film, or a document by itself."""
    segment = one.hit.properties.get("segment")
    return (
        one.collection,
        one.hit.object_id,
        segment if segment is not None else one.hit.document_id,
    )


def _fused(collection: str, group: Iterable[tuple[float, Found]]) -> Moment:
    reasons: dict[str, Reason] = {}
    best: dict[str, dict[bool, float]] = {}
    for score, one in sorted(group, key=lambda item: -item[0]):
        reason = reasons.setdefault(one.why, Reason(one.why, hit=one.hit))
        if one.space.words and reason.words is None:
            reason.words = one.hit.score
        elif not one.space.words and reason.similarity is None:
            reason.similarity, reason.hit = one.hit.score, one.hit
        known = best.setdefault(one.why, {})
        known[one.space.words] = max(known.get(one.space.words, 0.0), score)
    for why, reason in reasons.items():
        by = best[why]
        reason.score = _ALPHA * by.get(False, 0.0) + (1 - _ALPHA) * by.get(True, 0.0)
    ordered = sorted(reasons.values(), key=lambda r: -r.score)
    first = ordered[0]
    told = [r for r in ordered if r is first or r.score >= _NOTABLE * first.score]
    hits = {r.hit.document_id: r.hit for r in ordered if r.hit is not None}
    score = first.score + _AGREEMENT * sum(r.score for r in told[1:])
    documents = list(hits.values())
    return Moment(score, collection, documents[0], told, documents)
