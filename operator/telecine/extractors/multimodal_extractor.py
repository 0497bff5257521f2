"""multimodal_extractor v1: texts, pictures, sound and film in; documents with seconds out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from telecine.api.bucket import BlobType
from telecine.extractors.base import Content, Document, Leg, Property, Vector
from telecine.extractors.image_extractor import (
    PICTURE_LEGS,
    PICTURE_PROPERTIES,
    picture_query,
    text_query,
)
from telecine.extractors.media_models import MediaModels
from telecine.extractors.parameters import MultimodalParameters
from telecine.extractors.text_extractor import TextExtractor

_TEXTS = frozenset({BlobType.TEXT, BlobType.JSON})


class MultimodalExtractor:
    """Whatever it is given, as documents of one collection.

    Of a film or sound: for each segment a document of kind `segment` with what was said, and one
    of kind `frame` for each different key frame; one of kind `whole` for all of it. Of a picture
    one of kind `picture`, of a text one of kind `text` for each chunk.
    """

    name: ClassVar[str] = "multimodal_extractor"
    version: ClassVar[str] = "v1"
    accepts: ClassVar[frozenset[BlobType]] = frozenset(
        {BlobType.TEXT, BlobType.JSON, BlobType.IMAGE, BlobType.AUDIO, BlobType.VIDEO}
    )
    vectors: ClassVar[tuple[str, ...]] = ("text", "transcription", "ocr", "visual", "likeness")
    properties: ClassVar[tuple[Property, ...]] = (
        *PICTURE_PROPERTIES,
        Property("time", "number"),
        Property("transcription", "text", searchable=True),
        Property("segment", "int"),
        Property("start_time", "number"),
        Property("end_time", "number"),
        Property("duration", "number"),
        Property("language", "text"),
        Property("sentences", "text"),
        Property("words", "text"),
        Property("key_frames", "text"),
        Property("media", "text"),
        *TextExtractor.properties,
    )
    legs: ClassVar[tuple[Leg, ...]] = (
        Leg("says", vector="text", words=("text",)),
        Leg("said", vector="transcription", words=("transcription",)),
        *PICTURE_LEGS,
    )
    resumes: ClassVar[bool] = True

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """Raises ValueError when a parameter is unknown or out of bounds; loads no model."""
        self.parameters = MultimodalParameters.parse(parameters)
        self.models = MediaModels(self.parameters)
        self._texts = _text_extractor(self.parameters)

    @classmethod
    def validate(cls, parameters: Mapping[str, Any]) -> None:
        _text_extractor(MultimodalParameters.parse(parameters))

    @classmethod
    def model_key(cls, parameters: Mapping[str, Any]) -> str:
        return MultimodalParameters.parse(parameters).model_key()

    @classmethod
    def collection(cls, parameters: Mapping[str, Any]) -> str | None:
        return None

    def features(self, kind: BlobType) -> Mapping[str, str]:
        return self.models.features(kind)

    def split(self, content: Content) -> Iterator[Document]:
        """The documents in the order of time.

        Raises:
            ExtractionError: nothing of it can be decoded, or it is over a limit.
        """
        if content.blob_type in _TEXTS:
            for document in self._texts.split(content):
                document.properties["kind"] = "text"
                document.texts = {"text": [document.text]}
                yield document
        else:
            from telecine.extractors.film import film_documents

            yield from film_documents(content, self.parameters, self.models)

    def embed(self, documents: Sequence[Document]) -> None:
        self.models.embed(documents)

    def embed_query(self, text: str) -> Mapping[str, Vector]:
        return text_query(self.models, text, ("text", "transcription", "ocr"))

    def embed_picture(self, pixels: Any) -> Mapping[str, Vector]:
        return picture_query(self.models, pixels)


def _text_extractor(given: MultimodalParameters) -> TextExtractor:
    shared: dict[str, Any] = {
        "chunk_size": given.chunk_size,
        "chunk_overlap": given.chunk_overlap,
        "json_fields": given.json_fields,
    }
    return TextExtractor(shared)
