"""Messages over a pipe: a header of two lengths, JSON, raw bytes. The reader trusts nothing."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable
from typing import Any, TypeVar

from telecine.extractors.media.events import (
    SIGNATURE_EDGE,
    Caption,
    Cut,
    Damage,
    Event,
    Frame,
    Position,
    Probe,
    Sound,
)

_E = TypeVar("_E", bound=Event)
_LENGTHS = struct.Struct("<II")
_MOST_JSON = 1 << 20
_MOST_RAW = 256 << 20
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Probe, Frame, Cut, Sound, Caption, Position, Damage)
}


class WireError(ValueError):
    """What came over the pipe is no message."""


def send(fd: int, kind: str, fields: dict[str, Any], raw: Any = b"") -> None:
    """Writes one message, blocking as long as the pipe is full.

    Args:
        raw: anything with a contiguous buffer.

    Raises:
        OSError: the reader is gone.
    """
    text = json.dumps([kind, fields]).encode()
    body = memoryview(raw).cast("B") if len(raw) else memoryview(b"")
    _write(fd, memoryview(_LENGTHS.pack(len(text), len(body)) + text))
    _write(fd, body)


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


def send_event(fd: int, event: Event) -> None:
    """Raises OSError when the reader is gone."""
    fields = dict(vars(event))
    raw: Any = b""
    if isinstance(event, Frame):
        raw = fields.pop("pixels")
        fields["signature"] = event.signature.hex()
        fields["height"], fields["width"] = raw.shape[:2]
    elif isinstance(event, Sound):
        raw = fields.pop("samples")
    send(fd, type(event).__name__, fields, raw)


def receive(fill: Callable[[memoryview], bool]) -> tuple[str, dict[str, Any], bytearray] | None:
    """The next message, or None at a clean end.

    Args:
        fill: fills a buffer whole; False when the pipe ended before its first byte; raises
            EOFError when it ended inside.

    Raises:
        WireError: it is no message, or longer than any honest one.
        EOFError: the pipe ended within a message.
    """
    lengths = bytearray(_LENGTHS.size)
    if not fill(memoryview(lengths)):
        return None
    json_length, raw_length = _LENGTHS.unpack(lengths)
    if json_length > _MOST_JSON or raw_length > _MOST_RAW:
        raise WireError(f"a message of {json_length} and {raw_length} bytes")
    text, raw = bytearray(json_length), bytearray(raw_length)
    for part in (text, raw):
        if part and not fill(memoryview(part)):
            raise EOFError("the pipe ended within a message")
    try:
        kind, fields = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise WireError(f"no message: {error}") from error
    if not isinstance(kind, str) or not isinstance(fields, dict):
        raise WireError("a message without a kind")
    return kind, fields, raw


def event_of(kind: str, fields: dict[str, Any], raw: bytearray, frame_size: int) -> Event:
    """The event that a message carries, checked so that callers can rely on types and shapes.

    Raises:
        WireError: it carries none, or one that is not as documented.
    """
    try:
        if kind == "Frame":
            return _frame(fields, raw, frame_size)
        if kind == "Sound":
            return _sound(fields, raw)
        if kind == "Probe":
            fields["captions"] = tuple(str(language) for language in fields["captions"])
            return _checked(Probe(**fields))
        event: Event = _KINDS[kind](**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"{kind}: {type(error).__name__} {error}") from error
    return _checked(event)


def _frame(fields: dict[str, Any], raw: bytearray, frame_size: int) -> Frame:
    import numpy as np

    height, width = int(fields["height"]), int(fields["width"])
    if not (0 < height <= frame_size and 0 < width <= frame_size):
        raise WireError(f"a frame of {width}x{height}")
    signature = bytes.fromhex(fields["signature"])
    if len(signature) != SIGNATURE_EDGE**2:
        raise WireError(f"a signature of {len(signature)} bytes")
    pixels = np.frombuffer(raw, np.uint8).reshape(height, width, 3)
    return _checked(Frame(fields["time"], pixels, bool(fields["key"]), signature))


def _sound(fields: dict[str, Any], raw: bytearray) -> Sound:
    import numpy as np

    return _checked(Sound(fields["start"], np.frombuffer(raw, np.float32)))


_NUMBERS = ("time", "start", "end", "duration", "fps", "width", "height", "rotation", "streams")
_STRINGS = ("text", "language", "message", "format", "video_codec", "audio_codec")


def _checked(event: _E) -> _E:
    values = vars(event)
    for name in _NUMBERS:
        value = values.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise WireError(f"{name} {value!r:.40}")
        if not math.isfinite(value) or value < 0:
            raise WireError(f"{name} {value!r}")
    for name in _STRINGS:
        if not isinstance(values.get(name, ""), str):
            raise WireError(f"{name} is no text")
    return event
