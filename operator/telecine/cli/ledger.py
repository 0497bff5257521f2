"""`telecine objects`, `explain` and `requeue`: the ledger, for people."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from telecine.api.base import REQUESTED_AT
from telecine.cli.common import (
    BucketOption,
    Cluster,
    KubeNamespaceOption,
    NamespaceOption,
    Output,
    OutputOption,
    err,
    explain_errors,
    fail,
    human_bytes,
    out,
    print_json,
    printable,
    table,
)
from telecine.execution.kube import annotate
from telecine.execution.resolve import ResolvedNamespace, list_all, resolve_sync
from telecine.execution.worker import make_job
from telecine.index.index import Index
from telecine.index.ledger import Ledger
from telecine.planning.diff import decide
from telecine.planning.identity import object_id
from telecine.planning.types import Action, Asset, Decision, ObjectRecord, ObjectState
from telecine.providers.base import ProviderError
from telecine.workers.planner import rules_of


@contextmanager
def opened(
    cluster: Cluster, namespace: str | None, bucket: str | None = None
) -> Iterator[tuple[ResolvedNamespace, Index, Ledger]]:
    resolved = cluster.namespace(namespace)
    cluster.require_bucket(resolved.name, bucket)
    with cluster.index(resolved) as index:
        yield resolved, index, index.ledger(resolved.tenant)


@explain_errors
def objects(
    namespace: NamespaceOption = None,
    bucket: BucketOption = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only what failed, with reasons.")
    ] = False,
    state: Annotated[ObjectState | None, typer.Option(help="PENDING, COMPLETED or FAILED")] = None,
    sync: Annotated[str | None, typer.Option(help="Only what this Sync selects.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 100,
    kube_namespace: KubeNamespaceOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Lists the objects of a Namespace as the ledger has them."""
    cluster = Cluster(kube_namespace)
    wanted = ObjectState.FAILED if failed else state
    with opened(cluster, namespace, bucket) as (_, _, ledger):
        found = list(
            ledger.find(
                kube_namespace=cluster.kube_namespace,
                bucket=bucket,
                sync=sync,
                state=wanted,
                limit=limit + 1,
            )
        )
    more, found = len(found) > limit, found[:limit]
    if output is Output.JSON:
        print_json([record_json(record) for record in found])
        return
    if failed:
        table(
            ["object", "bucket", "reason", "attempts", "next try", "message"],
            [[r.path, r.bucket, r.reason, r.attempts, next_try(r), r.message] for r in found],
        )
    else:
        table(
            ["object", "bucket", "state", "size", "documents", "syncs"],
            [
                [
                    r.path,
                    r.bucket,
                    state_of(r),
                    human_bytes(r.size),
                    r.documents,
                    ", ".join(r.syncs),
                ]
                for r in found
            ],
            right=["size", "documents"],
        )
    if more:
        err.print(f"there are more: --limit {limit * 10}")


def state_of(record: ObjectRecord) -> str:
    return "DEAD LETTER" if record.dead_letter else record.state.value


def next_try(record: ObjectRecord) -> str:
    if record.dead_letter:
        return "at rest"
    wait = record.retry_at - time.time()
    return "next run" if wait <= 0 else f"in {wait:.0f} s"


def record_json(record: ObjectRecord) -> dict[str, Any]:
    """A row of the ledger in the seeds' spelling, times as ISO 8601."""

    def iso(seconds: float) -> str | None:
        return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else None

    return {
        "object_id": str(record.id),
        "bucket": record.bucket,
        "connection": record.connection,
        "asset_id": record.asset_id,
        "path": record.path,
        "size": record.size,
        "mime_type": record.mime_type,
        "state": record.state.value,
        "reason": record.reason or None,
        "message": record.message or None,
        "attempts": record.attempts,
        "dead_letter": record.dead_letter,
        "retry_at": iso(record.retry_at),
        "first_seen": iso(record.first_seen),
        "failed_at": iso(record.failed_at),
        "extracted_at": iso(record.extracted_at),
        "documents": record.documents,
        "recipes": record.recipes,
        "content_sha256": record.content_hash or None,
        "fingerprint": record.fingerprint,
        "syncs": record.syncs,
        "fields": record.fields,
        "source_metadata": record.source_metadata,
    }


@explain_errors
def explain(
    asset: Annotated[str, typer.Argument(help="The asset's path, key or object id.")],
    namespace: NamespaceOption = None,
    bucket: BucketOption = None,
    kube_namespace: KubeNamespaceOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tells which filter, rule or error decided about one asset, in each of its Syncs."""
    cluster = Cluster(kube_namespace)
    with opened(cluster, namespace, bucket) as (resolved, index, ledger):
        answers = [
            explanation(cluster, sync, asset, index, ledger)
            for sync in syncs_of(cluster, resolved.name, bucket)
        ]
    if not answers:
        fail(f"no Sync feeds Namespace {resolved.name}")
    if output is Output.JSON:
        print_json(answers)
        return
    for answer in answers:
        out.print(f"[bold]sync/{answer['sync']}[/] → bucket {answer['bucket']}")
        for key in ("found", "decision", "reason", "detail", "means"):
            if answer.get(key) not in (None, ""):
                out.print(f"  {key:<9}{printable(str(answer[key]))}")
        record = answer.get("object")
        if record:
            out.print(
                f"  object   {record['object_id']} {record['state']}, "
                f"{record['documents']} documents"
            )
            if record["reason"]:
                out.print(f"  error    {record['reason']}: {printable(record['message'] or '')}")


def syncs_of(cluster: Cluster, namespace: str, bucket: str | None) -> list[str]:
    buckets = cluster.buckets(namespace)
    return sorted(
        s["metadata"]["name"]
        for s in list_all(cluster.client, "Sync", cluster.kube_namespace)
        if s["spec"]["bucketRef"]["name"] in (buckets if bucket is None else {bucket})
    )


def explanation(
    cluster: Cluster, sync: str, wanted: str, index: Index, ledger: Ledger
) -> dict[str, Any]:
    resolved = resolve_sync(cluster.client, cluster.kube_namespace, sync, cluster.settings)
    job = make_job(resolved, index, cluster.settings, "explain.0")
    answer: dict[str, Any] = {"sync": sync, "bucket": job.bucket_name, "asset": wanted}
    with err.status(f"listing the source of {sync}"):
        found = look_up(job.provider.list(job.sync.source_path), wanted, job)
    key = object_id(
        job.kube_namespace, job.bucket_name, job.connection_name, found.id if found else wanted
    )
    record = ledger.get([key]).get(key)
    if record is not None:
        answer["object"] = record_json(record)
    if found is None:
        answer["found"] = f"not in the source below {job.sync.source_path or '/'}"
    else:
        answer["found"] = f"{found.id}, {human_bytes(found.size)}"
    decision = settle(found, record, key, job)
    if decision is None:
        return answer | {"decision": "none", "means": "neither in the source nor in the index"}
    return answer | {
        "decision": decision.action.value,
        "reason": decision.reason,
        "detail": decision.detail,
        "means": MEANINGS[decision.action],
    }


MEANINGS = {
    Action.ADD: "the next run extracts it",
    Action.CHANGE: "the next run brings it up to date",
    Action.RETRY: "the next run extracts it (again)",
    Action.KEEP: "it is as it should be",
    Action.ADOPT: "it is indexed already; the next run notes that this Sync selects it too",
    Action.UNINDEX: "the next run takes it out of the index, if no other Sync selects it",
    Action.DRIFTED: "it no longer matches and stays: reconcileOnSync is off",
    Action.DEAD: "it failed for good; telecine requeue tries it again",
    Action.DEFERRED: "a later run extracts it",
    Action.SKIP: "this Sync does not select it",
    Action.DESCRIBE: "the provider must tell more",
}


def look_up(pages: Iterator[list[Asset]], wanted: str, job: Any) -> Asset | None:
    for page in pages:
        for asset in page:
            if wanted in (asset.id, asset.path):
                return asset
            if len(wanted) == 36 and wanted == str(
                object_id(job.kube_namespace, job.bucket_name, job.connection_name, asset.id)
            ):
                return asset
    return None


def settle(found: Asset | None, record: ObjectRecord | None, key: Any, job: Any) -> Decision | None:
    """The plan's decision for one asset, the provider asked where the listing says too little."""
    if found is None and record is None:
        return None
    rules = rules_of(job)
    decision = decide(found, record, key, rules)
    if decision is not None and decision.action is Action.DESCRIBE and found is not None:
        try:
            found = job.provider.describe(found, rules.described_fields)
        except ProviderError as error:
            if not error.asset_only:
                raise
            found = found._replace(unavailable=str(error), complete=True)
        decision = decide(found, record, key, rules)
    return decision


@explain_errors
def requeue(
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Paths, keys or object ids; absent: every dead letter."),
    ] = None,
    namespace: NamespaceOption = None,
    bucket: BucketOption = None,
    kube_namespace: KubeNamespaceOption = None,
) -> None:
    """Lets failed objects be tried again at once, and asks their Syncs for a run."""
    cluster = Cluster(kube_namespace)
    wanted = set(paths or ())
    with opened(cluster, namespace, bucket) as (_, _, ledger):
        rows = ledger.find(
            kube_namespace=cluster.kube_namespace, bucket=bucket, state=ObjectState.FAILED
        )
        found = [r for r in rows if not wanted or wanted & {r.path, r.asset_id, str(r.id)}]
        ledger.patch({r.id: {"dead_letter": False, "retry_at": 0.0, "attempts": 0} for r in found})
    missing = wanted - {x for r in found for x in (r.path, r.asset_id, str(r.id))}
    now = datetime.now(UTC).isoformat()
    syncs = sorted({name for r in found for name in r.syncs})
    for sync in syncs:
        annotate(cluster.client, "Sync", cluster.kube_namespace, sync, {REQUESTED_AT: now})
    asked = ", ".join(f"sync/{name}" for name in syncs) or "no Sync"
    out.print(f"requeued {len(found)} objects; asked for a run of {asked}")
    if missing:
        fail("not among the failed objects: " + ", ".join(sorted(missing)))
