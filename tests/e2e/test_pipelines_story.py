"""Pipelines under a real operator: users' functions run over what changes in a source."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace
from telecine.cli import app
from telecine.index.client import WeaviateSettings, open_index
from telecine.index.index import Index
from typer.testing import CliRunner

from tests.e2e.manifests import local
from tests.e2e.test_operator_runs import SETTINGS, Cluster
from tests.integration.operator_process import Resources, eventually, operator

LINES = """
def handler(event):
    text = fetch(event)
    return [{"text": line, "line": number, "words": line.split()}
            for number, line in enumerate(text.splitlines())]

def fetch(event):
    import os, urllib.request
    from mixpeek import Mixpeek
    url = Mixpeek(os.getenv("API_KEY")).file_url(event["bucket"], event["key"])
    return urllib.request.urlopen(url).read().decode()
"""
WHOLE = LINES.replace("return [", "return {'text': 'whole ' + text, 'key': os_key()}\n    return [")
WHOLE = WHOLE.replace(
    "def fetch", "def os_key():\n    import os\n    return os.environ['API_KEY'][:3]\n\ndef fetch"
)


@pytest.fixture(scope="module")
def index(weaviate: WeaviateSettings) -> Iterator[Index]:
    with open_index(weaviate) as opened:
        yield opened


@pytest.fixture(scope="module")
def resources(
    cluster: Cluster, operator_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Resources]:
    made = Resources(cluster.client(), f"pipes-{uuid.uuid4().hex[:10]}")
    made.client.create(Namespace(metadata=ObjectMeta(name=made.namespace)))
    folder = tmp_path_factory.mktemp("operator")
    with operator(
        operator_env,
        folder / "operator.log",
        kube_namespace=made.namespace,
        state_dir=folder / "state",
        **SETTINGS,
    ):
        made.secret("keys", API_KEY="secret-of-the-handler")
        yield made


class Pipe:
    """One Pipeline over a folder, and the documents that it made."""

    env: dict[str, str]

    def __init__(self, resources: Resources, index: Index, folder: Path) -> None:
        self.resources, self.index, self.folder = resources, index, folder
        self.name = f"p{uuid.uuid4().hex[:8]}"
        self.collection = f"lines_{self.name}"
        resources.create("Connection", self.name, local(folder))

    def create(self, handler: str = LINES, name: str | None = None, **spec: Any) -> None:
        source = {"connectionRef": {"name": self.name}, **spec.pop("source", {})}
        destination = {"collection": self.collection}
        body = {
            "inline": {"handler": handler},
            "source": source,
            "destination": destination,
            "secretRef": {"name": "keys"},
            **spec,
        }
        self.resources.create("Pipeline", name or self.name, body)

    def wait(self, indexed: int, name: str | None = None, **more: Any) -> dict[str, Any]:
        def look() -> bool:
            found = self.status(name)
            return found.get("indexed") == indexed and all(
                found.get(k) == v for k, v in more.items()
            )

        try:
            eventually(look, 90)
        except AssertionError:
            raise AssertionError(f"not {indexed} {more} but {self.status(name)}") from None
        return self.status(name)

    def status(self, name: str | None = None) -> dict[str, Any]:
        return self.resources.status("Pipeline", name or self.name)

    def run(self, name: str | None = None) -> None:
        self.resources.request("Pipeline", name or self.name, uuid.uuid4().hex)

    def rows(self, name: str | None = None) -> list[dict[str, Any]]:
        """All documents of a Pipeline, as Weaviate has them."""
        status = self.status(name)
        collections = self.index.session.client.collections
        found = collections.use(status["collection"]).with_tenant(status["tenant"])
        answer = found.query.fetch_objects(limit=1000)
        return [dict(one.properties) for one in answer.objects]

    def texts(self, name: str | None = None) -> Counter[str]:
        return Counter(str(row["text"]) for row in self.rows(name))


@pytest.fixture
def pipe(resources: Resources, index: Index, tmp_path: Path) -> Pipe:
    return Pipe(resources, index, tmp_path)


def test_a_function_runs_over_what_is_new_changed_and_gone(
    pipe: Pipe, operator_env: dict[str, str]
) -> None:
    (pipe.folder / "a.txt").write_text("one fish\ntwo fish")
    (pipe.folder / "b.txt").write_text("red fish")
    pipe.create()
    status = pipe.wait(2, phase="COMPLETED")
    assert pipe.texts() == Counter(["one fish", "two fish", "red fish"])
    (row,) = [r for r in pipe.rows() if r["text"] == "two fish"]
    assert (row["line"], row["words"], row["path"]) == (1.0, ["two", "fish"], "a.txt")
    assert row["commit"] == status["commit"]
    assert row["commit"].startswith("inline-")
    assert row["pipeline"] == pipe.name

    (pipe.folder / "a.txt").write_text("blue fish")
    (pipe.folder / "b.txt").unlink()
    pipe.run()
    pipe.wait(1)
    eventually(lambda: pipe.texts() == Counter(["blue fish"]))

    command = ["search", "blue", "-n", status["sync"], "-N", pipe.resources.namespace, "-o", "json"]
    done = CliRunner(env=operator_env).invoke(app, command)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[0]["path"] == "a.txt"

    # Everything of it goes with it, but the collection.
    pipe.resources.delete("Pipeline", pipe.name)
    for kind in ("Sync", "Bucket", "Namespace"):
        eventually(lambda k=kind: not pipe.resources.exists(k, status["sync"]), 60)
    collection = pipe.index.session.client.collections.use(status["collection"])
    assert collection.tenants.get_by_name(status["tenant"]) is None


def test_two_pipelines_share_a_source_and_a_collection(pipe: Pipe) -> None:
    (pipe.folder / "a.txt").write_text("one fish")
    other = f"{pipe.name}-whole"
    pipe.create()
    pipe.create(WHOLE, other)
    pipe.wait(1)
    pipe.wait(1, other)
    assert pipe.texts() == Counter(["one fish"])
    (row,) = pipe.rows(other)
    assert (row["text"], row["key"]) == ("whole one fish", "sec")


def test_new_code_runs_on_what_is_new_or_on_all(pipe: Pipe) -> None:
    (pipe.folder / "a.txt").write_text("one fish")
    for name, policy in ((pipe.name, "New"), (f"{pipe.name}-all", "All")):
        pipe.create(name=name, onChange=policy)
        before = pipe.wait(1, name)["commit"]
        code = {"spec": {"inline": {"handler": LINES.replace("line,", "line.upper(),")}}}
        pipe.resources.patch("Pipeline", name, code)
        eventually(lambda n=name, b=before: pipe.status(n)["commit"] != b)
    everyone = f"{pipe.name}-all"
    eventually(lambda: pipe.texts(everyone) == Counter(["ONE FISH"]), 60)
    (pipe.folder / "b.txt").write_text("red fish")
    pipe.run()
    pipe.wait(2)
    assert pipe.texts() == Counter(["one fish", "RED FISH"])


def test_a_handler_that_fails_fails_its_own_asset_with_its_traceback(pipe: Pipe) -> None:
    (pipe.folder / "bad.txt").write_text("boom")
    (pipe.folder / "good.txt").write_text("one fish")
    pipe.create(
        LINES.replace("    return [{", "    if text == 'boom': raise KeyError(text)\n    return [{")
    )
    status = pipe.wait(1, phase="COMPLETED_WITH_ERRORS", failed=1)
    assert pipe.texts() == Counter(["one fish"])
    records = pipe.index.ledger(status["tenant"]).scan_all()
    (bad,) = [r for r in records if r.path == "bad.txt"]
    assert bad.reason == "HandlerFailed"
    assert "KeyError: 'boom'" in bad.message
    assert 'handler.py", line' in bad.message


def test_filters_choose_and_what_no_longer_matches_goes(pipe: Pipe) -> None:
    (pipe.folder / "a.txt").write_text("one fish")
    (pipe.folder / "b.md").write_text("red fish")
    (pipe.folder / "c.md").write_text("blue fish")
    (pipe.folder / "d.pdf").write_text("no fish")
    other = {"field": "extension", "operator": "not_equals", "value": "pdf"}
    pipe.create(source={"metadataFilters": [other]})
    pipe.wait(3)
    source = {"filters": {"extension": "md"}}
    pipe.resources.patch("Pipeline", pipe.name, {"spec": {"source": source}})
    pipe.wait(2)
    assert pipe.texts() == Counter(["red fish", "blue fish"])

    # More than half of all would go: that waits for a word from the user.
    source = {"filters": {"extension": "pdf"}, "metadataFilters": None}
    pipe.resources.patch("Pipeline", pipe.name, {"spec": {"source": source}})
    eventually(
        lambda: (
            pipe.resources.condition("Pipeline", pipe.name, "Stalled").get("reason")
            == "DeleteLimitExceeded"
        )
    )
    sync = pipe.resources.status("Sync", pipe.status()["sync"])
    annotations = {"telecine.dev/approve-unindex": sync["plan"]["digest"]}
    pipe.resources.patch("Pipeline", pipe.name, {"metadata": {"annotations": annotations}})
    pipe.wait(1)
    assert pipe.texts() == Counter(["no fish"])


def test_a_suspended_pipeline_rests(pipe: Pipe) -> None:
    (pipe.folder / "a.txt").write_text("one fish")
    pipe.create(suspend=True)
    eventually(lambda: pipe.status().get("phase") == "SUSPENDED")
    assert pipe.resources.status("Sync", pipe.status()["sync"]).get("run") is None
    pipe.resources.patch("Pipeline", pipe.name, {"spec": {"suspend": False}})
    pipe.wait(1)


def test_values_of_another_type_than_before_fail_their_asset(pipe: Pipe) -> None:
    (pipe.folder / "a.txt").write_text("one fish")
    pipe.create()
    pipe.wait(1)
    other = f"{pipe.name}-other"
    pipe.create(LINES.replace('"line": number', '"line": "first"'), other)
    eventually(lambda: pipe.status(other).get("failed") == 1, 60)
    records = pipe.index.ledger(pipe.status(other)["tenant"]).scan_all()
    (bad,) = list(records)
    assert bad.reason == "IndexRefused"
    assert "`line` is text, and number in collection" in bad.message


def test_an_alias_is_of_one_pipeline_and_commands_take_it(
    pipe: Pipe, operator_env: dict[str, str]
) -> None:
    (pipe.folder / "a.txt").write_text("one fish")
    alias, other = f"Line splitter of {pipe.name}", f"{pipe.name}-other"
    pipe.create(alias=alias)
    assert pipe.wait(1, phase="COMPLETED")["alias"] == alias
    pipe.create(name=other, alias=alias)
    eventually(lambda: pipe.resources.condition("Pipeline", other, "Stalled"), 60)
    condition = pipe.resources.condition("Pipeline", other, "Stalled")
    assert condition["reason"] == "AliasTaken"
    assert f"alias {alias} is Pipeline {pipe.name}'s" in condition["message"]

    (pipe.folder / "b.txt").write_text("red fish")
    command = ["trigger", f"pipeline/{alias}", "--wait", "-N", pipe.resources.namespace]
    done = CliRunner(env=operator_env).invoke(app, command)
    assert done.exit_code == 0, done.output
    assert f"pipeline/{pipe.name}: asked for a run" in done.output
    assert "2 objects indexed" in done.output
    command = ["trigger", f"pipeline/{other}", "--wait", "-N", pipe.resources.namespace]
    done = CliRunner(env=operator_env).invoke(app, command)
    assert (done.exit_code, "AliasTaken" in done.output) == (1, True)

    pipe.resources.patch("Pipeline", pipe.name, {"spec": {"alias": None}})
    eventually(lambda: pipe.status().get("alias") is None)
    pipe.run(other)
    pipe.wait(2, other, alias=alias)


def test_how_queries_are_embedded_can_change_without_a_run_over_all(
    pipe: Pipe, operator_env: dict[str, str]
) -> None:
    (pipe.folder / "a.txt").write_text("one fish")
    embedded = LINES.replace('"line": number,', '"line": number, "embedding": vector(line),')
    embedded += """
def vector(line):
    from mixpeek import Mixpeek
    return Mixpeek("").embed.text(line)
"""
    pipe.create(embedded)
    sync = pipe.wait(1, phase="COMPLETED")["sync"]
    patch = {"spec": {"destination": {"queryModel": "text"}}}
    pipe.resources.patch("Pipeline", pipe.name, patch)

    def asked() -> bool:
        serving = pipe.resources.status("Namespace", sync).get("serving") or [{}]
        return bool(serving[0].get("parameters", {}).get("query_model") == "text")

    eventually(asked, 60)
    command = ["search", "an animal", "-n", sync, "-N", pipe.resources.namespace]
    done = CliRunner(env=operator_env).invoke(app, [*command, "--mode", "vector", "-o", "json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[0]["path"] == "a.txt"
    token = uuid.uuid4().hex
    pipe.resources.request("Pipeline", pipe.name, token)
    runs = pipe.resources.wait("Sync", sync, lastHandledReconcileAt=token, seconds=60)["history"]
    assert sum(run["extracted"] for run in runs) == 1


def test_a_name_that_is_taken_is_told(pipe: Pipe) -> None:
    pipe.resources.create(
        "Namespace", f"pipeline-{pipe.name}", {"featureExtractors": [{"name": "text_extractor"}]}
    )
    pipe.create()
    eventually(lambda: pipe.resources.condition("Pipeline", pipe.name).get("reason") == "NameTaken")
