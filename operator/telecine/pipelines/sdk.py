"""What handlers import: `from mixpeek import Mixpeek, FileTools`.

```python
import os
from mixpeek import FileTools, Mixpeek

def handler(event):
    mixpeek = Mixpeek(os.getenv("API_KEY"))
    url = mixpeek.file_url(event["bucket"], event["key"])
    for chunk in FileTools.split_video(url, frame_interval=10):
        yield {**chunk.to_dict(), "embedding": mixpeek.embed.video(chunk)}
```
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from telecine.pipelines.channel import Channel, RefusedError
from telecine.pipelines.chunks import (
    MOST_SECONDS,
    AudioChunk,
    ImageChunk,
    TextChunk,
    VideoChunk,
)
from telecine.pipelines.filetools import FileTools, MediaError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

__all__ = [
    "AudioChunk",
    "FileTools",
    "ImageChunk",
    "MediaError",
    "Mixpeek",
    "MixpeekError",
    "TextChunk",
    "VideoChunk",
]

_PICTURES, _TEXTS = 32, 128
"""Of one question to the host."""


class MixpeekError(Exception):
    """What was asked for cannot be had; `str()` says why and what would help."""


MixpeekError.__module__ = MediaError.__module__ = "mixpeek"
"""As users know them, in tracebacks."""

_channel: Channel | None = None


def connect(channel: Channel) -> None:
    """For the runner: where questions go."""
    global _channel
    _channel = channel


def _ask(kind: str, fields: dict[str, Any], blob: bytes = b"") -> tuple[dict[str, Any], bytes]:
    if _channel is None:
        raise MixpeekError(
            "this works only in a handler that Telecine runs: telecine pipelines test"
        )
    try:
        answer = _channel.ask(kind, fields, blob)
    except RefusedError as error:
        raise MixpeekError(str(error)) from None
    return answer.fields, answer.blob


class Mixpeek:
    """The asset and the models of the worker that runs the handler."""

    def __init__(self, api_key: str | None = None) -> None:
        """`api_key` is kept and otherwise not looked at: the worker needs none."""
        self.api_key = api_key
        self.embed = Embed()

    def file_url(self, bucket: str, key: str) -> str:
        """Where the event's asset can be read: a URL on this machine that takes Range requests
        and is good until the handler is done with this asset.

        Raises:
            MixpeekError: it is not the asset of the event.
        """
        fields, _ = _ask("file_url", {"bucket": str(bucket), "key": str(key)})
        return str(fields["url"])


class Embed:
    """Vectors by the worker's models, each of length 1. `model` is None or a `mixpeek/` name for
    the default, or a sentence-transformers model by hub name or path.

    Vectors can be compared when they are of one space, that is, of one model. The default of
    pictures and films is CLIP ViT-B/32 (512 numbers), in which texts can be placed with
    `text(..., "sentence-transformers/clip-ViT-B-32")`; where it cannot be had it is
    EfficientNet-Lite0 (1,280 numbers), which tells how alike pictures are and takes no texts. The
    default of texts, and of what is said in sound, is all-MiniLM-L6-v2 (384 numbers).
    """

    def video(self, chunk: VideoChunk, model: str | None = None) -> list[float]:
        """The mean of the chunk's frames, in the pictures' space.

        Raises:
            MixpeekError: the chunk has no frames, or the model cannot be had.
        """
        if not chunk.frames:
            raise MixpeekError(f"the chunk from {chunk.start:g} s has no frames to embed")
        vectors = self._pictures([frame.pixels for frame in chunk.frames], model, "video")
        if len(vectors) == 1:
            return vectors[0]
        import numpy as np

        total = np.sum(np.asarray(vectors), axis=0)
        length = float(np.linalg.norm(total)) or 1.0
        mean: list[float] = (total / length).tolist()
        return mean

    def image(self, x: ImageChunk | Pixels | str, model: str | None = None) -> list[float]:
        """A picture: RGB (H, W, 3) uint8, a chunk, or the URL or path of one.

        Raises:
            MixpeekError: it is no picture, or the model cannot be had.
        """
        pixels = FileTools.load_image(x) if isinstance(x, str) else getattr(x, "pixels", x)
        return self._pictures([pixels], model, "image")[0]

    # A str is a sequence of str, too: the first that fits counts.
    @overload
    def text(  # type: ignore[overload-overlap]
        self, x: str | TextChunk, model: str | None = None
    ) -> list[float]: ...
    @overload
    def text(self, x: Sequence[str | TextChunk], model: str | None = None) -> list[list[float]]: ...
    def text(
        self, x: str | TextChunk | Sequence[str | TextChunk], model: str | None = None
    ) -> list[float] | list[list[float]]:
        """A text, or a list of them with a vector for each, in the texts' space.

        Raises:
            MixpeekError: it is no text, or the model cannot be had.
        """
        single = isinstance(x, str | TextChunk)
        texts = [getattr(t, "text", t) for t in ([x] if single else list(x))]  # type: ignore[arg-type]
        if not all(isinstance(t, str) for t in texts):
            raise MixpeekError("embed.text takes a str, a TextChunk or a list of these")
        vectors: list[list[float]] = []
        for at in range(0, len(texts), _TEXTS):
            vectors += _embed("text", model, {"texts": texts[at : at + _TEXTS]})
        return vectors[0] if single else vectors

    def audio(self, chunk: AudioChunk | VideoChunk, model: str | None = None) -> list[float] | None:
        """What is said in the chunk, in the texts' space; None where nobody speaks.

        Raises:
            MixpeekError: the chunk is longer than 600 s, or a model cannot be had.
        """
        samples = chunk.samples
        if samples is None or not len(samples):
            return None
        if len(samples) > MOST_SECONDS * chunk.sample_rate:
            raise MixpeekError(
                f"embed.audio takes at most {MOST_SECONDS:g} s of sound: split it shorter"
            )
        blob = samples.astype("<f4", copy=False).tobytes()
        vectors = _embed("audio", model, {"samples": len(samples)}, blob)
        return vectors[0] if vectors else None

    def _pictures(self, pictures: list[Any], model: str | None, what: str) -> list[list[float]]:
        import numpy as np

        from telecine.extractors.seeing import for_models

        vectors: list[list[float]] = []
        for at in range(0, len(pictures), _PICTURES):
            small = []
            for picture in pictures[at : at + _PICTURES]:
                pixels = np.asarray(picture)
                if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
                    raise MixpeekError(
                        f"embed.{what} takes RGB pixels (H, W, 3) uint8 and got "
                        f"{pixels.shape} {pixels.dtype}"
                    )
                small.append(np.ascontiguousarray(for_models(pixels)))
            shapes = [list(pixels.shape[:2]) for pixels in small]
            blob = b"".join(pixels.tobytes() for pixels in small)
            vectors += _embed(what, model, {"shapes": shapes}, blob)
        return vectors


def _embed(
    what: str, model: str | None, given: dict[str, Any], blob: bytes = b""
) -> list[list[float]]:
    told, raw = _ask("embed", {"what": what, "model": model, **given}, blob)
    numbers, size = array("d", raw), int(told["dimensions"])
    return [numbers[at : at + size].tolist() for at in range(0, len(numbers), size or 1)]
