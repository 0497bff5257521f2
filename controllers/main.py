"""The operator: kopf's watches as informers, a queue, and threads that reconcile.

python -m telecine.controllers.main
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import httpx2
import kopf
import structlog
from lightkube import ApiError, Client
from telecine.api.base import GROUP, VERSION
from telecine.api.kinds import KINDS
from telecine.execution.executor import Executor
from telecine.execution.kube import RESOURCES, load_client
from telecine.execution.kubernetes import KubernetesExecutor
from telecine.execution.logs import configure_logging
from telecine.execution.metrics import MetricsServer
from telecine.execution.pool import IndexPool
from telecine.execution.process import ProcessExecutor
from telecine.execution.steps import ProcessSteps
from telecine.settings import Settings, cache_dir, load_settings

from . import bucket, connection, namespace, pipeline, runs, sync
from .calls import RunCalls
from .claims import Claims
from .context import Context, Demands
from .dispatch import Dispatcher
from .metrics import OperatorCollector
from .queue import FRESH, ROUTINE, Priority, WorkQueue, run_workers
from .status import Writer
from .store import Body, Change, Key, Store, key_of
from .wake import wake, wake_for_secret

log = structlog.get_logger(__name__)

CONTROLLERS = [module.CONTROLLER for module in (namespace, connection, bucket, sync, pipeline)]
RELIST_SECONDS = 600.0
COUNT_SECONDS = 300.0
_PAGE = 500
_RESTART_SECONDS = 5.0
_END_SECONDS = 15.0
"""How long a reconcile in progress may go on after SIGTERM."""


class Operator:
    """Everything that runs, from its start to its end."""

    def __init__(self, settings: Settings, client: Client | None = None) -> None:
        self.settings = settings
        client = client or load_client()
        store = Store(settings.tenant_prefix)
        queue: WorkQueue[Key] = WorkQueue(
            base=settings.retry_base_seconds, cap=settings.retry_cap_seconds
        )

        def changed(change: Change) -> None:
            wake(store, queue, change, own=True)

        self._context = threading.Event()
        self.ctx = Context(
            client=client,
            store=store,
            queue=queue,
            settings=settings,
            writer=Writer(client, store, changed),
            pool=IndexPool(),
            executor=self._executor(client),
            demands=Demands(COUNT_SECONDS),
            stop_runs=runs.stop,
            claims=Claims(store),
            calls=RunCalls(store),
        )
        self._context.set()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def fill(self) -> None:
        """Fills the store before anything is reconciled, so that nothing that is there is taken
        for missing; waits for the API server and the CRDs as long as it takes."""
        started, said = time.monotonic(), ""
        while not self._stopping.is_set():
            try:
                for kind in KINDS:
                    for body in self._list(kind.kind):
                        self.ctx.store.put(kind.kind, body)
                break
            except (ApiError, httpx2.HTTPError) as error:
                if str(error) != said:
                    log.warning("the resources cannot be listed (yet)", error=str(error))
                said = str(error)
                self._stopping.wait(1.0)
        found = self.ctx.store.keys()
        for key in found:
            self.ctx.queue.add(key, 0.0, first_priority(self.ctx.store.get(key)))
        seconds = round(time.monotonic() - started, 2)
        log.info("all resources are seen", resources=len(self.ctx.store), seconds=seconds)

    def start(self) -> None:
        """Fills the store, then starts the threads."""
        self.fill()
        dispatcher = Dispatcher(self.ctx, CONTROLLERS)
        self._threads = run_workers(self.ctx.queue, dispatcher, self.settings.reconcilers)
        relist = threading.Thread(target=self._relist_now_and_then, name="relist", daemon=True)
        relist.start()
        self._threads.append(relist)

    def stop(self) -> None:
        """Ends the threads. Workers go on, and the next operator adopts them."""
        self._stopping.set()
        self.ctx.queue.close()
        until = time.monotonic() + _END_SECONDS
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))
        self.ctx.pool.close()

    def alive(self) -> bool:
        """Whether every thread still runs."""
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    def saw(self, kind: str, event: str | None, body: Body) -> None:
        """An informer's news: a resource is there, changed, or gone."""
        if event == "DELETED":
            version = int(body["metadata"]["resourceVersion"])
            change = self.ctx.store.remove(key_of(body, kind), version)
        else:
            change = self.ctx.store.put(kind, body)
        if change is not None:
            wake(self.ctx.store, self.ctx.queue, change)

    def saw_secret(self, body: Body) -> None:
        """A Secret came, changed or went; nothing of it is kept."""
        metadata = body["metadata"]
        wake_for_secret(
            self.ctx.store,
            self.ctx.queue,
            metadata["namespace"],
            metadata["name"],
            self.settings.weaviate_secret,
        )

    def relist(self) -> None:
        """Compares with the API server: a watch can lose an event, a deletion above all.

        Raises:
            ApiError, httpx2.HTTPError: it cannot be reached; nothing was concluded.
        """
        ctx = self.ctx
        for kind in KINDS:
            known = {key: ctx.store.version(key) for key in ctx.store.keys(kind.kind)}
            there: set[Key] = set()
            for body in self._list(kind.kind):
                key = key_of(body, kind.kind)
                there.add(key)
                self.saw(kind.kind, None, body)
                ctx.queue.add(key, 0.0, ROUTINE)
            for key, version in known.items():
                if key not in there and ctx.store.version(key) == version:
                    change = ctx.store.remove(key)
                    if change is not None:
                        wake(ctx.store, ctx.queue, change)
        ctx.executor.sweep(lambda ns, sync: ctx.store.get(Key("Sync", ns, sync)) is not None)

    def _executor(self, client: Client) -> Executor:
        settings = self.settings
        if settings.executor == "kubernetes":
            return KubernetesExecutor(client, settings)
        state = settings.state_dir or cache_dir() / "operator"
        return ProcessSteps(
            ProcessExecutor(state, self._exited, settings.max_workers, scratch=settings.scratch_dir)
        )

    def _list(self, kind: str) -> Iterator[Body]:
        where = self.settings.kube_namespace or "*"
        found = self.ctx.client.list(RESOURCES[kind], namespace=where, chunk_size=_PAGE)
        return (dict(body) for body in found)

    def _relist_now_and_then(self) -> None:
        while not self._stopping.wait(RELIST_SECONDS):
            try:
                self.relist()
            except (ApiError, httpx2.HTTPError) as error:
                log.warning("the resources cannot be listed", error=str(error))

    def _exited(self, worker: str, code: int | None) -> None:
        """A worker ended: its Sync looks, and all that wait for a free one."""
        self._context.wait()
        kube_namespace, _, rest = worker.partition(".")
        name = rest.rsplit(".", 3)[0]
        self.ctx.queue.add(Key("Sync", kube_namespace, name), 0.0, FRESH)
        for key in self.ctx.demands.take_starved():
            self.ctx.queue.add(key, 0.0, FRESH)


def first_priority(body: Body | None) -> Priority:
    """At the start, what is new or being deleted goes before what was looked at already."""
    if body is None:
        return ROUTINE
    metadata, status = body["metadata"], body.get("status") or {}
    settled = status.get("observedGeneration") == metadata.get("generation")
    return ROUTINE if settled and not metadata.get("deletionTimestamp") else FRESH


def _in_cluster(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """As the Pod's account, at the address that Kubernetes gives to each container.

    kopf would ask the cluster's DNS, and the operator would be deaf whenever that is down.
    """
    found = kopf.login_with_service_account(**kwargs)
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}") for part in ("HOST", "PORT"))
    if found is None or not host:
        return found
    host = f"[{host}]" if ":" in host else host
    return replace(found, server=f"https://{host}:{port or 443}")


def watch_registry(operator: Operator) -> kopf.OperatorRegistry:
    """kopf's part: it watches the kinds and Secrets, and hands over what it sees."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return _in_cluster(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    for kind in KINDS:

        async def saw(event: Any, kind: str = kind.kind, **_: Any) -> None:
            operator.saw(kind, event["type"], event["object"])

        kopf.on.event(GROUP, VERSION, kind.plural, registry=registry, id=kind.plural)(saw)

    @kopf.on.event("", "v1", "secrets", registry=registry)
    async def saw_secret(event: Any, **_: Any) -> None:
        operator.saw_secret(event["object"])

    @kopf.on.probe(registry=registry, errors=kopf.ErrorsMode.PERMANENT)
    async def threads(**_: Any) -> str:
        if not operator.alive():
            raise kopf.PermanentError("a thread of the operator has ended")
        return "alive"

    return registry


def watch_settings(settings: Settings) -> kopf.OperatorSettings:
    """kopf as an informer only: it writes nothing into the cluster."""
    made = kopf.OperatorSettings()
    made.posting.enabled = False
    made.scanning.disabled = settings.kube_namespace is not None
    made.networking.request_timeout = 60.0
    made.watching.server_timeout = 300
    made.watching.connect_timeout = 10.0
    made.watching.inactivity_timeout = 90.0
    made.watching.chunk_size = _PAGE
    made.queueing.idle_timeout = 0.5
    made.queueing.exit_timeout = 0.5
    made.process.ultimate_exiting_timeout = 60.0
    return made


async def watch(operator: Operator, stop: threading.Event | None) -> None:
    """Watches until SIGTERM, SIGINT or `stop`; a watch that breaks for good begins anew."""
    settings, port = operator.settings, operator.settings.health_port
    stopped = asyncio.Event()
    # kopf would wait for a threading.Event in a thread that nothing but the event could end.
    poll = asyncio.create_task(_hand_over(stop, stopped)) if stop else None
    while not stopped.is_set():
        try:
            await kopf.operator(
                registry=watch_registry(operator),
                settings=watch_settings(settings),
                standalone=True,
                # kopf would ask for the user's name, and a container's user has none.
                identity=cast(Any, f"telecine@{socket.gethostname()}"),
                clusterwide=settings.kube_namespace is None,
                namespaces=[settings.kube_namespace] if settings.kube_namespace else [],
                liveness_endpoint=f"http://0.0.0.0:{port}/healthz" if port else None,
                # A flag that is never raised would hold up the end for five seconds.
                stop_flag=stopped if stop else None,
            )
        except Exception:
            log.exception("the watches broke; they begin anew")
            await asyncio.sleep(_RESTART_SECONDS)
        else:
            break
    if poll is not None:
        poll.cancel()


async def _hand_over(stop: threading.Event, stopped: asyncio.Event) -> None:
    while not stop.is_set():
        await asyncio.sleep(0.2)
    stopped.set()


def run(settings: Settings, stop: threading.Event | None = None) -> None:
    """Runs the operator until SIGTERM, SIGINT or `stop`."""
    operator = Operator(settings)
    log.info("the operator starts", namespace=settings.kube_namespace or "all")
    operator.start()
    collector = OperatorCollector(operator.ctx.store, operator.ctx.queue)
    try:
        with (
            MetricsServer(settings.metrics_port, collector, operator.ctx.calls.counters),
            contextlib.suppress(asyncio.CancelledError),
        ):
            asyncio.run(watch(operator, stop))
    finally:
        operator.stop()
    log.info("the operator ended")


def main() -> None:
    """The entry point of the container and of `telecine operator`."""
    configure_logging()
    run(load_settings())


if __name__ == "__main__":
    main()
