"""The rules that always hold, each a test by its number.

What a rule says about runs alone is shown by a run; what it says about the operator by the
operator as a process against a real API server. More of each rule is in the tests of runs,
kills and complaints; rule 10 is among those of the command line.
"""

from __future__ import annotations

import base64
import contextlib
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from telecine.api.connection import ConnectionSpec
from telecine.dev.processes import free_ports
from telecine.execution import lease
from telecine.index.cascade import unindex_sync
from telecine.index.search import Mode
from telecine.planning.identity import document_id, object_id, owner_id
from telecine.providers.base import ProviderError
from telecine.providers.registry import create
from telecine.workers.protocol import FuseTrippedError, RunLostError
from telecine.workers.sync import run_sync

from tests.integration.conftest import Cluster
from tests.integration.harness import (
    KUBE_NAMESPACE,
    PRIDE,
    RABBIT,
    WHALE,
    Recorder,
    World,
    idle,
    run_job,
)
from tests.integration.operator_process import operator
from tests.support import eventually

SECRET = "a-very-secret-access-key-0123456789"


def test_rule_1_nothing_is_unindexed_unless_the_listing_came_to_its_end(world: World) -> None:
    names = {f"{n}.txt" for n in range(4)}
    for name in names:
        world.write(name, f"{PRIDE} {name}")
    world.run()
    world.folder.rename(world.folder.with_name("elsewhere"))
    with pytest.raises(ProviderError):
        world.run(deleteLimitPercent=100)
    world.assert_whole(names)
    world.folder.mkdir()
    with pytest.raises(FuseTrippedError, match="4 of 4"):
        world.run()
    world.assert_whole(names)


def test_rule_2_ids_are_deterministic_and_writes_idempotent(world: World) -> None:
    assert object_id("a", "b", "c", "d") == object_id("a", "b", "c", "d")
    assert object_id("a", "b", "c", "d") != object_id("a", "bc", "", "d")
    key = object_id("a", "b", "c", "d")
    assert document_id(key, "r", "h", 0) == document_id(key, "r", "h", 0)
    world.write("a.txt", WHALE)
    job = world.job()
    run_job(job)
    before = sorted(world.documents())
    run_job(job)
    assert sorted(world.documents()) == before
    world.assert_whole({"a.txt"})


def test_rule_3_new_documents_are_written_before_the_old_ones_go(world: World) -> None:
    world.write("a.txt", f"lighthouse. {WHALE}")
    world.run()
    misses, stop = [], threading.Event()

    def look() -> None:
        while not stop.is_set():
            if not world.search("lighthouse", Mode.KEYWORD):
                misses.append(1)

    thread = threading.Thread(target=look)
    thread.start()
    world.write("a.txt", f"lighthouse. {RABBIT}")
    world.run()
    stop.set()
    thread.join()
    assert not misses


def test_rule_4_only_what_carries_our_owner_id_is_deleted_and_orphans_stay(world: World) -> None:
    world.write("a.txt", WHALE)
    world.write("b.txt", PRIDE)
    world.run("one")
    world.run("two", fileFilters={"includePatterns": ["a.txt"]})
    record = world.record("b.txt")
    assert record is not None
    world.index.ledger(world.tenant).insert([replace(record, owner="somebody else")])
    ours = owner_id("", KUBE_NAMESPACE, "books")
    unindex_sync(world.index, world.tenant, ours, KUBE_NAMESPACE, "books", "one")
    # a.txt is still selected by the other Sync, b.txt is somebody else's.
    assert set(world.records()) == {"a.txt", "b.txt"}
    unindex_sync(world.index, world.tenant, ours, KUBE_NAMESPACE, "books", "two")
    assert set(world.records()) == {"b.txt"}


def manifests(namespace: str, folder: Path, endpoint: str) -> str:
    encoded = base64.b64encode(SECRET.encode()).decode()
    return f"""
apiVersion: v1
kind: Secret
metadata: {{name: keys, namespace: {namespace}}}
data: {{access_key_id: {encoded}, secret_access_key: {encoded}}}
---
apiVersion: telecine.dev/v1alpha1
kind: Namespace
metadata: {{name: library, namespace: {namespace}}}
spec: {{featureExtractors: [{{name: text_extractor}}]}}
---
apiVersion: telecine.dev/v1alpha1
kind: Connection
metadata: {{name: disk, namespace: {namespace}}}
spec: {{provider: local, local: {{path: "{folder}"}}}}
---
apiVersion: telecine.dev/v1alpha1
kind: Connection
metadata: {{name: closed, namespace: {namespace}}}
spec:
  provider: s3
  s3: {{bucket: nothing-here, endpoint: "{endpoint}"}}
  secretRef: {{name: keys}}
---
apiVersion: telecine.dev/v1alpha1
kind: Bucket
metadata: {{name: books, namespace: {namespace}}}
spec: {{namespaceRef: {{name: library}}, blobType: text}}
---
apiVersion: telecine.dev/v1alpha1
kind: Sync
metadata: {{name: texts, namespace: {namespace}}}
spec: {{bucketRef: {{name: books}}, connectionRef: {{name: disk}}}}
"""


def test_rules_5_and_6_secrets_are_nowhere_and_the_operator_loads_no_model(
    cluster: Cluster,
    operator_env: dict[str, str],
    kube_namespace: str,
    tmp_path: Path,
    s3_server: object,
) -> None:
    folder, log = tmp_path / "texts", tmp_path / "operator.log"
    folder.mkdir()
    (folder / "a.txt").write_text(WHALE)
    endpoint = s3_server.endpoint  # type: ignore[attr-defined]
    lines: set[str] = set()
    with operator(
        operator_env, log, state_dir=tmp_path / "state", kube_namespace=kube_namespace
    ) as process:
        applied = cluster.kubectl(
            "apply", "-f", "-", input=manifests(kube_namespace, folder, endpoint)
        )
        assert applied.returncode == 0, applied.stderr

        def done() -> bool:
            lines.update(command_lines())
            phases = cluster.kubectl(
                "get", "tsync,tconn", "-n", kube_namespace,
                "-o", "jsonpath={.items[*].status.phase}",
            ).stdout  # fmt: skip
            return "COMPLETED" in phases and "FAILED" in phases

        eventually(done, timeout=120, message=lambda: log.read_text()[-2000:])
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        assert "torch" not in maps
        assert "/av/" not in maps
        told = cluster.kubectl(
            "get", "tns,tbucket,tconn,tsync,events,leases", "-n", kube_namespace, "-o", "yaml"
        ).stdout
        gone = cluster.kubectl("delete", "tns,tbucket,tconn,tsync", "--all", "-n", kube_namespace)
        assert gone.returncode == 0, gone.stderr
    encoded = base64.b64encode(SECRET.encode()).decode()
    logs = log.read_text() + "".join(
        p.read_text() for p in (tmp_path / "state").rglob("*") if p.is_file()
    )
    assert any("telecine.execution.worker" in line for line in lines)
    for text in (told, logs, "\n".join(lines)):
        assert SECRET not in text
        assert encoded not in text
    spec = {"provider": "s3", "s3": {"bucket": "b", "endpoint": "http://169.254.169.254"}}
    with pytest.raises(ProviderError) as refused:
        create(ConnectionSpec.model_validate(spec), {}, allow_private=False).check()
    assert refused.value.permanent


def command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
    return found


def test_rule_7_a_worker_stops_when_the_run_is_not_its_own_any_more(
    world: World, cluster: Cluster, kube_namespace: str
) -> None:
    client, name = cluster.client(), lease.sync_lease("texts")
    world.write("a.txt", WHALE)
    assert lease.take(client, name, kube_namespace, "1.1", 1)
    with lease.HeldLease(client, name, kube_namespace, "1.1", 1) as guard:
        assert lease.take(client, name, kube_namespace, "2.1", 60, force=True)
        with pytest.raises(RunLostError):
            eventually(lambda: guard.check() or False, timeout=10)
        with pytest.raises(RunLostError):
            run_sync(world.job(), guard, Recorder(), contextlib.nullcontext)
    assert not world.records()
    assert lease.holder(client, name, kube_namespace) == "2.1"


def test_rule_8_changed_metadata_extracts_nothing_and_fewer_documents_leave_none_behind(
    world: World,
) -> None:
    world.write("folder/a.txt", "\n\n".join(f"{WHALE} Paragraph {n}." for n in range(40)))
    world.run()
    mapping = {"shelf": {"source": "folder_path", "segment": 0}}
    ran = world.run(schemaMapping=mapping)
    assert (ran.plan.change, idle(ran)) == (1, True)
    assert world.search("Ishmael", Mode.KEYWORD)[0].fields == {"shelf": "folder"}
    world.write("folder/a.txt", RABBIT)
    world.run(schemaMapping=mapping)
    assert len(world.documents()) == 1
    world.assert_whole({"folder/a.txt"})


def test_rule_9_what_failed_stays_visible_and_rests_until_its_source_changes_or_it_is_requeued(
    world: World,
) -> None:
    world.write("a.txt", "")
    world.run()
    (failed,) = world.index.ledger(world.tenant).find(kube_namespace=KUBE_NAMESPACE, state="FAILED")
    assert (failed.path, failed.reason, failed.dead_letter) == ("a.txt", "EmptyContent", True)
    assert failed.message
    assert world.run().plan.dead == 1
    requeued = {"dead_letter": False, "retry_at": 0.0, "attempts": 0}
    world.index.ledger(world.tenant).patch({failed.id: requeued})
    assert world.run().progress.failed == 1
    world.write("a.txt", PRIDE)
    assert world.run().progress.extracted == 1


def test_rule_11_a_broken_weaviate_is_a_condition_and_never_a_crash_loop(
    cluster: Cluster, operator_env: dict[str, str], kube_namespace: str, tmp_path: Path
) -> None:
    log = tmp_path / "operator.log"
    dead = f"http://127.0.0.1:{free_ports(1)[0]}"
    env = operator_env | {"TELECINE_WEAVIATE_ENDPOINT": dead}
    with operator(
        env, log, state_dir=tmp_path / "state", kube_namespace=kube_namespace, cleanup_seconds=3
    ) as process:
        cluster.kubectl("apply", "-f", "-", input=manifests(kube_namespace, tmp_path, dead))

        def condition() -> str:
            return cluster.kubectl(
                "get", "tns", "library", "-n", kube_namespace,
                "-o", 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}',
            ).stdout  # fmt: skip

        eventually(lambda: condition() == "IndexUnavailable", timeout=60)
        assert process.poll() is None
        gone = cluster.kubectl(
            "delete", "tns,tbucket,tconn,tsync", "--all", "-n", kube_namespace, "--timeout=60s"
        )
        assert gone.returncode == 0, gone.stderr
        assert process.poll() is None
