"""text_extractor v1: text and JSON in, chunks with one vector each out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from telecine.api.bucket import BlobType
from telecine.extractors import models
from telecine.extractors.base import Content, Document, Leg, Property, Vector
from telecine.extractors.chunking import chunks
from telecine.extractors.parameters import Device, ModelName, Parameters
from telecine.extractors.text_reading import read

VECTOR = "text"


class TextParameters(Parameters):
    """Parameters of text_extractor; lengths are in characters (code points)."""

    of: ClassVar[str] = "text_extractor v1"

    model: ModelName | None = None
    """A sentence-transformers model by hub name or path on the worker; None: all-MiniLM-L6-v2.

    A model reads only so many tokens of a chunk (MiniLM 256, about 1,000 characters of English,
    and as many of Chinese or Japanese as it has tokens): choose `chunk_size` to fit.
    """
    device: Device = "auto"
    chunk_size: Annotated[int, Field(ge=100, le=8000)] = 800
    chunk_overlap: Annotated[int, Field(ge=0)] = 100
    """Less than half of `chunk_size`."""
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 32
    json_fields: (
        Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=256)]
        | None
    ) = None
    """Dotted paths to take text from, `article.title`; lists are passed through. None: all
    strings."""
    query_prefix: Annotated[str, Field(max_length=1000)] = ""
    document_prefix: Annotated[str, Field(max_length=1000)] = ""
    """Put before each text for models that want it, such as `query: ` and `passage: ` of e5.
    Empty: the model's own prompts, where its configuration has them."""

    @model_validator(mode="after")
    def _overlap_is_less_than_half(self) -> TextParameters:
        if 2 * self.chunk_overlap >= self.chunk_size:
            raise ValueError(
                f"chunk_overlap ({self.chunk_overlap}) must be less than half of "
                f"chunk_size ({self.chunk_size})"
            )
        return self


class TextExtractor:
    """Cuts text at sentence borders into chunks, each a document with the vector `text`."""

    name: ClassVar[str] = "text_extractor"
    version: ClassVar[str] = "v1"
    accepts: ClassVar[frozenset[BlobType]] = frozenset({BlobType.TEXT, BlobType.JSON})
    vectors: ClassVar[tuple[str, ...]] = (VECTOR,)
    properties: ClassVar[tuple[Property, ...]] = (
        Property("chunk", "int"),
        Property("start_char", "int"),
        Property("end_char", "int"),
        Property("title", "text", searchable=True),
    )
    legs: ClassVar[tuple[Leg, ...]] = (Leg("says", vector=VECTOR, words=("text", "title")),)
    resumes: ClassVar[bool] = False

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """Loads no model: the first `embed` or `embed_query` does.

        Raises:
            ValueError: a parameter is unknown or out of bounds.
        """
        self.parameters = TextParameters.parse(parameters)

    @classmethod
    def validate(cls, parameters: Mapping[str, Any]) -> None:
        """Raises ValueError that names each unknown or refused parameter."""
        TextParameters.parse(parameters)

    @classmethod
    def model_key(cls, parameters: Mapping[str, Any]) -> str:
        """ "" for the default model, else its name: vectors of two models share no space."""
        return models.model_key(TextParameters.parse(parameters).model)

    @classmethod
    def collection(cls, parameters: Mapping[str, Any]) -> str | None:
        return None

    def features(self, kind: BlobType) -> Mapping[str, str]:
        """Raises ModelUnavailableError when the model cannot be loaded."""
        models.load_text_model(self.parameters.model, self.parameters.device)
        return {"text": "on"}

    def split(self, content: Content) -> Iterator[Document]:
        """Chunks in order, with `start_char` and `end_char` counted in code points of the text
        as it was read (markup stripped, JSON as lines of `path: string`).

        Raises:
            ExtractionError: EmptyContent, NotText, WrongEncoding or InvalidJson; all permanent.
        """
        reading = read(content, self.parameters.json_fields)
        extra = {"title": reading.title} if reading.title else {}
        size, overlap = self.parameters.chunk_size, self.parameters.chunk_overlap
        for number, chunk in enumerate(chunks(reading.text, size, overlap)):
            yield Document(
                text=chunk.text,
                properties={
                    "chunk": number,
                    "start_char": chunk.start,
                    "end_char": chunk.end,
                    **extra,
                },
            )

    def embed(self, documents: Sequence[Document]) -> None:
        """Fills the vector `text`, of length 1.

        Raises:
            ModelUnavailableError: the model cannot be loaded; not the fault of any object.
        """
        if not documents:
            return
        texts = [document.text for document in documents]
        for document, vector in zip(documents, self._vectors(texts, query=False), strict=True):
            document.vectors[VECTOR] = vector

    def embed_query(self, text: str) -> Mapping[str, Vector]:
        """Raises ModelUnavailableError when the model cannot be loaded."""
        return {VECTOR: self._vectors([text], query=True)[0]}

    def embed_picture(self, pixels: Any) -> Mapping[str, Vector]:
        """Pictures compare with nothing here."""
        return {}

    def _vectors(self, texts: list[str], *, query: bool) -> list[list[float]]:
        given = self.parameters
        return models.embed(
            models.load_text_model(given.model, given.device),
            texts,
            prompt=given.query_prefix if query else given.document_prefix,
            batch_size=given.batch_size,
            query=query,
        )
