"""The commands as a user types them, against a real API server, Weaviate and operator."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace as KubeNamespace
from telecine.api.base import API_VERSION, REQUESTED_AT
from telecine.api.connection import LocalConfig
from telecine.cli import app
from telecine.index.client import WeaviateSettings, open_index
from telecine.index.documents import StoredDocument
from telecine.index.index import Index
from telecine.index.ledger import Ledger
from telecine.planning.identity import object_id, owner_id, tenant_name
from telecine.planning.types import Document, ObjectRecord
from telecine.providers.local import LocalProvider
from typer.testing import CliRunner, Result

from tests.integration.conftest import Cluster
from tests.integration.harness import PRIDE, RABBIT, WHALE
from tests.integration.operator_process import Resources, eventually, operator

# Other tests keep collections of their own in the same Weaviate.
COLLECTION = "Telecine_text_extractor_v1"
FOREIGN = uuid.uuid4()
CONTENTS = {
    "whale.txt": WHALE,
    "sub/rabbit.txt": RABBIT,
    "pride [red]x[/red].txt": PRIDE,
    "empty.txt": "",
    "notes.md": "a note",
}
INDEXED = {"whale.txt", "sub/rabbit.txt", "pride [red]x[/red].txt"}
SPECS: dict[str, tuple[str, dict[str, Any]]] = {
    "library": ("Namespace", {"featureExtractors": [{"name": "text_extractor", "version": "v1"}]}),
    "desk": ("Connection", {"provider": "local", "local": {}}),
    "papers": ("Bucket", {"namespaceRef": {"name": "library"}, "blobType": "text"}),
    "reading": (
        "Sync",
        {
            "connectionRef": {"name": "desk"},
            "bucketRef": {"name": "papers"},
            "pollingIntervalSeconds": 86400,
            "fileFilters": {"extensions": ["txt"]},
        },
    ),
}


@dataclass(frozen=True)
class Site:
    """A folder that an operator has indexed, and the command line pointed at it."""

    resources: Resources
    folder: Path
    env: dict[str, str]
    index: Index
    tenant: str

    @property
    def ledger(self) -> Ledger:
        return self.index.ledger(self.tenant)

    def run(self, *arguments: str, namespaced: bool = True, **env: str) -> Result:
        """Runs one command in this process, as if it had been typed."""
        extra = ["-N", self.resources.namespace] if namespaced else []
        runner = CliRunner(env={**self.env, "COLUMNS": "200", **env})
        result = runner.invoke(app, [*arguments, *extra])
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        return result

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What a command prints for programs; stdout has nothing else."""
        result = self.run(*arguments, "-o", "json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    def record(self, name: str) -> ObjectRecord:
        key = object_id(self.resources.namespace, "papers", "desk", name)
        return self.ledger.get([key])[key]

    def idle(self) -> bool:
        """Every run that was asked for has been made and closed."""
        body = self.resources.get("Sync", "reading")
        status = body.get("status") or {}
        asked = (body["metadata"].get("annotations") or {}).get(REQUESTED_AT)
        run = status.get("run") or {}
        ended = bool(run.get("finishedAt")) and status.get("phase") != "IN_PROGRESS"
        return ended and (asked is None or status.get("lastHandledReconcileAt") == asked)


def manifests(folder: Path, source: Path, **changed: dict[str, Any]) -> Path:
    """Writes the site's resources as YAML files, with changes to the specs of some."""
    folder.mkdir(exist_ok=True)
    for name, (kind, spec) in SPECS.items():
        if kind == "Connection":
            spec = {**spec, "local": {"path": str(source)}}
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name},
            "spec": {**spec, **changed.get(name, {})},
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(body))
    return folder


@pytest.fixture(scope="module")
def site(
    cluster: Cluster,
    weaviate: WeaviateSettings,
    operator_env: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("source")
    for name, text in CONTENTS.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    client, kube_namespace = cluster.client(), f"cli-{uuid.uuid4().hex[:10]}"
    client.create(KubeNamespace(metadata=ObjectMeta(name=kube_namespace)))
    resources = Resources(client, kube_namespace)
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with operator(operator_env, log, kube_namespace=kube_namespace), open_index(weaviate) as ix:
        for name, (kind, spec) in SPECS.items():
            if kind == "Connection":
                spec = {**spec, "local": {"path": str(folder)}}
            resources.create(kind, name, spec)
        made = Site(resources, folder, operator_env, ix, tenant_name(kube_namespace, "library"))
        eventually(made.idle, 120, "the first run")
        yield made
        for name, (kind, _) in reversed(SPECS.items()):
            resources.delete(kind, name)
            eventually(lambda k=kind, n=name: not resources.exists(k, n), 60, f"{name} is gone")  # type: ignore[misc]
    client.delete(KubeNamespace, kube_namespace)


def test_search_finds_the_passage_with_the_source_metadata_of_the_provider(site: Site) -> None:
    hits = site.json("search", "an animal that is late", "-n", "library", "--limit", "2")
    assert len(hits) == 2
    assert hits[0]["path"] == "sub/rabbit.txt"
    assert hits[0]["score"] >= hits[1]["score"]
    assert "White Rabbit" in hits[0]["text"]
    assert hits[0]["bucket"] == "papers"
    provider = LocalProvider(LocalConfig(path=str(site.folder)))
    listed = {asset.id: asset for page in provider.list("") for asset in page}
    asset = provider.describe(listed["sub/rabbit.txt"])
    assert hits[0]["source_metadata"] == json.loads(json.dumps(asset.metadata))


def test_search_by_words_filters_by_source_metadata(site: Site) -> None:
    metadata = site.record("whale.txt").source_metadata
    key, value = next((k, v) for k, v in metadata.items() if isinstance(v, str) and "whale" in v)
    words = ("search", "a", "-n", "library", "--mode", "keyword")
    found = site.json(*words, "--filter", f"{key}={value}")
    assert {hit["path"] for hit in found} <= {"whale.txt"}
    matching = site.json("search", "Ishmael", "--mode", "keyword", "--filter", f"{key}={value}")
    assert [hit["path"] for hit in matching] == ["whale.txt"]
    assert site.json("search", "Ishmael", "--mode", "keyword", "--filter", f"{key}=other") == []


def test_search_that_finds_nothing_says_so_beside_stdout(site: Site) -> None:
    result = site.run("search", "zyzzyva", "--mode", "keyword")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing found" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("search", "x", "-n", "nowhere"), ("Namespace", "nowhere")),
        (("search", "x", "--bucket", "nowhere"), ("Bucket", "nowhere", "papers")),
        (("objects", "--bucket", "nowhere"), ("Bucket", "nowhere", "papers")),
        (("search", "x", "--filter", "novels"), ("key=value",)),
        (("plan", "sync/nowhere"), ("Sync", "nowhere")),
        (("plan", "bucket/papers"), ("sync/NAME",)),
        (("plan", "-f", "nowhere.yaml"), ("nowhere.yaml", "does not exist")),
        (("requeue", "nowhere.txt"), ("nowhere.txt",)),
    ],
)
def test_a_wrong_name_is_an_error_that_names_it(
    site: Site, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    result = site.run(*arguments)
    assert result.exit_code == 1, result.output
    for word in words:
        assert word in result.stderr
    assert "Traceback" not in result.output


def test_objects_lists_the_ledger_with_reasons_of_what_failed(site: Site) -> None:
    every = site.json("objects")
    assert {row["path"] for row in every} == {*INDEXED, "empty.txt"}
    states = {row["path"]: row["state"] for row in every}
    assert {path for path, state in states.items() if state == "COMPLETED"} == INDEXED
    [failed] = site.json("objects", "--failed")
    assert failed["path"] == "empty.txt"
    assert failed["reason"]
    assert failed["message"]
    assert failed["reason"] in site.run("objects", "--failed").stdout


def test_markup_in_names_is_printed_as_it_is(site: Site) -> None:
    assert "pride [red]x[/red].txt" in site.run("objects").stdout
    assert "pride [red]x[/red].txt" in site.run("explain", "pride [red]x[/red].txt").stdout
    error = site.run("search", "x", "-n", "[red]none[/red]").stderr
    assert "[red]none[/red]" in error


def test_explain_names_the_filter_the_error_or_the_absence(site: Site) -> None:
    [skipped] = site.json("explain", "notes.md")
    assert (skipped["decision"], skipped["reason"]) == ("skip", "extensions")
    assert ".txt" in skipped["detail"]
    [indexed] = site.json("explain", "whale.txt")
    assert indexed["decision"] == "keep"
    assert indexed["object"]["state"] == "COMPLETED"
    by_id = site.json("explain", indexed["object"]["object_id"])
    assert by_id[0]["decision"] == "keep"
    [failed] = site.json("explain", "empty.txt")
    assert failed["object"]["reason"]
    [missing] = site.json("explain", "missing.txt")
    assert missing["decision"] == "none"


def test_plan_of_an_applied_sync_has_the_counts_and_the_skipped(site: Site) -> None:
    result = site.run("plan", "sync/reading", "--skipped", "-o", "json")
    [planned] = json.loads(result.stdout)
    assert result.exit_code == (2 if planned["changes"] else 0)
    assert planned["summary"]["listed"] == len(CONTENTS)
    assert planned["summary"]["keep"] == len(INDEXED)
    assert planned["summary"]["skipped"] == {"extensions": 1}
    decisions = {d["path"]: d for d in planned["decisions"]}
    assert decisions["notes.md"]["reason"] == "extensions"


def test_plan_of_manifests_uses_their_version_and_writes_nothing(
    site: Site, tmp_path: Path
) -> None:
    before = {r.id: r for r in site.ledger.scan_all()}
    version = site.resources.get("Sync", "reading")["metadata"]["generation"]
    wider = {"fileFilters": {"extensions": ["txt", "md"]}}
    folder = manifests(tmp_path / "m", site.folder, reading=wider)
    [planned] = site.json("plan", "-f", str(folder), code=2)
    assert [d["path"] for d in planned["decisions"] if d["action"] == "add"] == ["notes.md"]
    assert planned["summary"]["keep"] == len(INDEXED)
    assert {r.id: r for r in site.ledger.scan_all()} == before
    assert site.resources.get("Sync", "reading")["metadata"]["generation"] == version


def test_plan_needs_no_cluster_for_whole_manifests(site: Site, tmp_path: Path) -> None:
    folder = manifests(tmp_path / "m", site.folder)
    arguments = ("plan", "-f", str(folder), "-o", "json")
    result = site.run(*arguments, namespaced=False, KUBECONFIG=str(tmp_path / "none"))
    assert result.exit_code == 2, result.output
    [planned] = json.loads(result.stdout)
    assert planned["summary"]["add"] == len(INDEXED) + 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("reading", "a: [", ("reading.yaml", "line")),
        ("reading", "kind: Sync", ("reading.yaml", "apiVersion")),
        ("papers", None, ("reading.yaml", "Bucket", "papers")),
        ("desk", None, ("reading.yaml", "Connection", "desk")),
    ],
)
def test_plan_names_file_and_remedy_of_a_bad_manifest(
    site: Site, tmp_path: Path, name: str, content: str | None, words: tuple[str, ...]
) -> None:
    folder = manifests(tmp_path / "m", site.folder)
    if content is None:
        (folder / f"{name}.yaml").unlink()
    else:
        (folder / f"{name}.yaml").write_text(content)
    result = site.run(
        "plan", "-f", str(folder), namespaced=False, KUBECONFIG=str(tmp_path / "none")
    )
    assert result.exit_code == 1, result.output
    for word in words:
        assert word in result.stderr


def test_plan_names_the_wrong_field_of_a_manifest(site: Site, tmp_path: Path) -> None:
    wrong = {"fileFilters": {"extension": ["txt"]}, "pollingIntervalSeconds": "often"}
    folder = manifests(tmp_path / "m", site.folder, reading=wrong)
    result = site.run("plan", "-f", str(folder))
    assert result.exit_code == 1
    for word in ("reading.yaml", "spec.fileFilters.extension", "spec.pollingIntervalSeconds"):
        assert word in result.stderr


def test_status_shows_every_kind(site: Site) -> None:
    found = site.json("status")
    assert {kind for kind, bodies in found.items() if bodies} == {k for k, _ in SPECS.values()}
    assert "IN_PROGRESS" not in site.run("status", "--until-idle").stdout


def test_requeue_asks_for_a_run_that_tries_what_failed_again(site: Site) -> None:
    before = site.record("empty.txt").failed_at
    result = site.run("requeue", "empty.txt")
    assert result.exit_code == 0, result.output
    assert "sync/reading" in result.stdout
    eventually(lambda: site.record("empty.txt").failed_at > before, 60, "tried again")
    eventually(site.idle, 60)


def test_rule_10_audit_finds_what_was_broken_and_repair_heals_it(site: Site) -> None:
    """A document lost, one without an object, and an object of a Bucket that is gone."""
    clean = site.json("audit", "--no-source")
    assert clean["orphaned_documents"] == clean["incomplete_objects"] == {}
    documents, lost, orphan = break_index(site)
    broken = site.json("audit", "--no-source", code=2)
    assert broken["incomplete_objects"] == {str(lost.id): "whale.txt"}
    assert broken["orphaned_documents"] == {str(orphan): 1}
    assert list(broken["abandoned_objects"].values()) == ["gone.txt"]
    foreign = str(FOREIGN)
    assert foreign not in json.dumps(broken)
    repaired = site.json("audit", "--no-source", "--repair")
    assert repaired["repaired"]
    eventually(site.idle, 90, "the run that repair asked for")
    healed = eventually(lambda: whole(site), 60, "the index is whole")
    assert healed["documents"] == documents + 1  # the one of another system
    collection = COLLECTION
    assert site.index.documents(site.tenant, collection).count(FOREIGN) == 1


def break_index(site: Site) -> tuple[int, ObjectRecord, uuid.UUID]:
    """Damages the index by hand; the documents before, what lost its own, and the orphan."""
    collection = COLLECTION
    store = site.index.documents(site.tenant, collection)
    before, lost, orphan = store.count(), site.record("whale.txt"), uuid.uuid4()
    here = site.resources.namespace
    store.delete_object(lost.id)
    vectors = {"text": [0.1] * 384}
    for owned, owner in ((orphan, owner_id("", here, "papers")), (FOREIGN, "another/system")):
        document = Document("left over", vectors)
        store.write(
            [
                StoredDocument(
                    uuid.uuid4(), owned, here, "papers", "x.txt", "0", "r", 0, document, owner=owner
                )
            ]
        )
    gone = object_id(here, "gone", "desk", "gone.txt")
    names: dict[str, Any] = {"bucket": "gone", "asset_id": "gone.txt", "path": "gone.txt"}
    mark = owner_id("", here, "gone")
    site.ledger.insert([replace(lost, id=gone, documents=0, syncs=[], owner=mark, **names)])
    return before, lost, orphan


def whole(site: Site) -> Any:
    result = site.run("audit", "--no-source", "-o", "json")
    return json.loads(result.stdout) if result.exit_code == 0 else None
