"""What all extractors' parameters have in common: strict, and refused in one line by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from telecine.extractors import models

ModelName = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00-\x1f]+$")]
Device = Literal["auto", "cpu", "cuda"]


class Parameters(BaseModel):
    """Base of the parameters of one extractor."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    of: ClassVar[str]
    """Name and version of the extractor, for messages."""

    @classmethod
    def parse(cls, parameters: Mapping[str, Any]) -> Self:
        """Raises ValueError in one line that names each refused parameter."""
        try:
            return cls.model_validate(dict(parameters))
        except ValidationError as error:
            raise ValueError("; ".join(map(cls._complaint, error.errors()))) from None

    @classmethod
    def _complaint(cls, error: Any) -> str:
        where = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            return f"parameters.{where}: unknown; {cls.of} has {', '.join(cls.model_fields)}"
        message = str(error["msg"]).removeprefix("Value error, ")
        return f"parameters.{where}: {message}" if where else f"parameters.{message}"


class MediaParameters(Parameters):
    """What extractors of pictures, sound and film share. Models are hub names or paths on the
    worker; None is the default, which a package of extra `offline` brings where there is one."""

    text_model: ModelName | None = None
    """Embeds what was said and written: a sentence-transformers model, as of text_extractor."""
    visual_model: ModelName | None = None
    """Embeds pictures and texts into one space (CLIP, SigLIP). None: clip-ViT-B-32 where it can
    be had, otherwise pictures only find pictures."""
    ocr_model: ModelName | None = None
    """A directory with PaddleOCR models in ONNX: rec.onnx and, where they differ from those of
    rapidocr-onnxruntime, det.onnx, cls.onnx and keys.txt."""
    device: Device = "auto"
    run_ocr: bool = True
    """Read the text in pictures and key frames."""
    run_multimodal_embedding: bool = True
    """Embed what pictures and key frames look like."""
    enable_thumbnails: bool = True
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 32
    max_pixels: Annotated[int, Field(ge=10_000, le=1_000_000_000)] = 100_000_000
    """Of one picture or frame; more is refused before it is decoded."""
    max_streams: Annotated[int, Field(ge=1, le=256)] = 32
    max_seconds: Annotated[int, Field(ge=1, le=604_800)] = 21_600
    """Wall clock for one asset."""
    max_memory_mib: Annotated[int, Field(ge=256, le=65_536)] = 2048
    """Of the process that decodes."""

    def model_key(self) -> str:
        """What tells collections apart whose vectors share no space."""
        named = (models.model_key(self.text_model), self.visual_model or "")
        return "" if not any(named) else "|".join(named)


class MultimodalParameters(MediaParameters):
    """Parameters of multimodal_extractor, with the names and defaults of the reference system."""

    of: ClassVar[str] = "multimodal_extractor v1"

    split_method: Literal["time", "scene", "silence"] = "time"
    time_split_interval: Annotated[float, Field(ge=1, le=600)] = 10
    """Seconds of a segment."""
    silence_db_threshold: Annotated[float, Field(ge=-90, le=-5)] = -40
    """What is quieter is silence, in dB of full scale."""
    scene_detection_threshold: Annotated[float, Field(ge=0.05, le=1)] = 0.3
    """Share of a picture's colours that must change between two frames for a new scene."""
    run_transcription: bool = True
    transcription_language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] | None = None
    """ISO 639 code. None: detected."""
    run_transcription_embedding: bool = True
    use_captions: bool = True
    """Take the source's own captions, when it has any, instead of transcribing."""
    speech_model: ModelName | None = None
    """A faster-whisper model. None: base."""
    run_video_description: bool = False
    """Known from the reference system; true is refused, there is no such model here yet."""
    accurate: bool = False
    """Decode more than key frames: finds every cut, and takes about ten times as long."""
    frames_per_segment: Annotated[int, Field(ge=1, le=30)] = 3
    """Different key frames looked at in the time of one segment, at most."""
    max_duration: Annotated[int, Field(ge=1, le=172_800)] = 43_200
    """Seconds of the longest film or sound that is accepted."""
    chunk_size: Annotated[int, Field(ge=100, le=8000)] = 800
    chunk_overlap: Annotated[int, Field(ge=0)] = 100
    """Of texts, as of text_extractor."""
    json_fields: list[str] | None = None

    @field_validator("run_video_description")
    @classmethod
    def _not_yet(cls, given: bool) -> bool:
        if given:
            raise ValueError("this version describes no films; leave it false")
        return given


class ImageParameters(MediaParameters):
    """Parameters of image_extractor."""

    of: ClassVar[str] = "image_extractor v1"
