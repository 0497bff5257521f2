"""Schema, tenants, and what happens when Weaviate is away or says no."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from index_samples import TEXTS
from telecine.api.namespace import NamespaceState
from telecine.index.client import (
    IndexAbsentError,
    IndexSchemaError,
    IndexUnavailableError,
    WeaviateSettings,
    open_index,
)
from telecine.index.documents import StoredDocument
from telecine.index.index import Index
from telecine.index.schema import DocumentCollection
from telecine.planning.types import ObjectRecord, Property
from weaviate_process import WeaviateProcess


@pytest.fixture
def collection(index: Index) -> Iterator[DocumentCollection]:
    name = f"Telecine_schema_{uuid.uuid4().hex[:12]}"
    yield DocumentCollection(name, ("v",), (Property("title", "text"),))
    index.session.client.collections.delete(name)


@pytest.fixture
def lone_weaviate(tmp_path: Path) -> Iterator[WeaviateProcess]:
    """A Weaviate of this test's own, with API keys."""
    process = WeaviateProcess(
        tmp_path / "weaviate",
        AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED="false",
        AUTHENTICATION_APIKEY_ENABLED="true",
        AUTHENTICATION_APIKEY_ALLOWED_KEYS="right-key-7f3a,reader-key-5d2b",
        AUTHENTICATION_APIKEY_USERS="telecine,reader",
        AUTHORIZATION_ADMINLIST_ENABLED="true",
        AUTHORIZATION_ADMINLIST_USERS="telecine",
        AUTHORIZATION_ADMINLIST_READONLY_USERS="reader",
    )
    try:
        process.start()
        yield process
    finally:
        process.kill()


def test_check_tells_the_version(index: Index) -> None:
    assert index.check().startswith("Weaviate 1.")


def test_creating_the_schema_twice_or_at_once_makes_it_once(
    index: Index, collection: DocumentCollection
) -> None:
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(index.ensure_schema, [collection]) for _ in range(6)]:
            done.result()
    index.ensure_schema([collection])
    assert collection.name in index.document_collections()
    assert "Telecine_objects" not in index.document_collections()


def test_missing_properties_are_added_once_also_by_several_at_a_time(
    index: Index, collection: DocumentCollection
) -> None:
    index.ensure_schema([collection])
    more = replace(
        collection, properties=(*collection.properties, Property("scene", "int", searchable=False))
    )
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(index.ensure_schema, [more]) for _ in range(4)]:
            done.result()
    config = index.session.client.collections.use(collection.name).config.get()
    assert [p.name for p in config.properties].count("scene") == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"properties": (Property("title", "int"),)}, r"title .* is of type text.* needs int"),
        ({"vectors": ("v", "w")}, r"vector w .* is missing"),
    ],
)
def test_a_collection_of_another_shape_is_told_and_left_alone(
    index: Index, collection: DocumentCollection, change: dict, said: str
) -> None:
    index.ensure_schema([collection])
    with pytest.raises(IndexSchemaError, match=said) as caught:
        index.ensure_schema([replace(collection, **change)])
    assert collection.name in str(caught.value)


def test_somebody_elses_collection_of_the_same_name_is_refused(
    index: Index, collection: DocumentCollection
) -> None:
    index.session.client.collections.create(collection.name)
    with pytest.raises(IndexSchemaError, match=r"not multi-tenant"):
        index.ensure_schema([collection])


def test_an_output_named_like_a_property_of_the_index_is_refused(index: Index) -> None:
    with pytest.raises(ValueError, match="owner"):
        index.ensure_schema([DocumentCollection("Telecine_x", (), (Property("owner", "text"),))])


def test_a_suspended_tenant_answers_nothing_and_nothing_wakes_it(
    index: Index,
    tenant: str,
    record: Callable[..., ObjectRecord],
    document: Callable[..., StoredDocument],
) -> None:
    ledger, documents, row = index.ledger(tenant), index.documents(tenant, TEXTS), record()
    ledger.insert([row])
    documents.write([document()])
    assert index.set_tenant(tenant, NamespaceState.SUSPENDED, [TEXTS]) == "INACTIVE"
    refused: list[Callable[[], object]] = [
        lambda: list(ledger.scan_all()),
        lambda: ledger.get([row.id]),
        lambda: ledger.insert([row, record()]),
        lambda: ledger.patch({row.id: {"size": 3}}),
        lambda: ledger.delete([row.id]),
        lambda: ledger.counts(kube_namespace="media"),
        lambda: documents.write([document()]),
        lambda: documents.count(),
        lambda: list(documents.scan()),
        lambda: documents.delete_object(uuid.uuid4()),
        lambda: documents.update_metadata(uuid.uuid4(), {}, {}),
        lambda: documents.search("x", {"text_embedding": [1.0, 0.0, 0.0]}),
    ]
    for act in refused:
        with pytest.raises(IndexUnavailableError, match="INACTIVE") as caught:
            act()
        assert not caught.value.permanent
        assert not isinstance(caught.value, IndexAbsentError)
    assert index.tenant_state(tenant) == "INACTIVE"
    assert index.set_tenant(tenant, NamespaceState.ACTIVE, [TEXTS]) == "ACTIVE"
    assert list(ledger.scan_all()) == [row]
    assert documents.count() == 1


def test_a_tenant_moves_also_in_collections_that_are_not_named(index: Index, tenant: str) -> None:
    index.set_tenant(tenant, NamespaceState.SUSPENDED)
    with pytest.raises(IndexUnavailableError, match="INACTIVE"):
        index.documents(tenant, TEXTS).count()


def test_archiving_without_the_offload_module_reaches_inactive_and_says_so(
    index: Index, tenant: str
) -> None:
    assert index.set_tenant(tenant, NamespaceState.ARCHIVED, [TEXTS]) == "INACTIVE"
    assert index.set_tenant(tenant, NamespaceState.ARCHIVED, [TEXTS]) == "INACTIVE"
    assert index.tenant_state(tenant) == "INACTIVE"


def test_writing_makes_no_tenant(index: Index, record: Callable[..., ObjectRecord]) -> None:
    name = f"never-{uuid.uuid4().hex}"
    with pytest.raises(IndexAbsentError):
        index.ledger(name).insert([record()])
    assert index.tenant_state(name) is None


def test_a_dropped_tenant_is_gone_from_telecines_collections_alone(
    index: Index, tenant: str, record: Callable[..., ObjectRecord]
) -> None:
    index.ledger(tenant).insert([record()])
    foreign = f"Foreign{uuid.uuid4().hex[:8]}"
    index.session.client.collections.create_from_dict(
        {"class": foreign, "multiTenancyConfig": {"enabled": True}}
    )
    theirs = index.session.client.collections.use(foreign)
    try:
        theirs.tenants.create([tenant])
        index.drop_tenant(tenant, [TEXTS.name])
        assert index.tenant_state(tenant) == "ACTIVE"
        with pytest.raises(IndexAbsentError):
            index.documents(tenant, TEXTS).search("x", None, mode="keyword")
        index.drop_tenant(tenant)
        assert index.tenant_state(tenant) is None
        index.drop_tenant(tenant)
        with pytest.raises(ValueError, match=foreign):
            index.drop_tenant(tenant, [foreign])
        assert theirs.tenants.get_by_name(tenant) is not None
    finally:
        index.session.client.collections.delete(foreign)


def test_keys_decide_who_may_do_what_and_are_never_told(lone_weaviate: WeaviateProcess) -> None:
    with open_index(lone_weaviate.settings("right-key-7f3a")) as index:
        index.ensure_schema([TEXTS])
        assert index.set_tenant("t", NamespaceState.ACTIVE, [TEXTS]) == "ACTIVE"
        assert index.ledger("t").counts(kube_namespace="media")["objects"] == 0
        index.check()
    for key in ("wrong-key-9c1e", None):
        with (
            pytest.raises(IndexUnavailableError) as caught,
            open_index(lone_weaviate.settings(key)) as index,
        ):
            index.check()
        assert caught.value.permanent
        assert "wrong-key-9c1e" not in str(caught.value)
    with open_index(lone_weaviate.settings("reader-key-5d2b")) as index:
        for write in (
            lambda: index.set_tenant("u", NamespaceState.ACTIVE, [TEXTS]),
            lambda: index.ledger("t").patch({uuid.uuid4(): {"size": 1}}),
            lambda: index.ledger("t").delete([uuid.uuid4()]),
        ):
            with pytest.raises(IndexUnavailableError) as caught:
                write()
            assert caught.value.permanent
            assert "reader-key-5d2b" not in str(caught.value)
    assert "right-key" not in repr(lone_weaviate.settings("right-key-7f3a"))


def test_a_weaviate_that_goes_away_is_told_soon_and_found_again(
    lone_weaviate: WeaviateProcess, record: Callable[..., ObjectRecord]
) -> None:
    settings = lone_weaviate.settings("right-key-7f3a")
    row = record()
    with open_index(settings) as index:
        index.ensure_schema([TEXTS])
        index.set_tenant("t", NamespaceState.ACTIVE, [TEXTS])
        ledger = index.ledger("t")
        ledger.insert([row])
        lone_weaviate.kill()
        for act in (
            index.check,
            lambda: list(ledger.scan_all()),
            lambda: ledger.insert([row]),
            lambda: ledger.patch({row.id: {"size": 1}}),
            lambda: ledger.delete([row.id]),
            lambda: ledger.get([row.id]),
            lambda: ledger.counts(kube_namespace="media"),
            lambda: index.documents("t", TEXTS).search("x", None, mode="keyword"),
            lambda: open_index(settings),
        ):
            started = time.monotonic()
            with pytest.raises(IndexUnavailableError) as caught:
                act()
            assert time.monotonic() - started < 6
            assert not caught.value.permanent
        lone_weaviate.start()
        deadline = time.monotonic() + 30
        while True:
            try:
                assert list(ledger.scan_all()) == [row]
                break
            except IndexUnavailableError:
                assert time.monotonic() < deadline
                time.sleep(0.1)


def test_a_server_that_never_answers_is_told_within_seconds() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        with pytest.raises(IndexUnavailableError):
            open_index(WeaviateSettings(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        assert time.monotonic() - started < 8


@pytest.mark.parametrize("endpoint", ["weaviate:8080", "ftp://x", "http://", "http://x:port"])
def test_an_endpoint_that_is_no_url_waits_for_new_settings(endpoint: str) -> None:
    with pytest.raises(IndexUnavailableError, match="URL") as caught:
        open_index(WeaviateSettings(endpoint))
    assert caught.value.permanent
