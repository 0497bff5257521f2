"""A node whose kubelet knows nothing but logs, as the API server asks it for them."""

from __future__ import annotations

import contextlib
import datetime
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from lightkube import Client
from lightkube.models.core_v1 import (
    Container,
    DaemonEndpoint,
    NodeAddress,
    NodeDaemonEndpoints,
    NodeStatus,
    PodSpec,
    PodStatus,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, Pod
from lightkube.resources.core_v1 import NodeStatus as NodeStatusResource
from lightkube.types import PatchType


@dataclass
class Log:
    """Lines that are there, and whether the container still writes."""

    lines: list[str] = field(default_factory=list)
    ended: bool = True


@dataclass
class Kubelet:
    """A node's Pods and their logs."""

    client: Client
    node: str
    logs: dict[str, Log] = field(default_factory=dict)
    asked: list[tuple[str, str, bool]] = field(default_factory=list)
    """Pod, container and whether its log was to be followed, for each request."""
    changed: threading.Condition = field(default_factory=threading.Condition)

    def pod(
        self, namespace: str, name: str, labels: dict[str, str], phase: str = "Succeeded"
    ) -> None:
        """Makes a Pod on the node; a Pending one has no log yet."""
        container = Container(name="worker", image="example.com/worker:1")
        spec = PodSpec(
            containers=[container], nodeName=self.node, automountServiceAccountToken=False
        )
        metadata = ObjectMeta(name=name, namespace=namespace, labels=labels)
        self.client.create(Pod(metadata=metadata, spec=spec))
        self.phase(namespace, name, phase)

    def phase(self, namespace: str, name: str, phase: str) -> None:
        status = Pod(metadata=ObjectMeta(name=name), status=PodStatus(phase=phase))
        self.client.patch(Pod.Status, name, status, namespace=namespace, patch_type=PatchType.MERGE)

    def write(self, pod: str, *lines: str, ended: bool = False) -> None:
        """Adds to the log of a Pod's container, which ends or goes on."""
        with self.changed:
            log = self.logs.setdefault(pod, Log(ended=False))
            log.lines += lines
            log.ended = ended
            self.changed.notify_all()

    def read(self, pod: str, follow: bool) -> Iterator[str]:
        sent = 0
        while True:
            with self.changed:
                log = self.logs[pod]
                while follow and sent == len(log.lines) and not log.ended:
                    self.changed.wait(1)
                new, last = log.lines[sent:], log.ended or not follow
            yield from new
            sent += len(new)
            if last:
                return


def _handler(kubelet: Kubelet) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            _, what, _, pod, container = url.path.split("/")
            follow = parse_qs(url.query).get("follow") == ["true"]
            kubelet.asked.append((pod, container, follow))
            found = what == "containerLogs" and pod in kubelet.logs
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            for line in kubelet.read(pod, follow) if found else ():
                self.wfile.write(f"{line}\n".encode())
                self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            """Keeps stderr clean."""

    return Handler


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubelet")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "kubelet.pem"
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextlib.contextmanager
def scripted_kubelet(client: Client, name: str, folder: Path) -> Iterator[Kubelet]:
    """Registers a node for the block, and answers for it."""
    kubelet = Kubelet(client, name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(kubelet))
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(folder))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    status = NodeStatus(
        addresses=[NodeAddress(type="InternalIP", address="127.0.0.1")],
        daemonEndpoints=NodeDaemonEndpoints(DaemonEndpoint(Port=server.server_port)),
    )
    client.create(Node(metadata=ObjectMeta(name=name)))
    try:
        client.patch(
            NodeStatusResource,
            name,
            Node(metadata=ObjectMeta(name=name), status=status),
            patch_type=PatchType.MERGE,
        )
        yield kubelet
    finally:
        client.delete(Node, name)
        server.shutdown()
        thread.join()
        server.server_close()
