"""The operator as a process, and the resources that tests make for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from lightkube import ApiError, Client
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event, Secret
from lightkube.types import PatchType
from telecine.api.base import API_VERSION
from telecine.dev.processes import free_ports
from telecine.execution.kube import RESOURCES

T = TypeVar("T")
Body = dict[str, Any]


WAIT_SECONDS = 60.0
"""How long tests wait for what should take a moment: machines differ, and may be busy."""
_SEEN = '"all resources are seen"'


def eventually(look: Callable[[], T], seconds: float = WAIT_SECONDS, what: str = "") -> T:
    """The first true value; fails with the last one when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        value = look()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or look} ({value!r})"
        time.sleep(0.1)


@contextlib.contextmanager
def operator(
    env: dict[str, str], log: Path, *, doomed: bool = False, **settings: object
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs the operator for the block, which begins when it has seen all resources.

    `settings` are those of telecine.settings; `log` may have other operators' lines already. One
    that is `doomed` may have ended by then.
    """
    before = log.read_text().count(_SEEN) if log.exists() else 0
    variables = {f"TELECINE_{name.upper()}": str(value) for name, value in settings.items()}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "telecine.controllers.main"],
            env={**os.environ, **env, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        eventually(
            lambda: process.poll() is not None or log.read_text().count(_SEEN) > before,
            120,
            "the operator starts",
        )
        assert doomed or process.poll() is None, log.read_text()[-4000:]
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@contextlib.contextmanager
def gateway(env: dict[str, str], log: Path, **settings: Any) -> Iterator[str]:
    """`telecine gateway` as a process; gives its URL."""
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    told = {"gateway_host": "127.0.0.1", "gateway_port": port, **settings}
    variables = {f"TELECINE_{name.upper()}": str(value) for name, value in told.items()}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "telecine.gateway.main"],
            env={**os.environ, **env, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )

    def healthy() -> bool:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            return httpx2.get(f"{url}/readyz", trust_env=False).status_code == 200
        except httpx2.HTTPError:
            return False

    try:
        eventually(healthy, what="the gateway is ready")
        yield url
    finally:
        process.terminate()
        process.wait(60)


@dataclass
class Resources:
    """The resources of one Kubernetes namespace."""

    client: Client
    namespace: str
    made: list[tuple[str, str]] = field(default_factory=list)

    def create(self, kind: str, name: str, spec: Body, **metadata: Any) -> Body:
        resource = RESOURCES[kind]
        made = self.client.create(
            resource(
                {
                    "apiVersion": API_VERSION,
                    "kind": kind,
                    "metadata": {"name": name, "namespace": self.namespace, **metadata},
                    "spec": spec,
                }
            )
        )
        self.made.append((kind, name))
        return dict(made)

    def get(self, kind: str, name: str) -> Body:
        return dict(self.client.get(RESOURCES[kind], name, namespace=self.namespace))

    def patch(self, kind: str, name: str, patch: Body) -> Body:
        return dict(
            self.client.patch(
                RESOURCES[kind], name, patch, namespace=self.namespace, patch_type=PatchType.MERGE
            )
        )

    def request(self, kind: str, name: str, text: str) -> None:
        """Asks for a look now, with the annotation requestedAt."""
        annotations = {"telecine.dev/requestedAt": text}
        self.patch(kind, name, {"metadata": {"annotations": annotations}})

    def delete(self, kind: str, name: str) -> None:
        self.client.delete(RESOURCES[kind], name, namespace=self.namespace)

    def exists(self, kind: str, name: str) -> bool:
        try:
            self.get(kind, name)
        except ApiError as error:
            if error.status.code == 404:
                return False
            raise
        return True

    def secret(self, name: str, **values: str) -> None:
        """Makes or replaces a Secret."""
        made = Secret(metadata=ObjectMeta(name=name, namespace=self.namespace), stringData=values)
        try:
            self.client.create(made)
        except ApiError as error:
            if error.status.code != 409:
                raise
            self.client.replace(made)

    def status(self, kind: str, name: str) -> Body:
        found: Body = self.get(kind, name).get("status") or {}
        return found

    def condition(self, kind: str, name: str, type: str = "Ready") -> Body:
        conditions = self.status(kind, name).get("conditions") or []
        return next((c for c in conditions if c["type"] == type), {})

    def wait(
        self,
        kind: str,
        name: str,
        *,
        phase: str | None = None,
        reason: str | None = None,
        ready: bool | None = None,
        seconds: float = WAIT_SECONDS,
        **status: Any,
    ) -> Body:
        """Waits until status and Ready condition are so; returns the status."""

        def look() -> bool:
            # One reading: what is returned is what was looked at.
            found = self.last = self.status(kind, name)
            conditions = {c["type"]: c for c in found.get("conditions") or []}
            condition = conditions.get("Ready") or {}
            return (
                (phase is None or found.get("phase") == phase)
                and (reason is None or condition.get("reason") == reason)
                and (ready is None or condition.get("status") == str(ready))
                and all(found.get(key) == value for key, value in status.items())
            )

        try:
            eventually(look, seconds)
        except AssertionError:
            wanted = f"{phase=} {reason=} {ready=} {status}"
            raise AssertionError(f"{kind} {name}: not {wanted} but {self.last}") from None
        return self.last

    def events(self, name: str) -> list[tuple[str, str, str]]:
        """Type, reason and message of all Events about resources of a name."""
        return [
            (e.type or "", e.reason or "", e.message or "")
            for e in self.client.list(Event, namespace=self.namespace)
            if e.involvedObject.name == name
        ]

    def delete_all(self) -> None:
        for kind, name in self.made:
            with contextlib.suppress(ApiError):
                self.delete(kind, name)
