"""Content to plain text: encodings, markup and JSON; says what is wrong when there is none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from telecine.api.bucket import BlobType
from telecine.extractors.base import Content, ExtractionError
from telecine.extractors.decoding import decode
from telecine.extractors.json_reading import json_text
from telecine.extractors.markup import markup_text

if TYPE_CHECKING:
    from collections.abc import Iterator

_JSON_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson", ".geojson"})
_MARKUP_SUFFIXES = frozenset(
    {".html", ".htm", ".xhtml", ".xml", ".svg", ".rss", ".atom", ".opml", ".fb2"}
)
_MARKUP_TYPES = frozenset({"text/html", "application/xml", "text/xml"})
_HTML_START = re.compile(r"\s*+<(?:!doctype\s+html|html[\s>]|\?xml\s)", re.IGNORECASE)
_HEADING = re.compile(r"[ ]{0,3}#[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*")
_FENCE = re.compile(r"[ ]{0,3}(?:```|~~~)")
_MOST_BYTES = 256 << 20
"""Of one text, which is held in memory whole."""
_TITLE_LINES, _TITLE_LENGTH = 50, 300


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read; offsets of chunks count in `text`."""

    text: str
    title: str = ""


def read(content: Content, json_fields: Sequence[str] | None = None) -> Reading:
    """The text of one object.

    JSON (by blob type, MIME type or ending) becomes lines of `path: string`; HTML and XML lose
    their tags; everything else is taken as it is. Held in memory whole.

    Raises:
        ExtractionError: EmptyContent, TooLarge, NotText, WrongEncoding or InvalidJson; all
            permanent.
    """
    if content.size > _MOST_BYTES:
        raise ExtractionError(
            "TooLarge",
            f"{content.name} has {content.size:,} bytes and a text may have {_MOST_BYTES:,}: split "
            "it, or leave it out with fileFilters.maxSize",
            permanent=True,
        )
    data = content.path.read_bytes()
    if not data.strip():
        said = "is empty" if not data else f"holds only white space ({len(data)} bytes)"
        raise _empty(f"{content.name} {said}: there is nothing to index")
    text = decode(data, content.name)
    suffix = PurePosixPath(content.name).suffix.lower()
    mime_type = content.mime_type.partition(";")[0].strip().lower()
    if _is_json(content, suffix, mime_type):
        reading = Reading(json_text(text, json_fields, content.name))
        hint = "it has no strings" + (
            f" at json_fields {', '.join(json_fields)}" if json_fields else " in its values"
        )
    elif _is_markup(text, suffix, mime_type):
        reading = _read_markup(text)
        hint = "no text is left once tags, scripts and styles are taken away"
    else:
        reading = Reading(text, _markdown_title(text) if suffix in {".md", ".markdown"} else "")
        hint = "it holds only white space"
    if not reading.text.strip():
        raise _empty(f"{content.name} has nothing to index: {hint}")
    return reading


def _empty(message: str) -> ExtractionError:
    return ExtractionError("EmptyContent", message, permanent=True)


def _is_json(content: Content, suffix: str, mime_type: str) -> bool:
    return (
        content.blob_type is BlobType.JSON
        or suffix in _JSON_SUFFIXES
        or mime_type in {"application/json", "application/x-ndjson", "application/jsonl"}
        or mime_type.endswith("+json")
    )


def _is_markup(text: str, suffix: str, mime_type: str) -> bool:
    return (
        suffix in _MARKUP_SUFFIXES
        or mime_type in _MARKUP_TYPES
        or mime_type.endswith("+xml")
        or _HTML_START.match(text) is not None
    )


def _read_markup(text: str) -> Reading:
    title, body = markup_text(text)
    title = title[:_TITLE_LENGTH]
    return Reading(f"{title}\n\n{body}" if title and body else title or body, title)


def _markdown_title(text: str) -> str:
    """The first `# heading` near the start, outside of code."""
    in_code = False
    for line in _first_lines(text):
        if _FENCE.match(line):
            in_code = not in_code
        elif not in_code and (found := _HEADING.fullmatch(line)):
            return found.group(1)[:_TITLE_LENGTH]
    return ""


def _first_lines(text: str) -> Iterator[str]:
    position = 0
    for _ in range(_TITLE_LINES):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        yield text[position : min(end, position + 1000)].rstrip("\r")
        if end == len(text):
            return
        position = end + 1
