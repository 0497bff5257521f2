"""The entry point of every worker process and Job.

    python -m telecine.execution.worker sync    --namespace NS --sync NAME --run ID.ATTEMPT
    python -m telecine.execution.worker extract --namespace NS --sync NAME --run ID.ATTEMPT \
        --chunks 6 --width 2 --part 0

Everything else (specs, Secrets) is read from the API server when it is used, so that nothing
secret is in a command line, a Job or the environment. Exit code 0: done or told in the status;
2: the run is another worker's; 1: anything else, and the controller starts the run again.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import httpx2
import structlog
from lightkube import ApiError, Client

from telecine.api.base import APPROVE_UNINDEX
from telecine.api.sync import ShardProgress, SyncStatus
from telecine.execution.handlers import with_handlers
from telecine.execution.kube import Sync, load_client
from telecine.execution.lease import HeldLease, bucket_lease, sync_lease, waiting_for
from telecine.execution.logs import configure_logging
from telecine.execution.report import StatusReporter
from telecine.execution.resolve import MissingReferenceError, ResolvedSync, resolve_sync
from telecine.extractors.base import ExtractionError
from telecine.extractors.models import ModelUnavailableError
from telecine.index.client import IndexSchemaError, IndexUnavailableError, open_index
from telecine.index.index import Index
from telecine.providers.base import ProviderError
from telecine.providers.registry import create
from telecine.settings import Settings, load_settings
from telecine.workers.extract import run_extract
from telecine.workers.protocol import FuseTrippedError, Job, Limits, RunLostError
from telecine.workers.sync import run_sync
from telecine.workers.toolset import Toolset

log = structlog.get_logger(__name__)


def make_job(resolved: ResolvedSync, index: Index, settings: Settings, run: str) -> Job:
    """Everything a worker needs, from the resources as they are now."""
    limits = Limits(
        scratch=settings.scratch_dir,
        asset_attempts=settings.asset_attempts,
        asset_retry_seconds=settings.asset_retry_seconds,
        max_asset_bytes=settings.max_asset_bytes,
        scratch_bytes=settings.scratch_bytes,
    )
    return Job(
        kube_namespace=resolved.kube_namespace,
        sync_name=resolved.name,
        sync=resolved.sync,
        bucket_name=resolved.bucket_name,
        bucket=resolved.bucket,
        connection_name=resolved.connection_name,
        namespace_name=resolved.namespace_name,
        tenant=resolved.tenant,
        owner=resolved.owner,
        recipes=resolved.recipes,
        run=run,
        provider=create(
            resolved.connection, resolved.secret, allow_private=settings.allow_private_endpoints
        ),
        index=index,
        limits=limits,
        approved_digest=resolved.annotations.get(APPROVE_UNINDEX),
    )


def work(arguments: argparse.Namespace, client: Client, settings: Settings) -> int:
    """Runs one step under the run's Lease and tells its outcome in the Sync's status."""
    ns, sync, run = arguments.namespace, arguments.sync, arguments.run
    part = arguments.part if arguments.step == "extract" else None
    lease = HeldLease(client, sync_lease(sync), ns, run, settings.lease_seconds)
    try:
        with lease:
            reporter = StatusReporter(client, ns, sync, run, lease, part)
            _report_failures(reporter, lambda: _step(arguments, client, settings, lease, reporter))
    except RunLostError as error:
        log.warning("the run is another worker's", sync=sync, run=run, why=str(error))
        return 2
    return 0


def _step(
    arguments: argparse.Namespace,
    client: Client,
    settings: Settings,
    lease: HeldLease,
    reporter: StatusReporter,
) -> None:
    ns, run = arguments.namespace, arguments.run
    resolved = resolve_sync(client, ns, arguments.sync, settings)
    with ExitStack() as stack:
        index = stack.enter_context(open_index(resolved.weaviate))
        job = make_job(resolved, index, settings, run)
        before = _reported(client, ns, arguments)
        reporter.count(job.provider.calls, before)

        @contextmanager
        def lock() -> Iterator[None]:
            with waiting_for(
                client,
                bucket_lease(job.bucket_name),
                ns,
                job.run_key,
                settings.lease_seconds,
                check=lease.check,
            ):
                yield

        if arguments.step == "sync":
            summary = run_sync(job, lease, reporter, lock)
            log.info("planned and applied", sync=arguments.sync, run=run, **summary.dump())
        else:
            chunks = range(arguments.part, arguments.chunks, arguments.width)
            tools = with_handlers(Toolset(), resolved, client, settings)
            toolset = stack.enter_context(tools)
            progress = run_extract(job, chunks, lease, reporter, toolset, before)
            log.info("extracted", sync=arguments.sync, run=run, **progress.dump())


def _reported(
    client: Client, namespace: str, arguments: argparse.Namespace
) -> ShardProgress | None:
    """What the status has of a part: zeros, unless a Pod before this one died at it."""
    body = dict(client.get(Sync, arguments.sync, namespace=namespace))
    run = SyncStatus.model_validate(body.get("status") or {}).run
    if run is None:
        return None
    if arguments.step == "sync":
        return ShardProgress(calls=run.calls)
    return run.shards.get(str(arguments.part))


def _report_failures(reporter: StatusReporter, step: Callable[[], None]) -> None:
    try:
        step()
    except FuseTrippedError as error:
        reporter.failed("DeleteLimitExceeded", str(error), permanent=False, plan=error.summary)
    except ProviderError as error:
        reporter.failed(error.reason, str(error), permanent=error.permanent)
    except ModelUnavailableError as error:
        reporter.failed(error.reason, str(error), permanent=False)
    except ExtractionError as error:
        reporter.failed(error.reason, str(error), permanent=error.permanent)
    except IndexSchemaError as error:
        reporter.failed("IndexSchemaMismatch", str(error), permanent=True)
    except IndexUnavailableError as error:
        reporter.failed("IndexUnavailable", str(error), permanent=False)
    except MissingReferenceError as error:
        reporter.failed("ReferenceNotFound", str(error), permanent=False)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="telecine.execution.worker")
    steps = parser.add_subparsers(dest="step", required=True)
    for name in ("sync", "extract"):
        step = steps.add_parser(name)
        step.add_argument("--namespace", required=True)
        step.add_argument("--sync", required=True)
        step.add_argument("--run", required=True, help="run id and attempt, as 7.1")
        if name == "extract":
            # An Indexed Job gives each Pod its index in this variable.
            index = os.environ.get("JOB_COMPLETION_INDEX", "0")
            step.add_argument("--chunks", type=int, required=True, help="of the whole run")
            step.add_argument("--width", type=int, required=True, help="parts in which it is done")
            step.add_argument("--part", type=int, default=int(index), help="which of them this is")
    return parser.parse_args(arguments)


def _end(number: int, frame: object) -> None:
    """SIGTERM: as the first process of a container it would go unnoticed otherwise."""
    os._exit(128 + number)


def main() -> None:
    signal.signal(signal.SIGTERM, _end)
    configure_logging()
    arguments = parse(sys.argv[1:])
    settings = load_settings()
    structlog.contextvars.bind_contextvars(sync=arguments.sync, run=arguments.run)
    try:
        with load_client() as client:
            code = work(arguments, client, settings)
    except (ApiError, httpx2.HTTPError):
        log.exception("the API server failed")
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
