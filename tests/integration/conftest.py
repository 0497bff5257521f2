"""One environment for all integration tests: real API server, Weaviate and S3 server."""

from __future__ import annotations

import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lightkube import Client
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace
from telecine.dev import binaries
from telecine.dev.environment import Instance
from telecine.dev.guard import guarded
from telecine.dev.media.filming import Shot, Style, film
from telecine.dev.media.photos import photograph
from telecine.dev.mux import SigningKey
from telecine.dev.s3 import S3Server
from telecine.index.client import WeaviateSettings

from tests.integration.harness import World, make_world
from tests.integration.mux_world import MuxWorld, make_mux_world


@dataclass(frozen=True)
class Cluster:
    """The API server of the tests."""

    instance: Instance
    kubectl_path: Path

    @property
    def kubeconfig(self) -> Path:
        return self.instance.kubeconfig

    def client(self) -> Client:
        return self.instance.client()

    def kubectl(
        self, *arguments: str, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs kubectl; the caller looks at the exit code."""
        return subprocess.run(
            [self.kubectl_path, *arguments],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            input=input,
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture(scope="session")
def environments() -> Iterator[Path]:
    """A folder whose environments end with this process, also when that is killed."""
    folder = Path(tempfile.mkdtemp(prefix="telecine-test-"))
    with guarded(folder):
        yield folder


@pytest.fixture(scope="session")
def environment(environments: Path) -> Iterator[Instance]:
    instance = Instance("tests", root=environments)
    instance.up()
    yield instance
    instance.down()


@pytest.fixture(scope="session")
def cluster(environment: Instance) -> Cluster:
    return Cluster(environment, binaries.ensure(["kubectl"])["kubectl"])


@pytest.fixture(scope="session")
def operator_env(environment: Instance) -> dict[str, str]:
    """Variables for processes that run the operator or the command line."""
    return environment.variables()


@pytest.fixture(scope="session")
def weaviate(environment: Instance) -> WeaviateSettings:
    return WeaviateSettings(environment.weaviate, grpc_port=environment.state.ports["grpc"])


@pytest.fixture(scope="session")
def s3_server(environments: Path) -> Iterator[S3Server]:
    instance = Instance("s3", root=environments)
    yield instance.s3()
    instance.down()


@pytest.fixture
def s3_bucket(s3_server: S3Server) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3_server.client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def kube_namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh Kubernetes namespace, deleted with all in it."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    with cluster.client() as client:
        client.create(Namespace(metadata=ObjectMeta(name=name)))
        yield name
        client.delete(Namespace, name)


@pytest.fixture
def world(weaviate: WeaviateSettings, tmp_path: Path) -> Iterator[World]:
    """A tenant, a folder, and runs of Syncs on it without an operator."""
    folder = tmp_path / "source"
    folder.mkdir()
    with make_world(weaviate, folder) as made:
        yield made


@pytest.fixture(scope="session")
def short_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds, small and silent."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    shots = [Shot(photograph("cat"), 2), Shot(photograph("coffee"), 2)]
    film(path, shots, (), Style((160, 90), 5))
    return path


@pytest.fixture
def mux(
    cluster: Cluster, kube_namespace: str, weaviate: WeaviateSettings, short_film: Path
) -> Iterator[MuxWorld]:
    """A Mux environment, a gateway, and runs of Syncs on it without an operator."""
    key = SigningKey.make()
    with (
        cluster.client() as client,
        make_mux_world(client, kube_namespace, weaviate, short_film, signing_key=key) as made,
    ):
        yield made
