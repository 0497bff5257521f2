"""What a feature extractor is: content of one object in, documents out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from telecine.api.bucket import BlobType
from telecine.planning.types import Asset, Document, Property, SideCaptions, Vector


class ExtractionError(Exception):
    """One object cannot be extracted. `str()` says why and what would help; `reason` is CamelCase.

    `permanent` means that trying the same bytes again is useless: it rests at once as a dead
    letter until its source changes or the user requeues it.
    """

    def __init__(self, reason: str, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.permanent = permanent


@dataclass(slots=True)
class Content:
    """The content of one object on the worker's scratch space."""

    path: Path
    size: int
    mime_type: str
    blob_type: BlobType
    name: str
    """The asset's path, for messages and to tell formats by their ending."""
    source_metadata: Mapping[str, Any] = field(default_factory=dict)
    asset: Asset | None = None
    """As its provider listed it."""
    captions: SideCaptions | None = None
    """What is said in it, where its source knows that."""
    progress: Callable[[float, float], None] = lambda _done, _of: None
    """Told how many seconds of how many are extracted; 0.0 where the length is unknown."""
    written: Callable[[], list[Document]] = list
    """What an earlier attempt at this content wrote before it was killed, the first documents
    without a gap, in order; for extractors that `resumes`."""


@dataclass(frozen=True)
class Leg:
    """One way in which a query can find documents of an extractor."""

    why: str
    """The reason for a match, for people: `said`, `seen written`, `looks like`."""
    vector: str = ""
    """The named vector to compare with, or none."""
    words: tuple[str, ...] = ()
    """The properties to look for words in."""


@runtime_checkable
class Extractor(Protocol):
    """A named and versioned recipe with its parameters applied. One instance per worker.

    Extraction has two halves so that objects can share model calls: `split` reads one object and
    is cheap and lazy; `embed` runs the models over pieces of many objects at once.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    accepts: ClassVar[frozenset[BlobType]]
    vectors: ClassVar[tuple[str, ...]]
    """Names of the vectors it fills."""
    properties: ClassVar[tuple[Property, ...]]
    """Outputs beside `text`."""
    legs: ClassVar[tuple[Leg, ...]]
    """How queries find its documents."""
    resumes: ClassVar[bool]
    """Whether `split` makes use of `Content.written`."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """Raises ValueError when a parameter is unknown or out of bounds; loads no model."""
        ...

    @classmethod
    def validate(cls, parameters: Mapping[str, Any]) -> None:
        """Raises ValueError that names the parameter; loads no model."""
        ...

    @classmethod
    def model_key(cls, parameters: Mapping[str, Any]) -> str:
        """What tells the embedding model apart from others; empty for the default one."""
        ...

    @classmethod
    def collection(cls, parameters: Mapping[str, Any]) -> str | None:
        """The collection that a user chose for its documents; None: one of Telecine's naming."""
        ...

    def features(self, kind: BlobType) -> Mapping[str, str]:
        """What is on and what is off here for content of one type: `on`, `disabled` by a
        parameter, or `off: ` and why. Loads the models.

        Raises:
            ModelUnavailableError: a model that the parameters name cannot be loaded.
        """
        ...

    def split(self, content: Content) -> Iterator[Document]:
        """The object's documents without vectors, streamed.

        Raises:
            ExtractionError: the content cannot be read.
        """
        ...

    def embed(self, documents: Sequence[Document]) -> None:
        """Fills `vectors` of the documents, which may come from several objects."""
        ...

    def embed_query(self, text: str) -> Mapping[str, Vector]:
        """The vector of a query for each named vector that a text can be compared with."""
        ...

    def embed_picture(self, pixels: Any) -> Mapping[str, Vector]:
        """The same of a picture, RGB (H, W, 3) uint8; empty where pictures compare with nothing."""
        ...


__all__ = ["Content", "Document", "ExtractionError", "Extractor", "Leg", "Property", "Vector"]
