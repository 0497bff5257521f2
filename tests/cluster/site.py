"""The cluster of these tests, with Weaviate and an S3 server in it, and Telecine installed.

Without more it is a node that the tests start themselves. `TELECINE_E2E_KUBECONFIG` names another
one (kind, or any), whose nodes pull `TELECINE_E2E_IMAGE` and `TELECINE_E2E_WORKER_IMAGE`.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml
from lightkube import Client, KubeConfig
from lightkube.resources.core_v1 import Node as KubeNode
from lightkube.resources.core_v1 import Service
from telecine.dev import binaries, components
from telecine.dev.catalog import WEAVIATE
from telecine.dev.node.cluster import Node
from telecine.dev.node.images import BASE, Image
from telecine.dev.s3 import ACCESS_KEY, REGION, SECRET_KEY
from telecine.index.client import WeaviateSettings

Body = dict[str, Any]
ROOT = Path(__file__).parents[2]
SERVICES, SYSTEM = "telecine-e2e-services", "telecine-system"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
API_KEY = "key-of-the-tests"
OPERATOR, WORKER = "localhost/telecine:e2e", "localhost/telecine-worker:e2e"
SERVICES_IMAGE = "localhost/telecine-services:e2e"
HANDLERS = "localhost/telecine-handlers:e2e"
REQUIREMENT = "humanize==4.12.3"
"""A package that Telecine does not have, for handlers with an image of their own."""
NODE_PORTS = {"weaviate": 30080, "grpc": 30051, "s3": 30500, "mux": 30888}
MUX_TOKEN = ("a3b02074-dbca-47b6-9a2b-7a4f8fbc2d31", "Am9+RGn2mhmzDemo")
_SOURCES = (
    "pyproject.toml", "uv.lock", "README.md", "LICENSE", "operator", "controllers",
    "scripts/operator-programs.sh", "scripts/worker-packages.sh",
)  # fmt: skip
_PORTS = {"gossip": 7946, "data": 7947, "raft": 8300, "raft_rpc": 8301, "grpc": 50051}


def images(services: Path, handlers: Path) -> list[Image]:
    """What a node of ours has to have.

    Args:
        services: a folder that has Weaviate.
        handlers: a folder with the example's Containerfile for handlers.
    """
    sources = [ROOT / name for name in _SOURCES]
    file, base = ROOT / "Containerfile", {"BASE": BASE}
    worker = Image(
        WORKER, ROOT, file, "worker", {**base, "TORCH": "none", "EXTRAS": "text media offline"},
        sources,
    )  # fmt: skip
    return [
        Image(OPERATOR, ROOT, file, "operator", base, sources),
        worker,
        Image(
            HANDLERS,
            handlers,
            handlers / "Containerfile",
            arguments={"WORKER": WORKER},
            sources=[handlers / "requirements.txt"],
            parent=worker,
        ),
        Image(
            SERVICES_IMAGE,
            services,
            services / "services.Containerfile",
            arguments=base,
            sources=[services / "weaviate"],
        ),
    ]


@dataclass
class Site:
    """A cluster, whichever it is."""

    kubeconfig: Path
    node: Node | None
    """Ours, or None when it is somebody else's cluster."""
    paths: dict[str, Path]

    def client(self) -> Client:
        return Client(config=KubeConfig.from_file(str(self.kubeconfig)), trust_env=False)

    def run(self, *line: str, input: str | None = None, ok: bool = True) -> str:
        """kubectl, helm or telecine; fails with what they say."""
        program = str(self.paths.get(line[0], line[0]))
        done = subprocess.run(
            [program, *line[1:]],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            input=input,
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert done.returncode == 0 or not ok, f"{' '.join(line)}\n{done.stdout}{done.stderr}"
        return done.stdout if ok else done.stdout + done.stderr

    def kubectl(self, *line: str, input: str | None = None, ok: bool = True) -> str:
        return self.run("kubectl", *line, input=input, ok=ok)

    def helm(self, *line: str, ok: bool = True) -> str:
        return self.run("helm", *line, ok=ok)

    def apply(self, *bodies: Body) -> None:
        self.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(bodies))

    def namespace(self, name: str, **labels: str) -> None:
        metadata = {"name": name, "labels": {**RESTRICTED, **labels}}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    # Where Weaviate and the S3 server are, from Pods and from here

    def inside(self, service: str, port: int) -> str:
        with self.client() as client:
            found = client.get(Service, service, namespace=SERVICES).to_dict()
        return f"http://{found['spec']['clusterIP']}:{port}"

    @property
    def address(self) -> str:
        if self.node is not None:
            return self.node.address
        with self.client() as client:
            addresses = next(iter(client.list(KubeNode))).to_dict()["status"]["addresses"]
        return str(next(a["address"] for a in addresses if a["type"] == "InternalIP"))

    def weaviate(self) -> WeaviateSettings:
        return WeaviateSettings(
            endpoint=f"http://{self.address}:{NODE_PORTS['weaviate']}",
            grpc_port=NODE_PORTS["grpc"],
            api_key=API_KEY,
        )

    def variables(self) -> dict[str, str]:
        """The environment of a `telecine` command line beside the cluster."""
        found = self.weaviate()
        return {
            "KUBECONFIG": str(self.kubeconfig),
            "TELECINE_WEAVIATE_ENDPOINT": found.endpoint,
            "TELECINE_WEAVIATE_GRPC_PORT": str(found.grpc_port),
            "TELECINE_WEAVIATE_API_KEY": API_KEY,
        }

    def s3(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.address}:{NODE_PORTS['s3']}",
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )

    def s3_connection(self, bucket: str) -> Body:
        config = {"endpoint": self.inside("s3", 5000), "bucket": bucket}
        return {"provider": "s3", "s3": config, "secretRef": {"name": "s3"}}

    @contextmanager
    def forwarded(self, target: str, port: int, namespace: str) -> Iterator[str]:
        """The URL at which a port of a Service or Pod is reached from here."""
        program, line = str(self.paths["kubectl"]), ("port-forward", target, f":{port}")
        with subprocess.Popen(
            [program, *line, "-n", namespace],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            told = process.stdout.readline()
            found = re.search(r"127\.0\.0\.1:(\d+)", told)
            try:
                assert found, told + process.stderr.read()
                yield f"http://127.0.0.1:{found[1]}"
            finally:
                process.terminate()

    def values(self, **more: str) -> list[str]:
        """`--set` for helm."""
        ours = self.node is not None
        image = OPERATOR if ours else os.environ["TELECINE_E2E_IMAGE"]
        worker = WORKER if ours else os.environ["TELECINE_E2E_WORKER_IMAGE"]
        given = {
            "image.repository": image.rpartition(":")[0],
            "image.tag": image.rpartition(":")[2],
            "image.pullPolicy": "Never" if ours else "IfNotPresent",
            "workers.image.repository": worker.rpartition(":")[0],
            "workers.image.tag": worker.rpartition(":")[2],
            "workers.image.pullPolicy": "Never" if ours else "IfNotPresent",
            "workers.resources.requests.cpu": "100m",
            "workers.resources.requests.memory": "256Mi",
            "weaviate.endpoint": self.inside("weaviate", 8080),
            "weaviate.secret": f"{SYSTEM}/weaviate",
            "gateway.replicas": "1",
            "gateway.url": "https://telecine.test",
            **more,
        }
        flags = {name: "--set-string" if ".settings." in name else "--set" for name in given}
        return [p for name, value in given.items() for p in (flags[name], f"{name}={value}")]


def services(site: Site) -> list[Body]:
    """Weaviate and an S3 server as Deployments that can be reached from outside the cluster."""
    ours = os.environ.get("TELECINE_E2E_SERVICES_IMAGE") or (SERVICES_IMAGE if site.node else None)
    weaviate_env = components.weaviate_variables(Path("/data"), _PORTS, API_KEY)
    return [
        *_service(
            "weaviate",
            ours or f"cr.weaviate.io/semitechnologies/weaviate:{WEAVIATE}",
            ["weaviate" if ours else "/bin/weaviate", *_flags(8080), "--scheme", "http"],
            weaviate_env,
            {"weaviate": 8080, "grpc": 50051},
        ),
        *_service(
            "s3",
            ours or "docker.io/motoserver/moto:5.2.5",
            ["/opt/moto/bin/moto_server" if ours else "moto_server", "-H", "0.0.0.0", "-p", "5000"],
            {},
            {"s3": 5000},
        ),
    ]


def mux(site: Site, film: Path, captions: str) -> list[Body]:
    """A Mux test server with one film, in the operator's image."""
    content = base64.b64encode(film.read_bytes()).decode()
    metadata = {"name": "film", "namespace": SERVICES}
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    image = OPERATOR if site.node else os.environ["TELECINE_E2E_IMAGE"]
    command = ["python", "-m", "telecine.dev.mux", "--host", "0.0.0.0", "--port", "8888"]
    command += ["--captions", "/data/captions.vtt"]
    films = {"name": "data", "configMap": {"name": "film"}}
    server = _service("mux", image, [*command, "/data/film.mp4"], {}, {"mux": 8888}, films)
    files = {"binaryData": {"film.mp4": content}, "data": {"captions.vtt": captions}}
    return [{**made, **files}, *server]


def _flags(port: int) -> Sequence[str]:
    return ["--host", "0.0.0.0", "--port", str(port)]


def _service(
    name: str,
    image: str,
    command: list[str],
    env: dict[str, str],
    ports: dict[str, int],
    data: Body | None = None,
) -> list[Body]:
    labels, metadata = {"app": name}, {"name": name, "namespace": SERVICES}
    container = {
        "name": name,
        "image": image,
        "imagePullPolicy": "Never" if image.startswith("localhost/") else "IfNotPresent",
        "command": command,
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "readinessProbe": {"tcpSocket": {"port": next(iter(ports.values()))}, "periodSeconds": 1},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "containers": [container],
        "volumes": [data or {"name": "data", "emptyDir": {}}],
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    service_ports = [
        {"name": key, "port": port, "nodePort": NODE_PORTS[key]} for key, port in ports.items()
    ]
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"type": "NodePort", "selector": labels, "ports": service_ports},
        },
    ]


@contextmanager
def installed(site: Site) -> Iterator[None]:
    """Telecine from the chart, in a Kubernetes namespace that enforces restricted Pods."""
    site.namespace(SYSTEM)
    site.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "weaviate", "namespace": SYSTEM},
            "stringData": {"api_key": API_KEY},
        }
    )
    install(site)
    try:
        yield
    finally:
        uninstall(site)


def install(site: Site, **values: str) -> None:
    """Installs the chart, or upgrades it."""
    chart = str(ROOT / "charts" / "telecine")
    line = ("upgrade", "--install", "telecine", chart, "-n", SYSTEM, "--wait", "--timeout", "3m")
    site.helm(*line, *site.values(**values))


def uninstall(site: Site) -> None:
    line = ("uninstall", "telecine", "-n", SYSTEM, "--wait", "--ignore-not-found")
    site.helm(*line, "--timeout", "3m")


def tools() -> dict[str, Path]:
    return binaries.ensure(["kubectl", "helm"])
