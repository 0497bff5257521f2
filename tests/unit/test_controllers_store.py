"""The informers' cache, and who looks when something changes."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from telecine.controllers.queue import WorkQueue
from telecine.controllers.store import TENANT, Key, Store, references
from telecine.controllers.wake import wake, wake_for_secret
from telecine.execution.resolve import MissingReferenceError

SPECS: dict[str, dict[str, Any]] = {
    "Namespace": {"featureExtractors": [{"name": "text_extractor"}]},
    "Connection": {
        "provider": "s3", "s3": {"bucket": "b"}, "secretRef": {"name": "keys"},
    },
    "Bucket": {"namespaceRef": {"name": "library"}, "blobType": "text"},
    "Sync": {"bucketRef": {"name": "books"}, "connectionRef": {"name": "disk"}},
}  # fmt: skip


def body(kind: str, name: str, version: int = 1, **changes: Any) -> dict[str, Any]:
    metadata = {
        "name": name, "namespace": "media", "uid": changes.pop("uid", f"uid-{name}"),
        "resourceVersion": str(version), "generation": 1,
        **changes.pop("metadata", {}),
    }  # fmt: skip
    spec = {**SPECS[kind], **changes.pop("spec", {})}
    return {"metadata": metadata, "spec": spec, "status": changes.pop("status", {})}


def key(kind: str, name: str) -> Key:
    return Key(kind, "media", name)


@pytest.fixture
def store() -> Store:
    return Store()


def ready(status: str = "True", phase: str = "ACTIVE", **more: Any) -> dict[str, Any]:
    return {"phase": phase, "conditions": [{"type": "Ready", "status": status}], **more}


def woken(store: Store, change: Any, **options: Any) -> set[str]:
    queue: WorkQueue[Key] = WorkQueue()
    assert change is not None
    wake(store, queue, change, **options)
    return everything(queue)


def everything(queue: WorkQueue[Key]) -> set[str]:
    found = set()
    while (one := queue.get(timeout=0)) is not None:
        found.add(f"{one.kind}/{one.name}")
    return found


def test_versions_are_compared_as_numbers(store: Store) -> None:
    store.put("Bucket", body("Bucket", "books", 99))
    assert store.put("Bucket", body("Bucket", "books", 100)) is not None
    assert store.version(key("Bucket", "books")) == 100


def test_an_older_body_does_not_replace_a_newer_one(store: Store) -> None:
    store.put("Bucket", body("Bucket", "books", 5, status={"objects": 5}))
    assert store.put("Bucket", body("Bucket", "books", 4, status={"objects": 4})) is None
    assert store.put("Bucket", body("Bucket", "books", 5, status={"objects": 0})) is None
    assert store.lookup("Bucket", "media", "books")["status"] == {"objects": 5}


def test_an_answer_that_comes_after_the_deletion_does_not_bring_the_resource_back(
    store: Store,
) -> None:
    store.put("Bucket", body("Bucket", "books", 5))
    assert store.remove(key("Bucket", "books"), 8) is not None
    assert store.put("Bucket", body("Bucket", "books", 7)) is None
    assert store.put("Bucket", body("Bucket", "books", 9)) is not None


def test_a_deletion_older_than_what_is_known_is_of_an_earlier_resource(store: Store) -> None:
    store.put("Bucket", body("Bucket", "books", 9))
    assert store.remove(key("Bucket", "books"), 8) is None
    assert len(store) == 1


def test_what_only_kubectl_needs_is_not_kept(store: Store) -> None:
    last = "kubectl.kubernetes.io/last-applied-configuration"
    metadata = {"managedFields": [{"manager": "x"}], "annotations": {last: "{}", "kept": "yes"}}
    store.put("Bucket", body("Bucket", "books", metadata=metadata))
    kept = store.lookup("Bucket", "media", "books")["metadata"]
    assert "managedFields" not in kept
    assert kept["annotations"] == {"kept": "yes"}


def test_a_missing_resource_is_a_missing_reference(store: Store) -> None:
    with pytest.raises(MissingReferenceError, match="Bucket books does not exist"):
        store.lookup("Bucket", "media", "books")


def test_a_changed_copy_does_not_change_the_store(store: Store) -> None:
    store.put("Bucket", body("Bucket", "books"))
    store.lookup("Bucket", "media", "books")["spec"].clear()
    assert store.lookup("Bucket", "media", "books")["spec"]


def test_who_refers_to_what_is_known_before_it_exists(store: Store) -> None:
    store.put("Sync", body("Sync", "texts"))
    assert store.referrers(key("Bucket", "books")) == [key("Sync", "texts")]
    assert store.referrers(key("Connection", "disk"), "Sync") == [key("Sync", "texts")]
    store.remove(key("Sync", "texts"))
    assert store.referrers(key("Bucket", "books")) == []


def test_a_reference_that_changes_is_followed(store: Store) -> None:
    store.put("Connection", body("Connection", "disk"))
    store.put("Connection", body("Connection", "disk", 2, spec={"secretRef": {"name": "other"}}))
    assert store.referrers(key("Secret", "keys")) == []
    assert store.referrers(key("Secret", "other")) == [key("Connection", "disk")]


def test_every_reference_of_every_kind_is_found() -> None:
    found = {
        kind: sorted(f"{k.kind}/{k.name}" for k in references(kind, body(kind, "it")))
        for kind in SPECS
    }
    assert found == {
        "Namespace": ["Tenant/media_it"],
        "Connection": ["Secret/keys"],
        "Bucket": ["Namespace/library"],
        "Sync": ["Bucket/books", "Connection/disk"],
    }
    own = body(
        "Namespace", "it", spec={"weaviate": {"connectionRef": {"name": "w"}}, "tenant": "t"}
    )
    assert references("Namespace", own) == {key("Connection", "w"), Key(TENANT, "", "t")}


@pytest.fixture
def filled(store: Store) -> Store:
    for kind, name in (
        ("Namespace", "library"), ("Connection", "disk"), ("Bucket", "books"), ("Sync", "texts"),
    ):  # fmt: skip
        store.put(kind, body(kind, name))
    return store


def test_a_namespace_that_becomes_ready_wakes_its_buckets_and_their_syncs(filled: Store) -> None:
    change = filled.put("Namespace", body("Namespace", "library", 2, status=ready()))
    assert woken(filled, change, own=True) == {"Bucket/books", "Sync/texts"}


def test_counts_that_change_wake_nobody(filled: Store) -> None:
    filled.put("Bucket", body("Bucket", "books", 2, status=ready(objects=1)))
    change = filled.put("Bucket", body("Bucket", "books", 3, status=ready(objects=2)))
    assert woken(filled, change) == set()


def test_a_changed_spec_wakes_the_resource_and_its_dependants(filled: Store) -> None:
    new = body("Connection", "disk", 2, metadata={"generation": 2})
    assert woken(filled, filled.put("Connection", new)) == {"Connection/disk", "Sync/texts"}


def test_an_annotation_wakes_the_resource_alone(filled: Store) -> None:
    new = body("Bucket", "books", 2, metadata={"annotations": {"telecine.dev/requestedAt": "1"}})
    assert woken(filled, filled.put("Bucket", new)) == {"Bucket/books"}


def test_what_a_worker_writes_wakes_its_sync(filled: Store) -> None:
    new = body("Sync", "texts", 2, status={"run": {"id": "1", "phase": "FAILED"}})
    assert woken(filled, filled.put("Sync", new)) == {"Sync/texts"}


def test_a_checked_secret_wakes_the_syncs_of_its_connection(filled: Store) -> None:
    new = body("Connection", "disk", 2, status={"secretResourceVersion": "77"})
    assert "Sync/texts" in woken(filled, filled.put("Connection", new), own=True)


def test_a_secret_wakes_the_connections_that_name_it_and_their_syncs(filled: Store) -> None:
    queue: WorkQueue[Key] = WorkQueue()
    wake_for_secret(filled, queue, "media", "other", None)
    assert everything(queue) == set()
    wake_for_secret(filled, queue, "elsewhere", "keys", None)
    assert everything(queue) == set()
    wake_for_secret(filled, queue, "media", "keys", None)
    assert everything(queue) == {"Connection/disk", "Sync/texts"}


def test_the_operators_own_secret_wakes_all_namespaces(filled: Store) -> None:
    queue: WorkQueue[Key] = WorkQueue()
    wake_for_secret(filled, queue, "system", "weaviate", "system/weaviate")
    assert everything(queue) == {"Namespace/library"}


def test_a_new_sync_has_its_bucket_count_anew(filled: Store) -> None:
    change = filled.put("Sync", body("Sync", "more"))
    assert woken(filled, change) == {"Sync/more", "Bucket/books"}


def test_a_namespace_that_goes_wakes_another_that_wants_its_tenant(filled: Store) -> None:
    filled.put("Namespace", body("Namespace", "rival", spec={"tenant": "media_library"}))
    change = filled.remove(key("Namespace", "library"))
    assert "Namespace/rival" in woken(filled, change)


def test_five_thousand_resources_cost_little() -> None:
    tracemalloc.start()
    store = Store()
    for number in range(5000):
        status = {"conditions": [{"type": "Ready", "status": "True", "message": "x" * 300}]}
        store.put("Sync", body("Sync", f"sync-{number}", number, status=status))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(store) == 5000
    assert size < 15e6
