"""What a real API server makes of `crds/`: what it accepts, refuses, fills in and finds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Protocol

import pytest
from crd_manifests import BAD, FORBIDDEN, FULL, MINIMAL, Spec, changed
from pydantic import ValidationError
from telecine.api.base import API_VERSION
from telecine.api.kinds import KINDS, Kind

CRDS = Path(__file__).parents[2] / "crds"
BY_KIND = {kind.kind: kind for kind in KINDS}
ALL_KINDS = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
Completed = subprocess.CompletedProcess[str]


class Cluster(Protocol):
    """What these tests use of the fixture `cluster`."""

    def kubectl(self, *args: str) -> Completed: ...


class Server:
    """The API server with `crds/` applied, and one Kubernetes namespace to work in."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._folder = folder

    def kubectl(self, *args: str) -> Completed:
        return self._cluster.kubectl("--namespace", self._namespace, *args)

    def file(self, kind: str, spec: Spec, **extra: Any) -> str:
        """The path of a manifest of a resource named `it`."""
        document = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "it"}}
        path = self._folder / "it.json"
        path.write_text(json.dumps({**document, "spec": spec, **extra}))
        return str(path)

    def apply(self, kind: str, spec: Spec) -> Completed:
        return self.kubectl("apply", "--server-side", "-f", self.file(kind, spec))

    def create(self, kind: str, spec: Spec) -> dict[str, Any]:
        made = self.apply(kind, spec)
        assert made.returncode == 0, made.stderr
        return self.get(kind)

    def dry_run(self, kind: str, spec: Spec) -> Completed:
        return self.kubectl("apply", "--dry-run=server", "-f", self.file(kind, spec))

    def get(self, kind: str) -> dict[str, Any]:
        got = self.kubectl("get", f"{BY_KIND[kind].plural}.telecine.dev", "it", "-o", "json")
        assert got.returncode == 0, got.stderr
        found: dict[str, Any] = json.loads(got.stdout)
        return found

    def patch_status(self, kind: str, status: dict[str, Any]) -> Completed:
        name = f"{BY_KIND[kind].plural}.telecine.dev/it"
        change = json.dumps({"status": status})
        return self.kubectl("patch", name, "--subresource=status", "--type=merge", "-p", change)


@pytest.fixture(scope="module")
def applied(cluster: Cluster) -> Completed:
    """The outcome of applying `crds/`, when the API server serves the kinds."""
    outcome = cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    assert outcome.returncode == 0, outcome.stderr
    names = [f"crd/{kind.plural}.telecine.dev" for kind in KINDS]
    waited = cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
    assert waited.returncode == 0, waited.stderr
    return outcome


@pytest.fixture
def server(cluster: Cluster, applied: Completed, kube_namespace: str, tmp_path: Path) -> Server:
    return Server(cluster, kube_namespace, tmp_path)


def test_the_definitions_are_applied_without_a_warning(applied: Completed) -> None:
    assert "Warning" not in applied.stderr


@ALL_KINDS
def test_every_definition_is_established_and_structural(
    kind: Kind, applied: Completed, cluster: Cluster
) -> None:
    got = cluster.kubectl("get", "crd", f"{kind.plural}.telecine.dev", "-o", "json")
    conditions = {c["type"]: c["status"] for c in json.loads(got.stdout)["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions


def test_short_names_and_the_category_find_the_kinds(server: Server) -> None:
    for kind in KINDS:
        server.create(kind.kind, MINIMAL[kind.kind])
    wanted = {f"{kind.kind.lower()}.telecine.dev/it" for kind in KINDS}
    for asked in ("tns,tbucket,tconn,tsync,tpipe", "telecine"):
        got = server.kubectl("get", asked, "-o", "name")
        assert set(got.stdout.split()) == wanted, got.stderr


def test_columns_show_the_phase_and_what_a_resource_points_at(server: Server) -> None:
    server.create("Sync", MINIMAL["Sync"])
    server.patch_status("Sync", {"phase": "ACTIVE", "indexed": 42})
    shown = server.kubectl("get", "tsync")
    header, row = shown.stdout.splitlines()
    assert header.split()[:6] == ["NAME", "PHASE", "READY", "BUCKET", "CONNECTION", "INDEXED"]
    assert "MESSAGE" not in header
    assert row.split()[:5] == ["it", "ACTIVE", "reels", "archive", "42"]
    assert "MESSAGE" in server.kubectl("get", "tsync", "-o", "wide").stdout


def test_field_selectors_find_connections_by_provider_and_phase(server: Server) -> None:
    server.create("Connection", FULL["Connection"])
    selector = "--field-selector=spec.provider=s3,status.phase=FAILED"
    assert server.kubectl("get", "tconn", selector, "-o", "name").stdout == ""
    assert server.patch_status("Connection", {"phase": "FAILED"}).returncode == 0
    found = server.kubectl("get", "tconn", selector, "-o", "name")
    assert found.stdout.split() == ["connection.telecine.dev/it"], found.stderr


@ALL_KINDS
def test_every_selectable_field_is_accepted_as_a_field_selector(kind: Kind, server: Server) -> None:
    selector = ",".join(f"{path}=none" for path in kind.selectable)
    got = server.kubectl("get", f"{kind.plural}.telecine.dev", f"--field-selector={selector}")
    assert got.returncode == 0, got.stderr


@pytest.mark.parametrize("specs", [MINIMAL, FULL], ids=["minimal", "full"])
@ALL_KINDS
def test_the_server_fills_in_what_the_models_do(
    kind: Kind, specs: dict[str, Spec], server: Server
) -> None:
    sent = specs[kind.kind]
    stored = server.create(kind.kind, sent)["spec"]
    assert kind.spec.parse(stored).dump() == kind.spec.parse(sent).dump()


@pytest.mark.parametrize("specs", [MINIMAL, FULL], ids=["minimal", "full"])
@ALL_KINDS
def test_what_a_model_writes_is_accepted(
    kind: Kind, specs: dict[str, Spec], server: Server
) -> None:
    spec = kind.spec.parse(specs[kind.kind]).dump()
    outcome = server.dry_run(kind.kind, spec)
    assert outcome.returncode == 0, outcome.stderr


def test_defaults_are_visible_and_absent_objects_stay_absent(server: Server) -> None:
    spec = server.create("Sync", MINIMAL["Sync"])["spec"]
    assert spec == {
        **MINIMAL["Sync"],
        "syncMode": "continuous",
        "pollingIntervalSeconds": 300,
        "reconcileOnSync": False,
        "prune": True,
        "driftPolicy": "Enforce",
        "deleteLimitPercent": 50,
        "deletionPolicy": "Orphan",
        "suspend": False,
        "maxObjectsPerRun": 100_000,
        "parallelism": 1,
        "batchSize": 50,
    }


@pytest.mark.parametrize("specs", [MINIMAL, FULL], ids=["minimal", "full"])
@ALL_KINDS
def test_applying_the_same_manifest_again_changes_nothing(
    kind: Kind, specs: dict[str, Spec], server: Server
) -> None:
    first = server.create(kind.kind, specs[kind.kind])["metadata"]
    second = server.create(kind.kind, specs[kind.kind])["metadata"]
    assert second["resourceVersion"] == first["resourceVersion"]
    assert second["generation"] == 1


@ALL_KINDS
def test_a_plain_update_does_not_change_the_status(kind: Kind, server: Server) -> None:
    server.create(kind.kind, MINIMAL[kind.kind])
    assert server.patch_status(kind.kind, {"phase": "ACTIVE"}).returncode == 0
    forged = server.file(kind.kind, MINIMAL[kind.kind], status={"phase": "FAILED"})
    replaced = server.kubectl("replace", "-f", forged)
    assert replaced.returncode == 0, replaced.stderr
    assert server.get(kind.kind)["status"] == {"phase": "ACTIVE"}


@ALL_KINDS
def test_a_status_that_the_models_write_is_stored_whole(kind: Kind, server: Server) -> None:
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Succeeded",
        "message": "All is well",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = kind.status.model_validate(
        {"phase": "ACTIVE", "observedGeneration": 1, "conditions": [ready]}
    )
    server.create(kind.kind, MINIMAL[kind.kind])
    assert server.patch_status(kind.kind, status.dump()).returncode == 0
    stored = server.get(kind.kind)["status"]
    assert kind.status.model_validate(stored).dump() == status.dump()


def test_a_run_is_stored_whole_in_the_status_of_a_sync(server: Server) -> None:
    run = {
        "id": "r1",
        "phase": "PROCESSING",
        "step": "extract",
        "startedAt": "2026-01-01T00:00:00Z",
        "plan": {
            "listed": 3,
            "skip": 1,
            "skipped": {"below_min_size": 1},
            "addBytes": 5_000_000_000,
        },
        "shards": {"0": {"phase": "COMPLETED", "extracted": 2}},
    }
    status = BY_KIND["Sync"].status.model_validate({"run": run, "history": [run]})
    server.create("Sync", MINIMAL["Sync"])
    assert server.patch_status("Sync", status.dump()).returncode == 0
    assert server.get("Sync")["status"] == status.dump()


def test_a_history_longer_than_five_runs_is_refused(server: Server) -> None:
    server.create("Sync", MINIMAL["Sync"])
    history = [{"id": f"r{n}", "phase": "COMPLETED"} for n in range(6)]
    refused = server.patch_status("Sync", {"history": history})
    assert refused.returncode != 0
    assert "status.history" in refused.stderr


@pytest.mark.parametrize(("kind", "spec", "named"), BAD.values(), ids=BAD.keys())
def test_bad_yaml_is_refused_by_name_by_server_and_model(
    kind: str, spec: Spec, named: str, server: Server
) -> None:
    refused = server.dry_run(kind, spec)
    assert refused.returncode != 0, refused.stdout
    assert named in refused.stderr
    with pytest.raises(ValidationError):
        BY_KIND[kind].spec.parse(spec)


@pytest.mark.parametrize(("kind", "before", "after", "named"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_is_immutable_is_refused_by_name(
    kind: str, before: Spec, after: Spec, named: str, server: Server
) -> None:
    server.create(kind, before)
    refused = server.apply(kind, after)
    assert refused.returncode != 0
    assert named in refused.stderr


def test_what_is_not_immutable_may_change(server: Server) -> None:
    server.create("Sync", MINIMAL["Sync"])
    after = changed("Sync", pollingIntervalSeconds=30, fileFilters={"extensions": ["md"]})
    assert server.create("Sync", after)["metadata"]["generation"] == 2
