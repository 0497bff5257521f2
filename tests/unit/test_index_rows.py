"""How rows, ids, metadata and names become what Weaviate stores."""

from __future__ import annotations

import subprocess
import sys
import uuid
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telecine.index import rows
from telecine.index.client import (
    BATCH_BYTES,
    BATCH_OBJECTS,
    IndexUnavailableError,
    WeaviateSettings,
    batched_by_size,
)
from telecine.index.pairs import metadata_pairs, pair
from telecine.index.schema import collection_name
from telecine.index.wire import escape, result_id, unescape
from telecine.planning.types import ObjectRecord, ObjectState, Recipe

ROW = ObjectRecord(
    id=uuid.UUID(int=7),
    kube_namespace="media",
    bucket="films",
    connection="archive",
    asset_id="a",
    path="a",
    size=1,
    modified=1.5,
    fingerprint="f",
    version="v",
    mime_type="text/plain",
    syncs=["s"],
    owner="o",
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(ObjectState),
        "recipes": st.lists(st.text(max_size=3), max_size=2),
        "content_hash": st.text(max_size=3),
        "documents": st.integers(0, 9),
        "reason": st.text(max_size=3),
        "message": st.text(max_size=3),
        "attempts": st.integers(0, 9),
        "retry_at": st.floats(0, 9),
        "dead_letter": st.booleans(),
        "extracted_at": st.floats(0, 9),
        "chunk": st.integers(-1, 9),
        "replace": st.booleans(),
        "syncs": st.lists(st.text(max_size=3), max_size=2),
        "fingerprint": st.text(max_size=3),
        "version": st.text(max_size=3),
        "mime_type": st.text(max_size=3),
        "source_metadata": st.dictionaries(st.text(max_size=3), st.none() | st.integers()),
        "failed_at": st.floats(0, 9),
        "run": st.text(max_size=3),
    },
)


def test_every_column_of_a_row_is_stored_once() -> None:
    packed = [column for columns in rows.PACKS.values() for column in columns]
    assert sorted(["id", *packed]) == sorted(f.name for f in fields(ObjectRecord))


@given(st.lists(CHANGES | CHANGES.map(lambda c: {**_PROGRESS, **c}), max_size=6))
def test_a_row_after_any_patches_is_the_row_with_the_last_value_of_each_column(
    patches: list,
) -> None:
    stored, expected = dict(rows.encode(ROW)), ROW
    for changes in patches:
        stored |= rows.encode_patch(changes)
        expected = replace(expected, **changes)
    assert rows.decode(ROW.id, {name: stored.get(name) for name in rows.READ_ALL}) == expected
    overlaid = any(stored.get(name) is not None for name in rows.OVERLAYS.values())
    assert stored.get(rows.MARK) or not overlaid


_PROGRESS = {column: getattr(ROW, column) for column in rows.PACKS["progress"]}


def test_what_the_ledger_records_of_an_extraction_leaves_no_patched_columns() -> None:
    written = rows.encode_patch({**_PROGRESS, "syncs": ["a"]})
    assert rows.MARK not in written


@given(st.text(st.characters()))
def test_any_text_is_escaped_into_utf8_and_back(text: str) -> None:
    escaped = escape(text)
    escaped.encode()
    assert unescape(escaped) == text


def test_plain_text_is_not_changed_by_escaping() -> None:
    assert escape("é 😀 \0\n") == "é 😀 \0\n"


@pytest.mark.parametrize("number", [0, 1, 255, 1 << 120, (1 << 128) - 1])
def test_ids_of_replies_are_numbers_without_leading_zeros(number: int) -> None:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    result = SimpleNamespace(metadata=SimpleNamespace(id_as_bytes=raw))
    assert result_id(result) == uuid.UUID(int=number)


def test_metadata_becomes_dotted_pairs_of_its_scalars() -> None:
    metadata = {"a": {"b": [1, "x", {"c": True}]}, "d": None, "e": 1.5, "f": "k=v", "g": []}
    assert metadata_pairs(metadata) == {
        "a.b=1",
        "a.b=x",
        "a.b.c=true",
        "d=null",
        "e=1.5",
        "f=k=v",
    }


def test_a_huge_value_is_indexed_by_its_digest() -> None:
    (stored,) = metadata_pairs({"a": "x" * 100_000})
    assert stored == pair("a", "x" * 100_000)
    assert stored != pair("a", "x" * 100_001)
    assert len(stored) < 100


def test_each_extractor_version_and_model_has_its_own_collection() -> None:
    recipe = Recipe("text_extractor", "v1", {}, "d" * 12)
    assert collection_name(recipe) == "Telecine_text_extractor_v1"
    names = {
        collection_name(recipe),
        collection_name(recipe, "org/model-a"),
        collection_name(recipe, "org/model-b"),
        collection_name(recipe._replace(version="v2")),
    }
    assert len(names) == 4
    assert all(name.replace("_", "a").isalnum() for name in names)


def test_batches_stay_under_both_bounds() -> None:
    def item(size: int) -> SimpleNamespace:
        return SimpleNamespace(ByteSize=lambda: size)

    many = list(batched_by_size(item(1) for _ in range(BATCH_OBJECTS * 2 + 1)))
    assert [len(b) for b in many] == [BATCH_OBJECTS, BATCH_OBJECTS, 1]
    large = [BATCH_BYTES - 1, 1, 1, BATCH_BYTES * 3, 1]
    found = [[i.ByteSize() for i in b] for b in batched_by_size(item(n) for n in large)]
    assert found == [[BATCH_BYTES - 1, 1], [1], [BATCH_BYTES * 3], [1]]


def test_settings_do_not_show_the_key() -> None:
    assert "secret" not in repr(WeaviateSettings("http://x", api_key="secret"))


def test_the_names_of_the_index_are_importable_without_the_client_library() -> None:
    code = (
        "import sys, telecine.index.index, telecine.index.client, telecine.index.search; "
        "sys.exit(sum(name in sys.modules for name in ('weaviate', 'grpc', 'httpx')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unavailable_index_may_come_back_unless_told_otherwise() -> None:
    assert not IndexUnavailableError("x").permanent
    assert IndexUnavailableError("x", permanent=True).permanent
