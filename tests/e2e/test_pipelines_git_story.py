"""Pipelines whose code is in a private Git repository, under a real operator."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace
from telecine.index.client import WeaviateSettings, open_index

from tests.e2e.test_operator_runs import SETTINGS, Cluster
from tests.e2e.test_pipelines_story import LINES, Pipe
from tests.integration.git_servers import HttpServer, Repository
from tests.integration.operator_process import Resources, eventually, gateway, operator


@pytest.fixture
def git(tmp_path: Path) -> Iterator[tuple[Repository, str]]:
    """A repository that wants a token, and its URL."""
    root = tmp_path / "git"
    root.mkdir()
    with HttpServer(root).serving() as server:
        yield Repository(root), f"{server.url}/private/films.git"


@pytest.fixture
def pipe(
    cluster: Cluster, operator_env: dict[str, str], weaviate: WeaviateSettings, tmp_path: Path
) -> Iterator[Pipe]:
    resources = Resources(cluster.client(), f"pipes-{uuid.uuid4().hex[:10]}")
    resources.client.create(Namespace(metadata=ObjectMeta(name=resources.namespace)))
    source = tmp_path / "source"
    source.mkdir()
    with (
        operator(
            operator_env,
            tmp_path / "operator.log",
            kube_namespace=resources.namespace,
            state_dir=tmp_path / "state",
            allow_private_endpoints=True,
            **SETTINGS,
        ),
        open_index(weaviate) as index,
    ):
        resources.secret("keys", API_KEY="secret-of-the-handler")
        made = Pipe(resources, index, source)
        made.env = operator_env
        yield made


def config(pipe: Pipe, **destination: str) -> str:
    told = {
        "alias": "line-splitter",
        "source": {"connection_id": pipe.name, "filters": {"extension": "txt"}},
        "destination": {"collection": pipe.collection, **destination},
    }
    return json.dumps(told)


def reason(pipe: Pipe, type: str = "Ready") -> str | None:
    return pipe.resources.condition("Pipeline", pipe.name, type).get("reason")


@pytest.mark.timeout(400)
def test_the_code_of_a_private_repository_runs_commit_by_commit(
    pipe: Pipe, git: tuple[Repository, str], tmp_path: Path
) -> None:
    repository, url = git
    first = repository.commit(lines__handler_py=LINES)
    repository.write("lines/config.json", config(pipe, collectoin="x"))
    broken = repository.commit()
    (pipe.folder / "a.txt").write_text("one fish")
    (pipe.folder / "b.md").write_text("no fish")
    source = {"url": url, "path": "lines", "secretRef": {"name": "git"}}
    spec = {"git": source, "onChange": "All", "secretRef": {"name": "keys"}}
    pipe.resources.secret("git", token="wrong")
    pipe.resources.create("Pipeline", pipe.name, spec)

    # A wrong token, and a wrong config.json, each told with the remedy.
    eventually(lambda: reason(pipe) == "GitAuthenticationFailed")
    assert "wrong" not in pipe.resources.condition("Pipeline", pipe.name)["message"]
    # A Secret that changes is heard at once, without a word to the Pipeline.
    replace_secret(pipe, username="reader", token=HttpServer.TOKEN)
    eventually(lambda: reason(pipe, "Stalled") == "InvalidConfig", 60)
    message = pipe.resources.condition("Pipeline", pipe.name)["message"]
    assert "lines/config.json: destination.collectoin" in message

    repository.write("lines/config.json", config(pipe))
    good = repository.commit()
    pipe.run()
    status = pipe.wait(1, phase="COMPLETED")
    assert good not in (first, broken)
    assert status["commit"] == good
    assert pipe.texts() == Counter(["one fish"])
    assert {row["commit"] for row in pipe.rows()} == {good}

    # A commit changes what is made of everything.
    repository.write("lines/handler.py", LINES.replace("line,", "line.upper(),"))
    changed = repository.commit()
    pipe.run()
    eventually(lambda: pipe.texts() == Counter(["ONE FISH"]), 90)
    assert {row["commit"] for row in pipe.rows()} == {changed}

    # A push is heard at once: the polling interval is five minutes.
    replace_secret(pipe, username="reader", token=HttpServer.TOKEN, webhook_secret="hush")
    repository.write("lines/handler.py", LINES.replace("line,", "line.title(),"))
    pushed = repository.commit()
    body = json.dumps(
        {"ref": "refs/heads/main", "after": pushed, "repository": {"clone_url": url}}
    ).encode()
    with gateway(pipe.env, tmp_path / "gateway.log", kube_namespace=pipe.resources.namespace) as at:
        address = f"{at}/v1/webhooks/git/{pipe.resources.namespace}/{pipe.name}"
        assert push(address, body, "wrong").status_code == 401
        answer = push(address, body, "hush")
        assert push(f"{address}-other", body, "hush").status_code == 404
    assert answer.json() == {
        "received": True, "handled": True, "ref": "refs/heads/main", "pipelines": [pipe.name],
    }  # fmt: skip
    eventually(lambda: pipe.texts() == Counter(["One Fish"]), 90)

    # Without the repository the code goes on, and the condition says so.
    replace_secret(pipe, username="reader", token="revoked")
    eventually(lambda: reason(pipe) == "GitAuthenticationFailed")
    (pipe.folder / "c.txt").write_text("red fish")
    pipe.resources.request("Sync", status["sync"], uuid.uuid4().hex)
    eventually(lambda: pipe.texts() == Counter(["One Fish", "Red Fish"]), 90)


def push(url: str, body: bytes, secret: str) -> httpx2.Response:
    """Delivers a push as GitHub does."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={digest}"}
    return httpx2.post(url, content=body, headers=headers, timeout=20.0, trust_env=False)


def replace_secret(pipe: Pipe, **values: str) -> None:
    from lightkube.resources.core_v1 import Secret
    from lightkube.types import PatchType

    patch = {"stringData": values}
    pipe.resources.client.patch(
        Secret, "git", patch, namespace=pipe.resources.namespace, patch_type=PatchType.MERGE
    )
