"""EXIF as plain JSON values. Runs in the decoder only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

_EXIF, _GPS, _ORIENTATION = 0x8769, 0x8825, 0x0112
_MOST_TAGS = 200
_MOST_TEXT = 1000
_DROPPED = frozenset({"MakerNote", "PrintImageMatching", "JPEGInterchangeFormat", "ExifOffset"})


def exif_of(picture: Image.Image) -> tuple[dict[str, Any], int]:
    """The tags by their names, and the orientation (1 to 8; 1 when there is none).

    Damaged EXIF is none: the picture can be seen without it.
    """
    from PIL import ExifTags

    try:
        exif = picture.getexif()
        tags = dict(exif) | dict(exif.get_ifd(_EXIF))
        position = dict(exif.get_ifd(_GPS))
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, IndexError, AttributeError):
        return {}, 1
    named: dict[str, Any] = {}
    for number, value in list(tags.items())[:_MOST_TAGS]:
        name = ExifTags.TAGS.get(number, "")
        plain = _plain(value) if name and name not in _DROPPED else None
        if plain is not None and number not in (_EXIF, _GPS):
            named[name] = plain
    named.update(_place(position))
    orientation = tags.get(_ORIENTATION, 1)
    return named, orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _plain(value: Any) -> Any:
    """A JSON value, or None for what is none."""
    if isinstance(value, str):
        return value.strip("\x00 \t\r\n")[:_MOST_TEXT] or None
    if isinstance(value, bool | int):
        return value if abs(value) < 1 << 53 else None
    if isinstance(value, tuple | list):
        items = [_plain(item) for item in value[:16]]
        return items if items and all(item is not None for item in items) else None
    return _number(value)


def _number(value: Any) -> float | None:
    """Of a rational, which may divide by zero."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return round(number, 9) if math.isfinite(number) else None


def _place(tags: dict[int, Any]) -> dict[str, float]:
    """Degrees north and east (EXIF 2.32, GPS tags 1 to 6), metres above the sea."""
    found = {}
    for name, sign, value, most in (("latitude", 1, 2, 90), ("longitude", 3, 4, 180)):
        degrees = _degrees(tags.get(value))
        if degrees is not None and degrees <= most:
            south_or_west = str(tags.get(sign, "")).strip("\x00 ").upper() in ("S", "W")
            found[name] = round(-degrees if south_or_west else degrees, 7)
    altitude = _number(tags.get(6))
    if found and altitude is not None:
        found["altitude"] = -altitude if tags.get(5) in (1, b"\x01") else altitude
    return found


def _degrees(value: Any) -> float | None:
    if not isinstance(value, tuple) or len(value) != 3:
        return None
    parts = [part for part in map(_number, value) if part is not None and part >= 0]
    if len(parts) != 3:
        return None
    return parts[0] + parts[1] / 60 + parts[2] / 3600
