"""Mux: a run without a change over a large library, and webhooks a second on one core."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mux_python
import pytest
from telecine.dev.mux import event, signature
from telecine.dev.processes import free_ports
from telecine.index.client import WeaviateSettings

from tests.benchmarks.measure import alternate, scaled, tell
from tests.integration.conftest import Cluster
from tests.integration.mux_world import FLAGGED, WEBHOOK_SECRET, MuxWorld, make_mux_world
from tests.integration.operator_process import eventually
from tests.integration.test_mux_runs import index_all

pytestmark = pytest.mark.timeout(1200)
ASSETS = scaled(10_000, 200)
EVENTS = scaled(4_000, 400)
CLIENTS = 8


@pytest.fixture
def mux(
    cluster: Cluster, kube_namespace: str, weaviate: WeaviateSettings, tmp_path: Path
) -> Iterator[MuxWorld]:
    with (
        cluster.client() as client,
        make_mux_world(client, kube_namespace, weaviate, tmp_path) as made,
    ):
        made.declare(reconcileOnSync=True, fileFilters={"metadataFilters": [FLAGGED]})
        yield made


def test_a_run_without_a_change_over_a_large_library(mux: MuxWorld) -> None:
    """Against Mux's own client that lists the same pages and does nothing else."""
    mux.library.add_many(ASSETS, passthrough="vi:1", renditions={"low.mp4": 10})
    index_all(mux)
    configuration = mux_python.Configuration(
        host=mux.server.url, username=mux.server.token_id, password=mux.server.token_secret
    )
    official = mux_python.AssetsApi(mux_python.ApiClient(configuration))

    def ours() -> None:
        ran = mux.run()
        assert (ran.plan.keep, ran.plan.listed, ran.unindexed) == (ASSETS, ASSETS, 0)

    def bare() -> None:
        pages = range(1, -(-ASSETS // 100) + 1)
        assert sum(len(official.list_assets(limit=100, page=n).data) for n in pages) == ASSETS

    mux.server.calls.clear()
    ours()
    calls = sum(mux.server.calls.values())
    mine, client = alternate(ours, bare)
    tell(
        f"a run without a change over {ASSETS:,} Mux assets with reconcileOnSync",
        whole_run=f"{mine.seconds:.2f} s",
        calls=calls,
        at_five_a_second=f"{calls / 5:.0f} s",
        mux_python_lists_alone=f"{client.seconds:.2f} s",
        ratio=mine.speed(client),
    )
    assert calls == -(-ASSETS // 100)


@contextlib.contextmanager
def gateway(mux: MuxWorld, env: dict[str, str], log: Path) -> Iterator[str]:
    """The gateway as a process that has the last core for itself; gives its URL."""
    port = free_ports(1)[0]
    settings = {
        "TELECINE_GATEWAY_HOST": "127.0.0.1",
        "TELECINE_GATEWAY_PORT": str(port),
        "TELECINE_KUBE_NAMESPACE": mux.resources.namespace,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "telecine.gateway.main"],
            env={**os.environ, **env, **settings},
            stdout=output,
            stderr=output,
        )
    os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def storm(url: str, told: list[tuple[bytes, str]]) -> tuple[float, Counter[int], list[float]]:
    """Posts bodies with their signatures from several clients; seconds, statuses, times."""
    parts = urlsplit(url)

    def post(mine: list[tuple[bytes, str]]) -> list[tuple[int, float]]:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        seen = []
        for body, header in mine:
            started = time.perf_counter()
            connection.request("POST", parts.path, body, {"Mux-Signature": header})
            answer = connection.getresponse()
            answer.read()
            seen.append((answer.status, time.perf_counter() - started))
        connection.close()
        return seen

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        seen = [one for part in pool.map(post, (told[n::CLIENTS] for n in range(CLIENTS)))
                for one in part]  # fmt: skip
    return time.perf_counter() - started, Counter(s for s, _ in seen), [t for _, t in seen]


def signed(kind: str, secret: str, **data: Any) -> list[tuple[bytes, str]]:
    made = []
    for number in range(EVENTS):
        body = json.dumps(event(kind, {"id": f"asset{number}", **data})).encode()
        made.append((body, signature(secret, body)))
    return made


def test_webhooks_a_second_on_one_core(
    mux: MuxWorld, operator_env: dict[str, str], tmp_path: Path
) -> None:
    with gateway(mux, operator_env, tmp_path / "gateway.log") as base:
        url = mux.webhook_url.replace(mux.gateway, base)

        def answers() -> bool:
            try:
                return storm(url, signed("other", WEBHOOK_SECRET)[:1])[1][200] == 1
            except OSError:
                return False

        eventually(answers)
        for what, kind, secret, status, share in (
            ("acknowledged", "video.asset.created", WEBHOOK_SECRET, 200, 1),
            ("with bad signatures", "video.asset.deleted", "wrong", 401, 1),
            ("deletions of what is not indexed", "video.asset.deleted", WEBHOOK_SECRET, 200, 10),
        ):
            told = signed(kind, secret)[: EVENTS // share]
            seconds, statuses, times = storm(url, told)
            assert statuses == {status: len(told)}, statuses
            times.sort()
            tell(
                f"webhooks {what}, gateway on one core, {CLIENTS} clients beside it",
                a_second=len(told) / seconds,
                median=f"{times[len(times) // 2] * 1000:.1f} ms",
                slowest_of_100=f"{times[-max(len(times) // 100, 1)] * 1000:.1f} ms",
            )
