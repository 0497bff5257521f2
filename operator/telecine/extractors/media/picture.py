"""Pictures and animations, decoded by Pillow. Runs in the decoder only."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from importlib import import_module
from io import FileIO
from typing import TYPE_CHECKING, Any

from telecine.extractors.media.events import (
    SIGNATURE_EDGE,
    Event,
    Frame,
    MediaRequest,
    Position,
    Probe,
)
from telecine.extractors.media.exif import exif_of
from telecine.extractors.media.faults import MediaError
from telecine.extractors.media.limits import MediaLimits

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

_IMPORTED_WHEN_USED = (
    "numpy",
    "PIL.BmpImagePlugin",
    "PIL.ExifTags",
    "PIL.GifImagePlugin",
    "PIL.Image",
    "PIL.ImageFile",
    "PIL.ImageOps",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "PIL.PpmImagePlugin",
    # It reads the EXIF of all formats.
    "PIL.TiffImagePlugin",
)
"""What Pillow imports in the middle of its work, when no file can be opened."""
_PLUGINS = {
    "JPEG": ("PIL.MpoImagePlugin",),
    "WEBP": ("PIL.WebPImagePlugin",),
    "AVIF": ("PIL.AvifImagePlugin",),
    "JPEG2000": ("PIL.Jpeg2KImagePlugin",),
    "HEIF": ("pillow_heif",),
}
_ANIMATIONS = frozenset({"GIF", "WEBP", "PNG", "AVIF"})
_MOST_TOLD = 8
_MOST_WALKED = 10_000
"""Frames of an animation that are walked through; each must be decoded to reach the next."""
_MOST_WALKED_PIXELS = 2_000_000_000
_DEEP_GREY = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I", "F"})


def load(form: str) -> None:
    """Imports all that decoding this format needs.

    Raises:
        ImportError: something is not installed.
    """
    for module in (*_IMPORTED_WHEN_USED, *_PLUGINS.get(form, ())):
        import_module(module)
    if form == "HEIF":
        import_module("pillow_heif").register_heif_opener()


def picture_events(
    file: FileIO, form: str, request: MediaRequest, limits: MediaLimits
) -> Iterator[Event]:
    """`Probe` and `Frame`; of an animation up to eight frames, evenly spread.

    Raises:
        MediaError: TooManyPixels, Truncated, DamagedMedia.
    """
    from PIL import Image

    # Sizes are checked below, against the limit that the user gave.
    Image.MAX_IMAGE_PIXELS = None
    warnings.simplefilter("ignore")
    picture = _open(file, form, limits)
    count = _frame_count(picture, form)
    if count > 1:
        yield from _animation(picture, form, count, request)
        return
    # Before loading: JPEG is decoded at a fraction of its size.
    probe = _probe(picture, form, 1, 0.0)
    pixels = _pixels(_loaded(picture, file, form, request, limits), request.frame_size)
    yield probe
    yield Frame(0.0, pixels, True, _signature(pixels))
    yield Position(0.0)


def _open(file: FileIO, form: str, limits: MediaLimits) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    file.seek(0)
    try:
        picture = Image.open(file, formats=_plugins(form))
    except UnidentifiedImageError:
        raise MediaError(
            "DamagedMedia", f"it begins like {form} and is none; upload it again"
        ) from None
    except _DAMAGE as error:
        raise _damaged(error) from None
    width, height = picture.size
    if width * height > limits.max_pixels:
        raise MediaError(
            "TooManyPixels",
            f"it has {width}x{height} pixels, {width * height:,} in all, and the limit is "
            f"{limits.max_pixels:,}; make it smaller, or raise parameter max_pixels",
        )
    return picture


_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What Pillow's parsers raise over malformed files; MemoryError is told apart."""


def _plugins(form: str) -> list[str]:
    return ["JPEG", "MPO"] if form == "JPEG" else [form]


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _frame_count(picture: Image.Image, form: str) -> int:
    """Pages of a document and the second eye of a camera are no animation."""
    if form not in _ANIMATIONS:
        return 1
    try:
        return int(getattr(picture, "n_frames", 1))
    except _DAMAGE:
        return 1


def _loaded(
    picture: Image.Image, file: FileIO, form: str, request: MediaRequest, limits: MediaLimits
) -> Image.Image:
    """The decoded picture: as much of it as there is."""
    from PIL import ImageFile

    try:
        # JPEG can be decoded at a fraction of its size, in a fraction of the time and memory.
        picture.draft("RGB", (request.frame_size, request.frame_size))
        picture.load()
        return picture
    except _DAMAGE as error:
        first = error
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    again = _open(file, form, limits)
    try:
        again.load()
    except _DAMAGE as error:
        raise _damaged(error) from None
    if _is_blank(again):
        raise _damaged(first)
    return again


def _is_blank(picture: Image.Image) -> bool:
    """Nothing but the fill of the decoder."""
    extremes = picture.getextrema()
    pairs = extremes if isinstance(extremes[0], tuple) else (extremes,)
    return all(low == high for low, high in pairs)


def _damaged(error: BaseException) -> MediaError:
    words = _words(error)
    if "truncated" in words.lower():
        return MediaError(
            "Truncated", f"it ends before any of it can be seen ({words}); upload it again"
        )
    return MediaError("DamagedMedia", f"it cannot be decoded ({words}); upload it again")


def _animation(
    picture: Image.Image, form: str, count: int, request: MediaRequest
) -> Iterator[Event]:
    """Walks through all frames once: in most formats each is a change to the one before."""
    width, height = picture.size
    walked = min(count, _MOST_WALKED, max(_MOST_WALKED_PIXELS // (width * height), _MOST_TOLD))
    told = min(walked, _MOST_TOLD)
    chosen = {round(n * (walked - 1) / max(told - 1, 1)) for n in range(told)}
    frames: list[Frame] = []
    time = 0.0
    for number in range(walked):
        try:
            picture.seek(number)
            picture.load()
            if number in chosen:
                pixels = _pixels(picture.copy(), request.frame_size)
                frames.append(Frame(round(time, 3), pixels, True, _signature(pixels)))
        except _DAMAGE as error:
            if not frames:
                raise _damaged(error) from None
            break
        time += _milliseconds(picture) / 1000
    yield _probe(picture, form, count, round(time, 3))
    yield from frames
    yield Position(round(time, 3))


def _milliseconds(picture: Image.Image) -> float:
    """How long the current frame is shown. Browsers take a duration of 0 for 100 ms."""
    try:
        value = float(picture.info.get("duration") or 100.0)
    except (TypeError, ValueError):
        return 100.0
    return value if 0 < value < 3_600_000 else 100.0


def _probe(picture: Image.Image, form: str, count: int, duration: float) -> Probe:
    width, height = picture.size
    exif, orientation = exif_of(picture)
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    return Probe(
        kind="picture",
        format=form,
        duration=duration,
        width=width,
        height=height,
        rotation={3: 180, 6: 90, 8: 270}.get(orientation, 0),
        streams=1,
        exif=exif,
        frames=count,
    )


def _pixels(picture: Image.Image, edge: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Upright RGB, shrunk, on white where it is transparent."""
    import numpy as np
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(picture)
    plain = _deep_to_grey(upright) if upright.mode in _DEEP_GREY else upright
    if plain.mode in ("1", "P", "PA", "La", "RGBa", "LA") or "transparency" in plain.info:
        plain = plain.convert("RGBA")
    plain.thumbnail((edge, edge), Image.Resampling.LANCZOS, reducing_gap=3.0)
    if plain.mode == "RGBA":
        white = Image.new("RGBA", plain.size, (255, 255, 255, 255))
        plain = Image.alpha_composite(white, plain)
    return np.ascontiguousarray(np.asarray(plain.convert("RGB"), dtype=np.uint8))


def _deep_to_grey(picture: Image.Image) -> Image.Image:
    """Grey of more than 8 bits; Pillow's own conversion would clip instead of scale."""
    import numpy as np
    from PIL import Image

    values = np.asarray(picture).astype(np.float32)
    if picture.mode == "F":
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        low, high = float(values.min()), float(values.max())
        values = (values - low) * (255.0 / (high - low)) if high > low else values * 0
    elif picture.mode != "I" or values.max() > 255:
        values /= 257.0
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8), "L")


def _signature(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    from PIL import Image

    edge = (SIGNATURE_EDGE, SIGNATURE_EDGE)
    return Image.fromarray(pixels).convert("L").resize(edge, Image.Resampling.BOX).tobytes()
