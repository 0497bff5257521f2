"""A cluster for the tests of this folder; see site.py for which one."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from lightkube import Client
from telecine.dev import binaries
from telecine.dev.node.cluster import node, why_not
from telecine.dev.node.images import archives
from telecine.dev.progress import say
from telecine.dev.s3 import ACCESS_KEY, SECRET_KEY
from telecine.index.client import open_index
from telecine.index.index import Index

from tests.cluster.site import (
    REQUIREMENT,
    ROOT,
    SERVICES,
    SYSTEM,
    Site,
    images,
    installed,
    services,
    tools,
)
from tests.e2e.manifests import EXTRACTORS, NAMESPACE, Shelf
from tests.integration.operator_process import Resources, eventually


@pytest.fixture(scope="session")
def bare() -> Iterator[Site]:
    """A cluster with nothing in it, and on a node of ours the images."""
    given = os.environ.get("TELECINE_E2E_KUBECONFIG")
    if given:
        yield Site(Path(given), None, tools())
        return
    why = why_not()
    if why:
        pytest.skip(f"no cluster: {why}")
    folder = Path(tempfile.mkdtemp(prefix="tc-"))
    try:
        with tempfile.TemporaryDirectory(prefix="telecine-services-") as name:
            built = archives(images(*_contexts(Path(name))))
        with node(folder) as made:
            for archive in built:
                say(f"importing {archive.name}")
                made.load(archive)
            yield Site(made.kubeconfig, made, made.paths)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _contexts(folder: Path) -> tuple[Path, Path]:
    """What the images of services and of handlers are built from."""
    services, handlers = folder / "services", folder / "handlers"
    for made in (services, handlers):
        made.mkdir()
    shutil.copy(Path(__file__).with_name("services.Containerfile"), services)
    shutil.copy(binaries.ensure(["weaviate"])["weaviate"], services / "weaviate")
    shutil.copy(ROOT / "examples" / "pipelines" / "Containerfile", handlers)
    (handlers / "requirements.txt").write_text(f"{REQUIREMENT}\n")
    return services, handlers


@pytest.fixture(scope="session")
def site(bare: Site) -> Iterator[Site]:
    """With Weaviate, an S3 server and Telecine."""
    bare.namespace(SERVICES)
    bare.apply(*services(bare))
    for name in ("weaviate", "s3"):
        bare.kubectl("rollout", "status", f"deploy/{name}", "-n", SERVICES, "--timeout=120s")
    with installed(bare):
        yield bare
    bare.kubectl("delete", "namespace", SERVICES, "--wait=false")


@pytest.fixture(scope="session")
def client(site: Site) -> Iterator[Client]:
    with site.client() as made:
        yield made


@pytest.fixture(scope="session")
def index(site: Site) -> Iterator[Index]:
    with open_index(site.weaviate()) as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the cluster was like when a test failed is part of its report."""
    report = yield
    made = item.funcargs.get("resources") if isinstance(item, pytest.Function) else None
    if call.when == "call" and report.failed and isinstance(made, Resources):
        site = item.funcargs["site"]
        for line in (
            ("get", "tns,tbucket,tconn,tsync,jobs,pods", "-n", made.namespace),
            ("get", "tsync", "-n", made.namespace, "-o", "yaml"),
            ("get", "events", "-n", made.namespace),
            ("logs", "-n", made.namespace, "-l", "app.kubernetes.io/name=telecine", "--tail=20"),
            ("logs", "-n", SYSTEM, "deploy/telecine-operator", "--tail=60"),
        ):
            report.sections.append((f"kubectl {' '.join(line)}", site.kubectl(*line, ok=False)))
    return report


@pytest.fixture
def resources(site: Site, client: Client) -> Iterator[Resources]:
    """A Kubernetes namespace that enforces restricted Pods, with a Telecine Namespace."""
    name = f"media-{uuid.uuid4().hex[:8]}"
    site.namespace(name)
    made = Resources(client, name)
    made.secret("s3", access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)
    made.create("Namespace", NAMESPACE, EXTRACTORS)
    yield made
    site.kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=180s")


@pytest.fixture
def shelf(site: Site, resources: Resources, index: Index, tmp_path: Path) -> Shelf:
    """A Bucket fed from an S3 bucket of the same name, with nothing in it yet."""
    made = Shelf(resources, index, tmp_path)
    site.s3().create_bucket(Bucket=made.name)
    made.create_sources(site.s3_connection(made.name))
    eventually(lambda: resources.condition("Connection", made.name).get("status") == "True")
    return made
