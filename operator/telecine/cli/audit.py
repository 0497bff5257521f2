"""`telecine audit`: reads the index back and compares it with ledger and source."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer

from telecine.api.base import REQUESTED_AT
from telecine.cli.common import (
    Cluster,
    KubeNamespaceOption,
    NamespaceOption,
    Output,
    OutputOption,
    err,
    explain_errors,
    fail,
    out,
    print_json,
    table,
)
from telecine.cli.ledger import opened, syncs_of
from telecine.execution.kube import RESOURCES, annotate
from telecine.execution.resolve import resolve_sync
from telecine.execution.worker import make_job
from telecine.index.documents import Documents
from telecine.index.index import Index
from telecine.index.ledger import Ledger
from telecine.planning.types import ObjectRecord, ObjectState
from telecine.workers.planner import make_plan, stream_listing
from telecine.workers.spool import Spool

_SHOWN = 20


@dataclass
class Findings:
    """What does not fit together, by kind; ids of objects."""

    objects: int = 0
    documents: int = 0
    orphans: Counter[UUID] = field(default_factory=Counter)
    """Documents whose object is not in the ledger."""
    owners: dict[str, list[UUID]] = field(default_factory=dict)
    """The objects of the orphans by the mark that their documents carry."""
    stale: dict[UUID, ObjectRecord] = field(default_factory=dict)
    """Documents of a content that is not the object's present one."""
    incomplete: dict[UUID, ObjectRecord] = field(default_factory=dict)
    """Objects said to be COMPLETED with more or fewer documents than the index has."""
    abandoned: dict[UUID, ObjectRecord] = field(default_factory=dict)
    """Objects whose Bucket is gone."""

    @property
    def problems(self) -> int:
        return len(self.orphans) + len(self.stale) + len(self.incomplete) + len(self.abandoned)


@explain_errors
def audit(
    namespace: NamespaceOption = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Remove what is orphaned, extract again what is not whole."),
    ] = False,
    source: Annotated[
        bool, typer.Option("--source/--no-source", help="Compare with the sources as well.")
    ] = True,
    kube_namespace: KubeNamespaceOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compares documents, ledger and sources.

    Exit code 0: all fits; 2: it does not; 1: an error.
    """
    cluster = Cluster(kube_namespace)
    with opened(cluster, namespace) as (resolved, index, ledger):
        if repair:
            require_idle(cluster, resolved.name)
        collections = index.document_collections()
        with err.status("reading the index back"):
            findings = compare(cluster, resolved.name, index, ledger, resolved.tenant)
        sources = compare_sources(cluster, resolved.name, index) if source else []
        repaired: list[str] = []
        if repair and findings.problems:
            repaired = mend(cluster, index, ledger, resolved.tenant, collections, findings)
    pending = any(entry["changes"] for entry in sources)
    if output is Output.JSON:
        print_json(as_json(findings, sources, repaired))
    else:
        show(findings, sources, repaired)
    raise typer.Exit(2 if (findings.problems and not repair) or pending else 0)


def require_idle(cluster: Cluster, namespace: str) -> None:
    """Ends the command when a run is in progress: its half-made work is not to be mended."""
    for name in syncs_of(cluster, namespace, None):
        body = cluster.client.get(RESOURCES["Sync"], name, namespace=cluster.kube_namespace)
        run = (body.get("status") or {}).get("run")
        if run and not run.get("finishedAt"):
            fail(f"sync/{name} is running; repair when it has ended: telecine status --until-idle")


def compare(
    cluster: Cluster, namespace: str, index: Index, ledger: Ledger, tenant: str
) -> Findings:
    """Reads every row and every document's ids once, and what looks wrong a second time.

    The second look leaves out what a run changed in between.
    """
    findings, buckets = Findings(), cluster.buckets(namespace)
    rows = {r.id: r for r in ledger.scan_all() if r.kube_namespace == cluster.kube_namespace}
    findings.objects = len(rows)
    counts: Counter[UUID] = Counter()
    stores = [index.documents(tenant, name) for name in index.document_collections()]
    for store in stores:
        for _, object_id, content_hash in store.scan():
            findings.documents += 1
            row = rows.get(object_id)
            if row is None:
                findings.orphans[object_id] += 1
            elif row.state is ObjectState.COMPLETED and content_hash != row.content_hash:
                findings.stale[object_id] = row
            else:
                counts[object_id] += 1
    for record in rows.values():
        if record.bucket not in buckets:
            if record.owner == cluster.owner(record.bucket):
                findings.abandoned[record.id] = record
        elif record.state is ObjectState.COMPLETED and counts[record.id] != record.documents:
            findings.incomplete[record.id] = record
    _look_again(cluster, ledger, stores, findings)
    return findings


def _look_again(
    cluster: Cluster, ledger: Ledger, stores: list[Documents], findings: Findings
) -> None:
    known = ledger.get([*findings.orphans])
    for found in (findings.stale, findings.incomplete, findings.abandoned):
        now = ledger.get([*found])
        for key in [key for key, row in found.items() if now.get(key) != row]:
            del found[key]
    unknown = [key for key in findings.orphans if key not in known]
    findings.orphans.clear()
    for store in stores:
        for key, kube_namespace, bucket, owner in store.lineage(unknown):
            # Others may keep documents in the same tenant: only our own are ours to judge.
            if kube_namespace == cluster.kube_namespace and owner == cluster.owner(bucket):
                findings.orphans[key] += 1
                findings.owners.setdefault(owner, []).append(key)


def compare_sources(cluster: Cluster, namespace: str, index: Index) -> list[dict[str, Any]]:
    """What each Sync's next run would do, had it begun now."""
    found = []
    for sync in syncs_of(cluster, namespace, None):
        resolved = resolve_sync(cluster.client, cluster.kube_namespace, sync, cluster.settings)
        job = make_job(resolved, index, cluster.settings, "audit.0")
        with (
            err.status(f"listing the source of {sync}"),
            Spool(cluster.settings.scratch_dir) as spool,
        ):
            stream_listing(job, spool, lambda _: None)
            summary = make_plan(job, spool).summary
        changes = summary.add + summary.change + summary.retry + summary.adopt + summary.unindex
        found.append({"sync": sync, "changes": changes, **summary.dump()})
    return found


def mend(
    cluster: Cluster,
    index: Index,
    ledger: Ledger,
    tenant: str,
    collections: list[str],
    findings: Findings,
) -> list[str]:
    """Removes orphans and marks what is not whole to be extracted anew; tells what was done."""
    done = []
    stores = [index.documents(tenant, name) for name in collections]
    gone = {owner: list(dict.fromkeys(ids)) for owner, ids in findings.owners.items()}
    for record in findings.abandoned.values():
        gone.setdefault(record.owner, []).append(record.id)
    if gone:
        removed = sum(
            store.delete_objects(ids, owner=owner)
            for store in stores
            for owner, ids in gone.items()
        )
        done.append(f"removed {removed} documents without an object or Bucket")
    if findings.abandoned:
        removed = sum(ledger.delete([r.id], owner=r.owner) for r in findings.abandoned.values())
        done.append(f"removed {removed} objects of Buckets that are gone")
    again = findings.incomplete | findings.stale
    if again:
        ledger.patch(
            {
                key: {
                    "state": ObjectState.PENDING, "content_hash": "", "recipes": [],
                    "replace": True, "chunk": -1, "run": "audit",
                }
                for key in again
            }
        )  # fmt: skip
        done.append(f"{len(again)} objects are extracted anew by the next run")
    now = datetime.now(UTC).isoformat()
    for sync in sorted({s for r in again.values() for s in r.syncs}):
        annotate(cluster.client, "Sync", cluster.kube_namespace, sync, {REQUESTED_AT: now})
        done.append(f"asked for a run of sync/{sync}")
    return done


def as_json(
    findings: Findings, sources: list[dict[str, Any]], repaired: list[str]
) -> dict[str, Any]:
    return {
        "objects": findings.objects,
        "documents": findings.documents,
        "orphaned_documents": {str(k): v for k, v in findings.orphans.items()},
        "stale_objects": {str(k): r.path for k, r in findings.stale.items()},
        "incomplete_objects": {str(k): r.path for k, r in findings.incomplete.items()},
        "abandoned_objects": {str(k): r.path for k, r in findings.abandoned.items()},
        "sources": sources,
        "repaired": repaired,
    }


def show(findings: Findings, sources: list[dict[str, Any]], repaired: list[str]) -> None:
    out.print(f"{findings.objects} objects, {findings.documents} documents read back")
    rows: list[list[Any]] = []
    for what, ids in (
        ("documents without an object", findings.orphans),
        ("objects with documents of an old content", findings.stale),
        ("objects with documents missing or too many", findings.incomplete),
        ("objects of a Bucket that is gone", findings.abandoned),
    ):
        names = [getattr(v, "path", str(k)) for k, v in list(ids.items())[:_SHOWN]]
        rows.append([what, len(ids), ", ".join(names)])
    table(["check", "found", "objects"], rows, right=["found"])
    for entry in sources:
        parts = ("add", "change", "retry", "unindex", "drifted", "dead")
        facts = ", ".join(
            f"{entry[p]} to {p}" if p in parts[:4] else f"{entry[p]} {p}" for p in parts
        )
        out.print(f"sync/{entry['sync']} against its source: {facts}")
    for line in repaired:
        out.print(f"[green]repaired:[/] {line}")
    if findings.problems and not repaired:
        out.print("telecine audit --repair mends this")
