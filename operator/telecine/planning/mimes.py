"""Mime types: by the ending of a name, and which type of blob each is."""

from __future__ import annotations

import mimetypes

from telecine.api.bucket import BlobType
from telecine.planning.types import Asset

UNKNOWN = "application/octet-stream"
#: What stores tell of content whose type nobody gave them.
_SAYS_NOTHING = frozenset({"", UNKNOWN, "binary/octet-stream", "application/x-binary"})

#: What Python's own table lacks, or has in some versions only.
_ENDINGS = {
    "application/geo+json": (".geojson",),
    "application/json": (".json",),
    "application/toml": (".toml",),
    "application/x-ndjson": (".jsonl", ".ndjson"),
    "application/xml": (".xml",),
    "application/yaml": (".yaml", ".yml"),
    "audio/aac": (".aac",),
    "audio/flac": (".flac",),
    "audio/mp4": (".m4a", ".m4b"),
    "audio/mpeg": (".mp3",),
    "audio/ogg": (".ogg", ".oga", ".opus"),
    "audio/wav": (".wav",),
    "image/avif": (".avif",),
    "image/heic": (".heic",),
    "image/heif": (".heif",),
    "image/jxl": (".jxl",),
    "image/webp": (".webp",),
    "text/csv": (".csv",),
    "text/html": (".html", ".htm"),
    "text/javascript": (".js", ".mjs"),
    "text/markdown": (".md", ".markdown"),
    "text/plain": (".txt", ".text", ".log", ".srt", ".rst", ".adoc", ".ini", ".cfg"),
    "text/tab-separated-values": (".tsv",),
    "text/vtt": (".vtt",),
    "video/mp2t": (".ts", ".m2ts"),
    "video/mp4": (".mp4", ".m4v"),
    "video/mpeg": (".mpg", ".mpeg"),
    "video/quicktime": (".mov",),
    "video/webm": (".webm",),
    "video/x-matroska": (".mkv",),
    "video/x-msvideo": (".avi",),
}
#: Without the machine's mime.types: a plan must be the same everywhere.
_TYPES = dict(mimetypes.MimeTypes(filenames=()).types_map[True]) | {
    ending: mime_type for mime_type, endings in _ENDINGS.items() for ending in endings
}
_JSON = frozenset({"application/json", "text/json", "application/x-ndjson", "application/jsonl"})
_TEXT = frozenset(
    {
        *("application/xml", "application/yaml", "application/x-yaml", "application/toml"),
        *("application/javascript", "application/ecmascript", "application/sql"),
    }
)


def known_mime(path: str) -> str | None:
    """The type by the file name's ending; None when it has none or an unknown one."""
    stem, dot, ending = path.rpartition("/")[2].rpartition(".")
    return _TYPES.get(f".{ending.lower()}") if dot and stem else None


def guess_mime(path: str) -> str:
    """The type by the file name's ending, the same on every machine; UNKNOWN when it has none."""
    return known_mime(path) or UNKNOWN


def told_mime(asset: Asset) -> str | None:
    """What the source tells of the type, in lower case; None when that says nothing."""
    told = (asset.mime_type or "").strip().lower()
    return None if told in _SAYS_NOTHING else told


def mime_of(asset: Asset) -> str:
    """What the source tells; when that says nothing, what the name tells."""
    return told_mime(asset) or guess_mime(asset.path)


def blob_type(mime_type: str) -> BlobType:
    """Which type of blob a mime type is; parameters such as a charset do not matter."""
    base = mime_type.partition(";")[0].strip().lower()
    if base in _JSON or base.endswith("+json"):
        return BlobType.JSON
    family = base.partition("/")[0]
    if family in ("image", "audio", "video"):
        return BlobType(family)
    if family == "text" or base in _TEXT or base.endswith(("+xml", "+yaml")):
        return BlobType.TEXT
    return BlobType.BINARY
