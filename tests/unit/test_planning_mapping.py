"""schemaMapping: which property an asset fills, and the fields made from it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.api.bucket import BlobType, SchemaProperty
from telecine.api.sync import SchemaMapping
from telecine.planning.mapping import Mapped, Mapper, Misfit
from telecine.planning.mimes import blob_type, guess_mime, known_mime
from telecine.planning.types import Asset


def asset(path: str = "a/b/notes.txt", mime_type: str | None = None) -> Asset:
    return Asset(path, path, 1, 1.0, "f", "v", mime_type)


def mapper(
    mapping: dict[str, dict[str, Any]] | None = None, properties: str = "text:text"
) -> Mapper:
    made = {
        name: SchemaProperty(type=BlobType(kind))
        for name, _, kind in (part.partition(":") for part in properties.split())
    }
    return Mapper({k: SchemaMapping.model_validate(v) for k, v in (mapping or {}).items()}, made)


def field(source: dict[str, Any], path: str = "a/b/notes.txt", **metadata: Any) -> Any:
    """The one field that a mapping gives; None when it gives none."""
    mapped = mapper({"it": source}).apply(asset(path), metadata)
    assert isinstance(mapped, Mapped), mapped
    return mapped.fields.get("it")


TYPES = [
    ("a.txt", "text/plain", BlobType.TEXT),
    ("a.TXT", "text/plain", BlobType.TEXT),
    ("a.md", "text/markdown", BlobType.TEXT),
    ("a.csv", "text/csv", BlobType.TEXT),
    ("a.html", "text/html", BlobType.TEXT),
    ("a.xml", "application/xml", BlobType.TEXT),
    ("a.yaml", "application/yaml", BlobType.TEXT),
    ("a.vtt", "text/vtt", BlobType.TEXT),
    ("a.json", "application/json", BlobType.JSON),
    ("a.jsonl", "application/x-ndjson", BlobType.JSON),
    ("a.geojson", "application/geo+json", BlobType.JSON),
    ("a.webp", "image/webp", BlobType.IMAGE),
    ("a.heic", "image/heic", BlobType.IMAGE),
    ("a.svg", "image/svg+xml", BlobType.IMAGE),
    ("a.jpg", "image/jpeg", BlobType.IMAGE),
    ("a.mkv", "video/x-matroska", BlobType.VIDEO),
    ("a.mp4", "video/mp4", BlobType.VIDEO),
    ("a.m4a", "audio/mp4", BlobType.AUDIO),
    ("a.pdf", "application/pdf", BlobType.BINARY),
    ("a.txt.gz", "application/octet-stream", BlobType.BINARY),
    ("a", "application/octet-stream", BlobType.BINARY),
    (".txt", "application/octet-stream", BlobType.BINARY),
    ("folder.txt/a", "application/octet-stream", BlobType.BINARY),
    ("", "application/octet-stream", BlobType.BINARY),
]


@pytest.mark.parametrize(("path", "mime_type", "kind"), TYPES)
def test_a_type_follows_from_the_names_ending(path: str, mime_type: str, kind: BlobType) -> None:
    assert guess_mime(path) == mime_type
    assert blob_type(mime_type) is kind


def test_what_a_machine_says_of_mime_types_changes_nothing() -> None:
    script = (
        "import mimetypes; mimetypes.add_type('x/y', '.txt'); mimetypes.add_type('x/z', '.zzz');"
        "from telecine.planning.mimes import guess_mime;"
        "print(guess_mime('a.txt'), guess_mime('a.zzz'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["text/plain", "application/octet-stream"], done.stderr


def test_parameters_of_a_type_do_not_matter() -> None:
    assert blob_type("Text/Plain; charset=UTF-8") is BlobType.TEXT
    assert blob_type("application/LD+JSON; x=y") is BlobType.JSON


@pytest.mark.parametrize("told", [None, "", "binary/octet-stream", "Application/Octet-Stream"])
def test_a_type_that_says_nothing_gives_way_to_the_names(told: str | None) -> None:
    mapped = mapper().apply(asset("a.md", told), {})
    assert mapped == Mapped("text", "text/markdown", {})


def test_the_sources_type_stands_over_the_names() -> None:
    assert isinstance(mapper().apply(asset("a.txt", "image/png"), {}), Misfit)


PLACES = [
    ("a.txt", "text:text", "text"),
    ("a.txt", "raw:binary text:text", "text"),
    ("a.txt", "one:text two:text", "one"),
    ("a.txt", "raw:binary", "raw"),
    ("a.json", "text:text data:json", "data"),
    ("a.json", "raw:binary text:text", "text"),
    ("a.png", "raw:binary text:text", "raw"),
    ("a.png", "film:video picture:image", "picture"),
    ("a.mp3", "raw:binary sound:audio", "sound"),
    ("a.png", "text:text", None),
    ("a.txt", "data:json", None),
    ("a", "text:text", None),
]


@pytest.mark.parametrize(("path", "properties", "place"), PLACES)
def test_an_asset_fills_the_property_of_its_type(
    path: str, properties: str, place: str | None
) -> None:
    mapped = mapper(None, properties).apply(asset(path), {})
    if place is None:
        assert isinstance(mapped, Misfit)
        assert mapped.reason == "schema_mismatch"
    else:
        assert isinstance(mapped, Mapped)
        assert mapped.blob_property == place


def test_a_blob_mapping_names_the_property_and_the_type() -> None:
    given_ = {
        "second": {"targetType": "blob", "source": "file", "mimeTypeOverride": "text/markdown"}
    }
    mapped = mapper(given_, "first:text second:text").apply(asset("a.bin"), {})
    assert mapped == Mapped("second", "text/markdown", {})


def test_of_several_blob_mappings_the_first_that_fits_is_taken() -> None:
    given_ = {
        "x": {"targetType": "blob", "source": "file", "blobProperty": "film"},
        "y": {"targetType": "blob", "source": "file", "blobProperty": "text"},
    }
    mapped = mapper(given_, "text:text film:video").apply(asset("a.txt"), {})
    assert mapped == Mapped("text", "text/plain", {})


@pytest.mark.parametrize(
    ("path", "said"),
    [("a.png", "image/png does not fit text (text)"), ("a", "or give it a mimeTypeOverride")],
)
def test_a_blob_that_its_property_does_not_take_is_a_mismatch(path: str, said: str) -> None:
    given_ = {"text": {"targetType": "blob", "source": "file"}}
    misfit = mapper(given_).apply(asset(path), {})
    assert isinstance(misfit, Misfit)
    assert said in misfit.detail


def test_a_blob_mapping_to_an_unknown_property_says_so() -> None:
    given_ = {"no": {"targetType": "blob", "source": "file"}}
    misfit = mapper(given_).apply(asset(), {})
    assert misfit == Misfit("schema_mismatch", "the Bucket has no property no")


SOURCES = [
    ({"source": "file"}, "a/b/notes.txt"),
    ({"source": "constant", "value": "x"}, "x"),
    ({"source": "tag", "key": "team"}, "Blue"),
    ({"source": "tag", "key": "none"}, None),
    ({"source": "metadata", "key": "meta.id"}, 7),
    ({"source": "metadata", "key": "flag"}, False),
    ({"source": "metadata", "key": "null"}, None),
    ({"source": "metadata", "key": "meta.none"}, None),
    ({"source": "filename_regex", "pattern": "n.t"}, "not"),
    ({"source": "filename_regex", "pattern": "(n)(o)"}, "n"),
    ({"source": "filename_regex", "pattern": "b/"}, None),
    ({"source": "filename_regex", "pattern": "x|(y)|n"}, None),
    ({"source": "filename_regex", "pattern": "^x", "default": "d"}, "d"),
    ({"source": "folder_path"}, "a/b"),
    ({"source": "folder_path", "segment": 0}, "a"),
    ({"source": "folder_path", "segment": -1}, "b"),
    ({"source": "folder_path", "segment": 2}, None),
    ({"source": "folder_path", "segment": -3, "default": "top"}, "top"),
    ({"source": "tag", "key": "team", "transform": "lowercase"}, "blue"),
    ({"source": "tag", "key": "team", "transform": "uppercase"}, "BLUE"),
    ({"source": "metadata", "key": "padded", "transform": "trim"}, "x"),
    ({"source": "metadata", "key": "blank", "transform": "trim", "default": "d"}, "d"),
    ({"source": "metadata", "key": "meta.id", "transform": "uppercase"}, 7),
    ({"source": "metadata", "key": "list", "transform": "uppercase"}, ["A", 1]),
    ({"source": "metadata", "key": "json", "transform": "json_parse"}, {"a": [1]}),
    ({"source": "metadata", "key": "broken", "transform": "json_parse"}, None),
    ({"source": "metadata", "key": "nan", "transform": "json_parse"}, None),
    ({"source": "metadata", "key": "deep", "transform": "json_parse"}, None),
    ({"source": "metadata", "key": "broken", "transform": "json_parse", "default": "[]"}, []),
    ({"source": "metadata", "key": "broken", "transform": "json_parse", "default": "no"}, "no"),
    ({"source": "tag", "key": "no", "default": "None", "transform": "lowercase"}, "none"),
]
METADATA = {
    "tags": {"team": "Blue"},
    "meta": {"id": 7},
    "flag": False,
    "null": None,
    "padded": " x\n",
    "blank": "  ",
    "list": ["a", 1],
    "json": '{"a": [1]}',
    "broken": "{",
    "nan": "[NaN]",
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize(("source", "value"), SOURCES)
def test_a_field_is_what_its_source_gives(source: dict[str, Any], value: Any) -> None:
    assert field(source, **METADATA) == value


def test_a_file_without_folders_has_no_folder() -> None:
    assert field({"source": "folder_path"}, "notes.txt") is None
    assert field({"source": "folder_path", "segment": 0}, "notes.txt") is None


def test_tags_that_are_no_mapping_are_none() -> None:
    assert field({"source": "tag", "key": "team"}, tags=["team"]) is None


@pytest.mark.parametrize("key", ["none", "null", "broken"])
def test_a_required_field_without_a_value_leaves_the_asset_out(key: str) -> None:
    given_ = {"source": "metadata", "key": key, "required": True, "transform": "json_parse"}
    misfit = mapper({"author": given_}).apply(asset(), METADATA)
    assert misfit == Misfit("required_mapping", "author: metadata gives no value")


def test_a_default_satisfies_a_required_field() -> None:
    given_ = {"source": "metadata", "key": "none", "required": True, "default": "d"}
    assert field(given_) == "d"


def test_a_pattern_sees_a_bounded_part_of_the_name() -> None:
    assert field({"source": "filename_regex", "pattern": "Z"}, "a" * 1024 + "Z.txt") is None


def test_a_mapping_tells_which_metadata_it_reads() -> None:
    given_ = {
        "a": {"source": "tag", "key": "team"},
        "b": {"source": "metadata", "key": "meta.id"},
        "c": {"source": "file"},
    }
    assert mapper(given_).fields_needed == {"tags", "meta.id"}


@given(st.text(st.characters()), st.text(st.characters()) | st.none())
def test_any_path_and_type_is_mapped_or_refused(path: str, mime_type: str | None) -> None:
    given_ = {
        "folder": {"source": "folder_path", "segment": -1},
        "name": {"source": "filename_regex", "pattern": r"^(.*?)\.", "transform": "json_parse"},
    }
    mapped = mapper(given_, "text:text raw:binary").apply(asset(path, mime_type), {})
    assert isinstance(mapped, Mapped)
    assert known_mime(path) in (None, guess_mime(path))
