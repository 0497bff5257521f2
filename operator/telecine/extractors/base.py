"""What a feature extractor is: content of one object in, documents out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from telecine.api.bucket import BlobType
from telecine.planning.types import Document, Property, Vector


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


__all__ = ["Content", "Document", "ExtractionError", "Extractor", "Property", "Vector"]
