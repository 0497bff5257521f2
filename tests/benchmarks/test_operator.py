"""The operator among thousands of resources: memory, and how soon it has seen them all."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from telecine.execution.kube import Sync

from tests.benchmarks.measure import scaled, tell
from tests.integration.conftest import Cluster
from tests.integration.operator_process import Resources, eventually, operator

pytestmark = pytest.mark.timeout(1800)
COUNT = scaled(5000)
TOUCHED = 20
MIB = 1 << 20


def memory(pid: int) -> dict[str, str]:
    """Resident size now and at most, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in status if line.startswith(("VmRSS", "VmHWM")))
    return {
        what: f"{int(found[name].split()[0]) * 1024 / MIB:.0f} MiB"
        for what, name in (("now", "VmRSS"), ("most", "VmHWM"))
    }


def processor_seconds(pid: int) -> float:
    """What the process has used so far; other than time it does not tell how busy the machine is.

    Fields 14 and 15 of proc(5)'s `stat`, counted behind the name in brackets.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def seen(log: Path) -> int:
    """How many resources the operator says it has seen since its start; 0 before it says so."""
    for line in log.read_text().splitlines():
        said = json.loads(line) if line.startswith("{") else {}
        if said.get("event") == "all resources are seen":
            return int(said["resources"])
    return 0


def observed(resources: Resources) -> dict[str, bool]:
    """Whether each Sync's status is that of its present spec."""
    found = resources.client.list(Sync, namespace=resources.namespace, chunk_size=1000)
    return {
        sync["metadata"]["name"]: (sync.get("status") or {}).get("observedGeneration")
        == sync["metadata"]["generation"]
        for sync in map(dict, found)
    }


def made(resources: Resources, folder: Path) -> None:
    """One Namespace, Connection and Bucket, and a great many suspended Syncs."""
    resources.create("Namespace", "library", {"featureExtractors": [{"name": "text_extractor"}]})
    resources.create("Connection", "disk", {"provider": "local", "local": {"path": str(folder)}})
    resources.create("Bucket", "texts", {"namespaceRef": {"name": "library"}, "blobType": "text"})
    spec = {
        "bucketRef": {"name": "texts"},
        "connectionRef": {"name": "disk"},
        "suspend": True,
    }
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: resources.create("Sync", f"sync-{n:05d}", spec), range(COUNT)))


def until(look: Any, start: float, what: str, deadline: float = 600.0) -> float:
    """Seconds since the start when it first is so."""
    eventually(look, deadline, what)
    return time.monotonic() - start


def test_the_operator_among_thousands_of_resources(
    cluster: Cluster, kube_namespace: str, operator_env: dict[str, str], tmp_path: Path
) -> None:
    resources = Resources(cluster.client(), kube_namespace)
    source = tmp_path / "source"
    source.mkdir()
    made(resources, source)

    log = tmp_path / "first.log"
    start = time.monotonic()
    with operator(operator_env, log) as process:
        first = until(lambda: seen(log) >= COUNT, start, "all resources are seen")
        busy = processor_seconds(process.pid)
        every = until(lambda: all(observed(resources).values()), start, "every Sync has a status")
        libraries = Path(f"/proc/{process.pid}/maps").read_text()
        tell(
            f"operator, first start with {COUNT:,} Syncs, seconds until seen",
            seconds=first,
            of_processor=busy,
            goal="under 5",
        )
        tell("operator, seconds until every one has a status", seconds=every)
        tell("operator's memory after it", **memory(process.pid), goal="under 200 MiB")
        tell("operator has torch in memory", answer=str("libtorch" in libraries), goal="False")

    assert len(observed(resources)) == COUNT
    changed = [f"sync-{n:05d}" for n in range(0, COUNT, max(COUNT // TOUCHED, 1))]
    for name in changed:
        resources.patch("Sync", name, {"spec": {"pollingIntervalSeconds": 1234}})

    log = tmp_path / "second.log"
    start = time.monotonic()
    with operator(operator_env, log) as process:
        again = until(lambda: seen(log) >= COUNT, start, "all resources are seen")
        busy = processor_seconds(process.pid)

        def caught_up() -> bool:
            return all(
                resources.status("Sync", name).get("observedGeneration") == 2 for name in changed
            )

        changes = until(caught_up, start, "the changed Syncs have a new status")
        tell(
            f"operator, restart with {COUNT:,} Syncs, seconds until seen",
            seconds=again,
            of_processor=busy,
            goal="under 5",
        )
        tell(
            f"operator, restart, seconds until {len(changed)} changes made meanwhile are in status",
            seconds=changes,
        )
        tell("operator's memory after a restart", **memory(process.pid), goal="under 200 MiB")
        start = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda name: resources.delete("Sync", name), observed(resources)))
        gone = until(lambda: not observed(resources), start, "all Syncs are deleted")
        tell(f"operator, seconds until {COUNT:,} deleted Syncs are gone", seconds=gone)
        tell("operator's memory at the end", **memory(process.pid), goal="under 200 MiB")
