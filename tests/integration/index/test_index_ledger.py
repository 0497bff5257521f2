"""The ledger over a real Weaviate."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from telecine.index import ledger as ledger_module
from telecine.index.client import IndexAbsentError
from telecine.index.index import Index
from telecine.index.ledger import Ledger
from telecine.planning.types import ObjectRecord, ObjectState

Make = Callable[..., ObjectRecord]

# A pair of lone surrogates is left out: JSON reads it as the one character it encodes.
TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff\x00\n\t "))
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
JSON = st.dictionaries(
    TEXT,
    st.recursive(
        SCALAR,
        lambda j: st.lists(j, max_size=3) | st.dictionaries(TEXT, j, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)
NAMES = st.lists(st.text("abcdefgh-@:", min_size=1, max_size=12), max_size=3)
ROWS = st.builds(
    ObjectRecord,
    id=st.uuids(),
    kube_namespace=st.just("media"),
    bucket=st.sampled_from(["films", "stills"]),
    connection=st.just("archive"),
    asset_id=TEXT,
    path=TEXT,
    size=st.integers(-1, 1 << 62),
    modified=st.floats(0, 1e10),
    fingerprint=TEXT,
    version=TEXT,
    mime_type=TEXT,
    source_metadata=JSON,
    fields=JSON,
    blob_property=TEXT,
    state=st.sampled_from([s for s in ObjectState if s is not ObjectState.DELETED]),
    recipes=NAMES,
    content_hash=TEXT,
    documents=st.integers(0, 1 << 40),
    reason=TEXT,
    message=TEXT,
    attempts=st.integers(0, 100),
    retry_at=st.floats(0, 1e10),
    dead_letter=st.booleans(),
    first_seen=st.floats(0, 1e10),
    failed_at=st.floats(0, 1e10),
    extracted_at=st.floats(0, 1e10),
    syncs=NAMES,
    run=st.text("abc/.1", max_size=10),
    chunk=st.integers(-1, 1000),
    replace=st.booleans(),
    owner=st.just("telecine/media/films"),
)


def in_bucket(prefix: int) -> UUID:
    """A random id in the range of one Bucket, as `planning.identity` lays them out."""
    return UUID(int=prefix << 80 | random.getrandbits(80))


def span(prefix: int) -> tuple[UUID, UUID]:
    return UUID(int=prefix << 80), UUID(int=(prefix << 80) | ((1 << 80) - 1))


@given(st.lists(ROWS, min_size=20, max_size=40, unique_by=lambda r: r.id))
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, *HealthCheck],
)
def test_a_row_comes_back_exactly_as_it_was_written(ledger: Ledger, written: list) -> None:
    ledger.insert(written)
    found = ledger.get([r.id for r in written])
    for row in written:
        assert asdict(found[row.id]) == asdict(row)


def test_a_megabyte_of_metadata_comes_back(ledger: Ledger, record: Make) -> None:
    row = record(source_metadata={"notes": "é😀\0\n" * 200_000}, message="x" * 1_000_000)
    ledger.insert([row])
    assert ledger.get([row.id]) == {row.id: row}


def test_a_scan_returns_every_row_of_its_range_once_and_in_order(
    ledger: Ledger, record: Make
) -> None:
    prefixes = [0, 1, 7 << 20, 0x7FFF_FFFF_FFFF, 0x8000_0000_0000, 0xFFFF_FFFF_FFFF]
    ids = {prefix: [in_bucket(prefix) for _ in range(3000)] for prefix in prefixes}
    edges = {prefix: span(prefix) for prefix in prefixes[1:]}
    for prefix, (low, high) in edges.items():
        ids[prefix] += [low, high]
    rows = [record(id=i) for group in ids.values() for i in group]
    random.shuffle(rows)
    ledger.insert(rows)
    for prefix in prefixes:
        assert [r.id for r in ledger.scan(*span(prefix))] == sorted(ids[prefix])
    assert [r.id for r in ledger.scan_all()] == sorted(r.id for r in rows)


def test_a_scan_of_an_empty_range_is_empty(ledger: Ledger, record: Make) -> None:
    ledger.insert([record(id=in_bucket(5))])
    assert list(ledger.scan(*span(4))) == []
    assert list(ledger.scan(*span(6))) == []


def test_inserting_an_id_again_replaces_its_row(ledger: Ledger, record: Make) -> None:
    old = record(syncs=["one"], attempts=3, run="one/a", chunk=4)
    new = replace(old, syncs=[], attempts=0, run="", chunk=-1, path="new.txt")
    ledger.insert([old, new])
    ledger.insert([old])
    ledger.patch({old.id: {"message": "patched", "state": ObjectState.FAILED}})
    ledger.insert([new])
    assert list(ledger.scan_all()) == [new]
    assert ledger.counts(kube_namespace="media", sync="one")["objects"] == 0


def test_a_patch_changes_the_given_columns_and_no_others(ledger: Ledger, record: Make) -> None:
    row = record(source_metadata={"a": None, "b": 1.5}, syncs=["one"], recipes=["x"])
    other = record()
    ledger.insert([row, other])
    changes = {
        "message": "é\n\0\udc80",
        "attempts": 2,
        "dead_letter": True,
        "state": ObjectState.FAILED,
        "source_metadata": {"c": [None, {}]},
    }
    assert ledger.patch({row.id: changes}) == set()
    patched = replace(row, **changes)
    assert ledger.get([row.id]) == {row.id: patched}
    assert {r.id: r for r in ledger.scan_all()} == {row.id: patched, other.id: other}
    ledger.patch({row.id: {"syncs": [], "recipes": [], "dead_letter": False, "attempts": 0}})
    emptied = replace(patched, syncs=[], recipes=[], dead_letter=False, attempts=0)
    assert ledger.get([row.id]) == {row.id: emptied}
    assert ledger.counts(kube_namespace="media", sync="one")["objects"] == 0


def test_a_patch_of_many_columns_outranks_earlier_patches_of_some(
    ledger: Ledger, record: Make
) -> None:
    row = record(state=ObjectState.PENDING, run="s/1", chunk=2)
    ledger.insert([row])
    ledger.patch({row.id: {"message": "failed once", "attempts": 1, "state": "FAILED"}})
    done = {
        "state": ObjectState.COMPLETED,
        "recipes": ["r"],
        "content_hash": "h",
        "documents": 3,
        "reason": "",
        "message": "",
        "attempts": 0,
        "retry_at": 0.0,
        "dead_letter": False,
        "extracted_at": 5.0,
        "chunk": -1,
        "replace": False,
    }
    ledger.patch({row.id: done})
    assert list(ledger.scan_all()) == [replace(row, **done)]
    ledger.patch({row.id: {"attempts": 7}})
    assert list(ledger.scan_all()) == [replace(row, **(done | {"attempts": 7}))]


def test_a_patch_never_makes_a_row_and_tells_which_were_absent(
    ledger: Ledger, record: Make
) -> None:
    row, absent = record(), uuid.uuid4()
    ledger.insert([row])
    assert ledger.patch({row.id: {"size": 5}, absent: {"size": 5}}) == {absent}
    assert list(ledger.scan_all()) == [replace(row, size=5)]


def test_two_writers_of_different_columns_do_not_undo_each_other(
    ledger: Ledger, record: Make
) -> None:
    rows = [record() for _ in range(20)]
    ledger.insert(rows)

    def write(column: str, values: list[object]) -> None:
        for value in values:
            ledger.patch({row.id: {column: value} for row in rows})

    writers = [
        threading.Thread(target=write, args=("attempts", list(range(1, 11)))),
        threading.Thread(target=write, args=("retry_at", [float(n) for n in range(1, 11)])),
        threading.Thread(target=write, args=("syncs", [[f"s{n}"] for n in range(1, 11)])),
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert {r.id: (r.attempts, r.retry_at, r.syncs) for r in ledger.scan_all()} == {
        row.id: (10, 10.0, ["s10"]) for row in rows
    }


@pytest.mark.parametrize("columns", [{"asset_id": "x"}, {"bucket": "x"}, {"no_column": 1}])
def test_a_patch_of_what_identifies_an_object_is_refused(
    ledger: Ledger, record: Make, columns: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=next(iter(columns))):
        ledger.patch({uuid.uuid4(): columns})


def test_a_deletion_spares_rows_of_another_owner(ledger: Ledger, record: Make) -> None:
    mine, other = record(owner="us"), record(owner="them")
    ledger.insert([mine, other])
    assert ledger.delete([mine.id, other.id, uuid.uuid4()], owner="us") == 1
    assert list(ledger.scan_all()) == [other]
    assert ledger.delete([other.id]) == 1
    assert list(ledger.scan_all()) == []


def test_pending_rows_of_some_chunks_of_a_run_are_found(ledger: Ledger, record: Make) -> None:
    rows = [record(id=in_bucket(3), run="s/1", chunk=n % 4) for n in range(40)]
    others = [
        record(id=in_bucket(3), run="s/2", chunk=1),
        record(id=in_bucket(3), run="s/1", chunk=1, state=ObjectState.COMPLETED),
    ]
    ledger.insert(rows + others)
    found = ledger.pending(span(3), "s/1", [1, 3])
    assert {r.id for r in found} == {r.id for r in rows if r.chunk in (1, 3)}
    assert list(ledger.pending(span(3), "s/1", [])) == []


def test_pending_rows_beyond_the_limit_of_a_query_are_found_too(
    ledger: Ledger, record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "MOST_FILTERED", 30)
    rows = [record(id=in_bucket(3), run="s/1", chunk=n % 2) for n in range(80)]
    ledger.insert([*rows, record(id=in_bucket(4), run="s/1", chunk=0)])
    found = [r.id for r in ledger.pending(span(3), "s/1", [0])]
    assert sorted(found) == sorted(r.id for r in rows if r.chunk == 0)


def test_rows_are_found_by_bucket_sync_and_state(ledger: Ledger, record: Make) -> None:
    one = record(bucket="films", syncs=["a", "b"], state=ObjectState.FAILED)
    two = record(bucket="stills", syncs=["b"])
    ledger.insert([one, two])

    def found(**by: object) -> list[ObjectRecord]:
        return sorted(ledger.find(kube_namespace="media", **by), key=lambda r: r.bucket)  # type: ignore[arg-type]

    assert found() == [one, two]
    assert found(bucket="films") == [one]
    assert found(sync="b") == [one, two]
    assert found(sync="b", state=ObjectState.PENDING) == [two]
    assert found(state="FAILED") == [one]
    assert len(found(limit=1)) == 1


def test_weaviate_counts_objects_by_state_and_their_documents(ledger: Ledger, record: Make) -> None:
    ledger.insert(
        [
            record(state=ObjectState.COMPLETED, documents=5, syncs=["a"], recipes=["new"]),
            record(state=ObjectState.COMPLETED, documents=2, syncs=["a", "b"], recipes=["old"]),
            record(state=ObjectState.FAILED, syncs=["b"]),
            record(state=ObjectState.FAILED, dead_letter=True, documents=1),
            record(bucket="stills", documents=4),
        ]
    )
    assert ledger.counts(kube_namespace="media") == {
        "objects": 5,
        "completed": 2,
        "pending": 1,
        "failed": 2,
        "dead": 1,
        "documents": 12,
    }
    assert ledger.counts(kube_namespace="media", bucket="films")["documents"] == 8
    by_sync = ledger.counts(kube_namespace="media", bucket="films", sync="b")
    assert (by_sync["objects"], by_sync["completed"], by_sync["failed"]) == (2, 1, 1)
    assert ledger.counts(kube_namespace="media", bucket="none")["objects"] == 0
    assert ledger.lacking("new") == 2


def test_counts_follow_patches(ledger: Ledger, record: Make) -> None:
    row = record()
    ledger.insert([row])
    ledger.patch({row.id: {"state": ObjectState.COMPLETED, "documents": 7, "recipes": ["r"]}})
    counts = ledger.counts(kube_namespace="media")
    assert (counts["completed"], counts["pending"], counts["documents"]) == (1, 0, 7)
    assert ledger.lacking("r") == 0


def test_the_ledger_of_a_tenant_that_does_not_exist_is_absent(index: Index) -> None:
    with pytest.raises(IndexAbsentError):
        list(index.ledger("no-such-tenant").scan_all())
    with pytest.raises(IndexAbsentError):
        index.ledger("no-such-tenant").counts(kube_namespace="media")
