"""schemaMapping: which blob property an asset fills, and the fields of its object."""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from telecine.api.bucket import BlobType, SchemaProperty
from telecine.api.sync import MappingSource, MappingTarget, MappingTransform, SchemaMapping
from telecine.planning.metadata import ABSENT, look_up
from telecine.planning.types import Asset

_REGEX_INPUT = 1024
_MIME = mimetypes.MimeTypes(filenames=())
for _type, _extensions in {
    "text/markdown": (".md", ".markdown"),
    "application/json": (".json",),
    "application/x-ndjson": (".jsonl", ".ndjson"),
    "application/yaml": (".yaml", ".yml"),
    "image/webp": (".webp",),
    "image/heic": (".heic",),
    "image/avif": (".avif",),
    "video/x-matroska": (".mkv",),
    "video/webm": (".webm",),
    "video/mp4": (".mp4", ".m4v"),
    "video/mp2t": (".ts", ".m2ts"),
    "audio/flac": (".flac",),
    "audio/ogg": (".ogg", ".opus"),
    "audio/mp4": (".m4a",),
    "text/csv": (".csv",),
    "text/plain": (".txt", ".text", ".log", ".srt", ".rst"),
    "text/vtt": (".vtt",),
}.items():
    for _extension in _extensions:
        _MIME.add_type(_type, _extension)

_JSON_TYPES = frozenset(
    {"application/json", "text/json", "application/x-ndjson", "application/jsonl"}
)
_TEXT_TYPES = frozenset(
    {"application/xml", "application/yaml", "application/x-yaml", "application/xhtml+xml",
     "application/javascript", "application/toml"}
)  # fmt: skip


class Mapped(NamedTuple):
    """What an asset becomes in its Bucket."""

    blob_property: str
    mime_type: str
    fields: dict[str, Any]


def guess_mime(path: str) -> str:
    """The type by the file name's ending, the same on every machine."""
    name = path.rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    known = _MIME.types_map[True].get(f".{extension.lower()}") if dot and stem else None
    return known or "application/octet-stream"


def blob_type(mime_type: str) -> BlobType:
    """Which type of blob a mime type is."""
    base = mime_type.partition(";")[0].strip().lower()
    if base in _JSON_TYPES or base.endswith("+json"):
        return BlobType.JSON
    if base.startswith("text/") or base in _TEXT_TYPES:
        return BlobType.TEXT
    family = base.partition("/")[0]
    if family in ("image", "audio", "video"):
        return BlobType(family)
    return BlobType.BINARY


def choose_property(properties: Mapping[str, SchemaProperty], kind: BlobType) -> str | None:
    """The first property of that very type; then one that takes it as well."""
    wider = {BlobType.JSON: (BlobType.TEXT,)}.get(kind, ())
    for accepted in (kind, *wider, BlobType.BINARY):
        for name, prop in properties.items():
            if prop.type is accepted:
                return name
    return None


class Mapper:
    """A Sync's schemaMapping, compiled."""

    def __init__(
        self,
        mapping: Mapping[str, SchemaMapping] | None,
        properties: Mapping[str, SchemaProperty],
    ) -> None:
        self._mapping = dict(mapping or {})
        self._properties = dict(properties)
        self._patterns = {
            name: re.compile(m.pattern)
            for name, m in self._mapping.items()
            if m.source is MappingSource.FILENAME_REGEX and m.pattern
        }

    def fields_needed(self) -> frozenset[str]:
        """First parts of the metadata fields that the mapping reads."""
        needed = set()
        for mapping in self._mapping.values():
            if mapping.source is MappingSource.TAG:
                needed.add("tags")
            elif mapping.source is MappingSource.METADATA and mapping.key:
                needed.add(mapping.key)
        return frozenset(needed)

    def apply(self, asset: Asset, metadata: Mapping[str, Any]) -> Mapped | str:
        """The mapped asset, or a sentence that tells why it does not fit the Bucket."""
        mime_type = asset.mime_type or guess_mime(asset.path)
        prop: str | None = None
        fields: dict[str, Any] = {}
        for name, mapping in self._mapping.items():
            if mapping.target_type is MappingTarget.BLOB:
                mime_type = mapping.mime_type_override or mime_type
                prop = mapping.blob_property or name
                continue
            value = self._value(name, mapping, asset, metadata)
            if value is not None:
                fields[name] = value
            elif mapping.required:
                return f"required_mapping {name}: {mapping.source.value} gives no value"
        kind = blob_type(mime_type)
        if prop is None:
            prop = choose_property(self._properties, kind)
            if prop is None:
                return f"schema_mismatch {mime_type} fits none of {', '.join(self._properties)}"
        elif prop not in self._properties:
            return f"schema_mismatch the Bucket has no property {prop}"
        return Mapped(prop, mime_type, fields)

    def _value(
        self, name: str, mapping: SchemaMapping, asset: Asset, metadata: Mapping[str, Any]
    ) -> Any:
        value = self._source(name, mapping, asset, metadata)
        if value is None or value is ABSENT or value == "":
            value = mapping.default
        return value if value is None else transformed(value, mapping)

    def _source(
        self, name: str, mapping: SchemaMapping, asset: Asset, metadata: Mapping[str, Any]
    ) -> Any:
        match mapping.source:
            case MappingSource.FILE:
                return asset.path
            case MappingSource.TAG:
                tags = metadata.get("tags")
                return tags.get(mapping.key) if isinstance(tags, Mapping) else None
            case MappingSource.METADATA:
                return look_up(metadata, mapping.key or "")
            case MappingSource.FILENAME_REGEX:
                file_name = asset.path.rpartition("/")[2][:_REGEX_INPUT]
                found = self._patterns[name].search(file_name)
                return None if found is None else found.group(1 if found.re.groups else 0)
            case MappingSource.FOLDER_PATH:
                folder = asset.path.rpartition("/")[0]
                if mapping.segment is None:
                    return folder
                parts = folder.split("/") if folder else []
                inside = -len(parts) <= mapping.segment < len(parts)
                return parts[mapping.segment] if inside else None
            case MappingSource.CONSTANT:
                return mapping.value


def transformed(value: Any, mapping: SchemaMapping) -> Any:
    """The value after its transform; None when json_parse cannot read it."""
    match mapping.transform:
        case MappingTransform.LOWERCASE:
            return str(value).lower()
        case MappingTransform.UPPERCASE:
            return str(value).upper()
        case MappingTransform.TRIM:
            return str(value).strip()
        case MappingTransform.JSON_PARSE:
            try:
                return json.loads(value) if isinstance(value, str) else value
            except (ValueError, RecursionError):
                return None
        case None:
            return value
