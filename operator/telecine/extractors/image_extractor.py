"""image_extractor v1: a picture in, one document out: text seen in it, what it looks like, EXIF."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from telecine.api.bucket import BlobType
from telecine.extractors.base import (
    Content,
    Document,
    ExtractionError,
    Leg,
    Property,
    Vector,
)
from telecine.extractors.media_models import MediaModels
from telecine.extractors.parameters import ImageParameters, MediaParameters

if TYPE_CHECKING:
    from telecine.extractors.media.events import Event, Frame, MediaRequest, Probe
    from telecine.extractors.media.limits import MediaLimits
    from telecine.extractors.seeing import Pixels

PICTURE_LEGS = (
    Leg("seen written", vector="ocr", words=("ocr_text",)),
    Leg("looks like", vector="visual"),
    Leg("looks like", vector="likeness"),
)
PICTURE_PROPERTIES = (
    Property("kind", "text"),
    Property("ocr_text", "text", searchable=True),
    Property("width", "int"),
    Property("height", "int"),
    Property("exif", "text"),
    Property("thumbnail", "text"),
)
_EDGE = 1600
"""Pixels of the longer side at which a still picture's text is read."""


class ImageExtractor:
    """One document for each picture; of an animation, one for each frame that is looked at."""

    name: ClassVar[str] = "image_extractor"
    version: ClassVar[str] = "v1"
    accepts: ClassVar[frozenset[BlobType]] = frozenset({BlobType.IMAGE})
    vectors: ClassVar[tuple[str, ...]] = ("ocr", "visual", "likeness")
    properties: ClassVar[tuple[Property, ...]] = (*PICTURE_PROPERTIES, Property("time", "number"))
    legs: ClassVar[tuple[Leg, ...]] = PICTURE_LEGS
    resumes: ClassVar[bool] = False

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """Raises ValueError when a parameter is unknown or out of bounds; loads no model."""
        self.parameters = ImageParameters.parse(parameters)
        self.models = MediaModels(self.parameters)

    @classmethod
    def validate(cls, parameters: Mapping[str, Any]) -> None:
        ImageParameters.parse(parameters)

    @classmethod
    def model_key(cls, parameters: Mapping[str, Any]) -> str:
        return ImageParameters.parse(parameters).model_key()

    @classmethod
    def collection(cls, parameters: Mapping[str, Any]) -> str | None:
        return None

    def features(self, kind: BlobType) -> Mapping[str, str]:
        return self.models.features(kind)

    def split(self, content: Content) -> Iterator[Document]:
        """One document a frame.

        Raises:
            ExtractionError: the picture cannot be decoded, or is over a limit; all permanent.
        """
        limits = limits_of(self.parameters)
        with opened(content, picture_request(), limits) as (probe, events):
            if probe.kind != "picture":
                raise not_a_picture(content, probe)
            yield from frames_as_documents(probe, events, self.parameters, self.models)

    def embed(self, documents: Sequence[Document]) -> None:
        self.models.embed(documents)

    def embed_query(self, text: str) -> Mapping[str, Vector]:
        return text_query(self.models, text, ("ocr",))

    def embed_picture(self, pixels: Any) -> Mapping[str, Vector]:
        return picture_query(self.models, pixels)


def limits_of(given: MediaParameters, *, duration: int = 0) -> MediaLimits:
    from telecine.extractors.media.limits import MediaLimits

    return MediaLimits(
        max_pixels=given.max_pixels,
        max_duration=float(duration or 43_200),
        max_streams=given.max_streams,
        max_seconds=float(given.max_seconds),
        max_memory=given.max_memory_mib << 20,
    )


@contextmanager
def opened(
    content: Content, request: MediaRequest, limits: MediaLimits
) -> Iterator[tuple[Probe, Iterator[Event]]]:
    """What a medium is, and then what is in it; its decoder is gone after the block."""
    from telecine.extractors.media.events import Probe
    from telecine.extractors.media.reader import read_media

    with closing(read_media(content.path, content.name, request, limits)) as events:
        probe = next(events)
        if not isinstance(probe, Probe):
            raise RuntimeError("a decoder tells first what the file is")
        yield probe, events


def picture_request() -> MediaRequest:
    from telecine.extractors.media.events import MediaRequest

    return MediaRequest(sound=False, captions=False, frame_size=_EDGE)


def not_a_picture(content: Content, probe: Probe) -> ExtractionError:
    return ExtractionError(
        "NotAPicture",
        f"{content.name} is a {probe.kind} ({probe.format}) and fills an image property: map it to "
        "one of type video or audio in the Bucket's schema, or leave it out with fileFilters",
        permanent=True,
    )


def frames_as_documents(
    probe: Probe, events: Iterator[Event], given: MediaParameters, models: MediaModels
) -> Iterator[Document]:
    """The frames of a picture, each with its text, its pixels for embedding, and a thumbnail."""
    from telecine.extractors.media.events import Frame

    for event in events:
        if isinstance(event, Frame):
            yield picture_document(event, probe, given, models)


def read_picture(path: Path) -> Pixels:
    """The pixels of a picture file, RGB (H, W, 3) uint8, decoded in the sandbox.

    Raises:
        ExtractionError: it is no picture, or cannot be decoded.
    """
    from telecine.extractors.media.events import Frame
    from telecine.extractors.media.reader import read_media

    limits = limits_of(ImageParameters())
    with closing(read_media(path, path.name, picture_request(), limits)) as events:
        for event in events:
            if isinstance(event, Frame):
                return event.pixels
    raise ExtractionError("NotMedia", f"{path.name} has no picture in it", permanent=True)


def picture_document(
    frame: Frame, probe: Probe, given: MediaParameters, models: MediaModels
) -> Document:
    from telecine.extractors.seeing import look

    seen = look(frame.pixels, frame.time, models.recognizer(), thumbnail=given.enable_thumbnails)
    extra: dict[str, Any] = {"time": frame.time} if probe.frames > 1 else {}
    if probe.exif:
        extra["exif"] = json.dumps(probe.exif, sort_keys=True, default=str)
    return Document(
        text="",
        properties={
            "kind": "picture",
            "ocr_text": seen.text,
            "width": probe.width,
            "height": probe.height,
            "thumbnail": seen.thumbnail,
            **extra,
        },
        texts={"ocr": [seen.text]} if seen.text else {},
        pictures=[seen.small],
    )


def text_query(models: MediaModels, text: str, names: Sequence[str]) -> dict[str, Vector]:
    """The query's vector for each named vector: `names` are in the text model's space."""
    vector = models.text_vectors([text], query=True)[0]
    found: dict[str, Vector] = dict.fromkeys(names, vector)
    visual = models.visual()
    if visual is not None:
        found["visual"] = visual.embed_texts([text])[0]
    return found


def picture_query(models: MediaModels, pixels: Any) -> dict[str, Vector]:
    from telecine.extractors.seeing import for_models

    small = for_models(pixels)
    visual = models.visual()
    if visual is not None:
        return {"visual": visual.embed_pictures([small])[0]}
    likeness = models.likeness()
    return {"likeness": likeness.embed_pictures([small])[0]} if likeness is not None else {}
