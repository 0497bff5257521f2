"""The worker's models, for handlers: pictures and films, texts, what is said in sound."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from telecine.extractors import models
from telecine.extractors.loading import ModelUnavailableError
from telecine.pipelines.wire import Frame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from telecine.extractors.speech import SpeechModel
    from telecine.extractors.visual import LikenessModel, VisualModel

_OURS = "mixpeek/"
_MOST_PICTURES, _MOST_EDGE, _MOST_TEXTS = 64, 8192, 256
_BATCH = 32
_RATE = 16_000


class AskedNonsenseError(ValueError):
    """A question that the SDK would not have asked."""


class Embedder:
    """Loads each model when it is first asked for, once a process. All vectors have length 1.

    A model of None, or of a name that begins with `mixpeek/`, is the default.
    """

    def __init__(self, device: str = "auto") -> None:
        self._device = device

    def pictures(
        self, pictures: Sequence[NDArray[np.uint8]], model: str | None = None
    ) -> list[list[float]]:
        """Vectors of RGB pictures, (H, W, 3) uint8: by CLIP, or where that cannot be had by
        EfficientNet-Lite0, which is another space.

        Raises:
            ModelUnavailableError: the named model, or neither of these, can be had.
        """
        return self._visual(_named(model)).embed_pictures(pictures)

    def texts(self, texts: Sequence[str], model: str | None = None) -> list[list[float]]:
        """Vectors of texts, by all-MiniLM-L6-v2 unless another is named.

        Raises:
            ModelUnavailableError: the model cannot be had.
        """
        loaded = models.load_text_model(_named(model), self._device)
        return models.embed(loaded, list(texts), prompt="", batch_size=_BATCH, query=False)

    def sound(self, samples: NDArray[np.float32], model: str | None = None) -> list[float] | None:
        """The vector of what is said in mono samples, 16,000 a second; None where nobody speaks.

        Raises:
            ModelUnavailableError: the speech model or the model for texts cannot be had.
        """
        heard = self._speech().transcribe(samples, words=False)
        said = [u.text for u in heard.utterances if u.text]
        return self.texts([" ".join(said)], model)[0] if said else None

    def _speech(self) -> SpeechModel:
        from telecine.extractors.speech import load_speech_model

        return load_speech_model(None, self._device)

    def _visual(self, name: str | None) -> VisualModel | LikenessModel:
        from telecine.extractors.visual import load_likeness_model, load_visual_model

        if name is not None:
            return load_visual_model(name, self._device)
        try:
            return load_visual_model(None, self._device)
        except ModelUnavailableError as visual:
            try:
                return load_likeness_model(self._device)
            except ModelUnavailableError as likeness:
                raise ModelUnavailableError(f"{visual}; {likeness}") from None


def _named(model: str | None) -> str | None:
    name = (model or "").strip()
    return None if not name or name.startswith(_OURS) else name


def answer(embedder: Embedder, asked: Frame) -> tuple[int, bytes]:
    """The vectors that a handler asked for: how many numbers each has, and all of them as float64.

    Raises:
        AskedNonsenseError: the question is not one of the SDK's.
        ModelUnavailableError: a model cannot be had.
    """
    model = asked.fields.get("model")
    if model is not None and not isinstance(model, str):
        raise AskedNonsenseError("the model is no text")
    match asked.fields.get("what"):
        case "video" | "image":
            found = [*embedder.pictures(_pictures_of(asked), model)]
        case "text":
            found = embedder.texts(_texts_of(asked.fields.get("texts")), model)
        case "audio":
            vector = embedder.sound(_samples_of(asked), model)
            found = [] if vector is None else [list(vector)]
        case other:
            raise AskedNonsenseError(f"there is no embedding of {str(other)[:40]!r}")
    flat = array("d", (number for vector in found for number in vector))
    return (len(found[0]) if found else 0), flat.tobytes()


def _pictures_of(asked: Frame) -> list[NDArray[np.uint8]]:
    import numpy as np

    shapes: Any = asked.fields.get("shapes")
    if not isinstance(shapes, list) or not 1 <= len(shapes) <= _MOST_PICTURES:
        raise AskedNonsenseError("no list of pictures")
    found, position = [], 0
    for shape in shapes:
        match shape:
            case [int(height), int(width)] if 0 < height <= _MOST_EDGE and 0 < width <= _MOST_EDGE:
                size = height * width * 3
            case _:
                raise AskedNonsenseError("a picture without a size")
        raw = asked.blob[position : position + size]
        if len(raw) != size:
            raise AskedNonsenseError("fewer pixels than told")
        found.append(np.frombuffer(raw, np.uint8).reshape(height, width, 3))
        position += size
    return found


def _texts_of(texts: Any) -> list[str]:
    if (
        not isinstance(texts, list)
        or len(texts) > _MOST_TEXTS
        or not all(isinstance(text, str) for text in texts)
    ):
        raise AskedNonsenseError("no list of texts")
    return [text.encode(errors="replace").decode() for text in texts]


def _samples_of(asked: Frame) -> NDArray[np.float32]:
    import numpy as np

    if len(asked.blob) % 4 or len(asked.blob) > 601 * _RATE * 4:
        raise AskedNonsenseError("no sound")
    sane: NDArray[np.float32] = np.nan_to_num(
        np.frombuffer(asked.blob, "<f4"), nan=0.0, posinf=1.0, neginf=-1.0
    )
    np.clip(sane, -1.0, 1.0, out=sane)
    return sane
