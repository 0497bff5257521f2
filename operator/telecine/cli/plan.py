"""`telecine plan`: what a run would do, before it does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from telecine.cli.common import (
    Cluster,
    KubeNamespaceOption,
    Markup,
    Output,
    OutputOption,
    err,
    explain_errors,
    fail,
    human_bytes,
    out,
    print_json,
    printable,
    resource_of,
    table,
)
from telecine.cli.manifests import Manifests
from telecine.execution.resolve import ResolvedSync, list_all, resolve_sync
from telecine.execution.worker import make_job
from telecine.index.client import IndexUnavailableError, open_index
from telecine.index.index import Index
from telecine.planning.summary import fuse_trips
from telecine.planning.types import Action, Decision
from telecine.settings import Settings
from telecine.workers.planner import NOTABLE, Plan, make_plan, stream_listing
from telecine.workers.spool import Spool

#: Exit codes, as `terraform plan -detailed-exitcode` has them.
NO_CHANGES, CHANGES = 0, 2
_SIGNS = {
    Action.ADD: "[green]+ add[/]",
    Action.CHANGE: "[yellow]~ change[/]",
    Action.RETRY: "[yellow]↻ retry[/]",
    Action.ADOPT: "[cyan]= adopt[/]",
    Action.UNINDEX: "[red]- unindex[/]",
    Action.DRIFTED: "[magenta]! drifted[/]",
    Action.DEFERRED: "» deferred",
    Action.DEAD: "x dead letter",
    Action.SKIP: "· skip",
}


@dataclass
class Planned:
    """One Sync's plan and the decisions shown."""

    resolved: ResolvedSync
    plan: Plan
    shown: list[Decision]
    ledger_known: bool

    @property
    def changes(self) -> int:
        s = self.plan.summary
        return s.add + s.change + s.retry + s.adopt + s.unindex

    @property
    def fuse(self) -> bool:
        limit = self.resolved.sync.delete_limit_percent
        return fuse_trips(self.plan.summary, self.plan.linked, limit)


@explain_errors
def plan(
    target: Annotated[str | None, typer.Argument(help="sync/NAME; absent: every Sync.")] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--filename", "-f", help="Manifests or folders of them, not applied yet."),
    ] = None,
    kube_namespace: KubeNamespaceOption = None,
    output: OutputOption = Output.TABLE,
    limit: Annotated[int, typer.Option(help="Lines shown for each Sync.", min=0)] = 50,
    skipped: Annotated[bool, typer.Option("--skipped", help="List skipped assets too.")] = False,
) -> None:
    """Shows what a run would add, change, keep, unindex and skip. Changes nothing.

    Exit code 0: nothing to do; 2: there are changes; 1: an error.
    """
    made = [_plan_one(found, limit, skipped) for found in _syncs(target, files, kube_namespace)]
    if output is Output.JSON:
        print_json([_as_json(planned) for planned in made])
    else:
        for planned in made:
            _print(planned, limit)
    raise typer.Exit(CHANGES if any(p.changes for p in made) else NO_CHANGES)


def _syncs(
    target: str | None, files: list[Path] | None, kube_namespace: str | None
) -> Iterator[ResolvedSync]:
    name = None
    if target is not None:
        kind, name = resource_of(target)
        if kind != "Sync":
            fail(f"plan works on Syncs: write sync/NAME, not {target}")
    if files:
        manifests = Manifests.read(files, kube_namespace)
        names = [n for n in manifests.names("Sync") if name in (None, n[1])]
        if not names:
            fail(f"no Sync {name or ''} in {', '.join(map(str, files))}")
        for namespace, sync in names:
            yield manifests.resolve(namespace, sync)
        return
    cluster = Cluster(kube_namespace)
    found = [
        b["metadata"]["name"] for b in list_all(cluster.client, "Sync", cluster.kube_namespace)
    ]
    if name is not None and name not in found:
        fail(f"no Sync {name} in Kubernetes namespace {cluster.kube_namespace}")
    for sync in [name] if name else sorted(found):
        yield resolve_sync(cluster.client, cluster.kube_namespace, sync, cluster.settings)


def _plan_one(resolved: ResolvedSync, limit: int, skipped: bool) -> Planned:
    settings = Settings()
    with ExitStack() as stack:
        index, known = stack.enter_context(_index(resolved))
        job = make_job(resolved, index, settings, "plan.0")
        spool = stack.enter_context(Spool(settings.scratch_dir))
        with err.status(f"listing the source of {resolved.name}") as status:
            stream_listing(
                job, spool, lambda n: status.update(f"{resolved.name}: {n} assets listed")
            )
            kept = NOTABLE if skipped else NOTABLE - {Action.SKIP}
            made = make_plan(job, spool, indexed=None if known else (), keep=kept)
        shown: list[Decision] = []
        for batch in spool.decisions(*kept):
            shown += batch[: limit - len(shown)]
            if len(shown) >= limit:
                break
        return Planned(resolved, made, shown, known)


@contextmanager
def _index(resolved: ResolvedSync) -> Iterator[tuple[Index, bool]]:
    """The index, and whether it already has this Namespace's tenant."""
    with open_index(resolved.weaviate) as index:
        try:
            known = index.tenant_state(resolved.tenant) is not None
        except IndexUnavailableError as error:
            err.print(
                "[yellow]warning:[/] the index cannot be reached, planning as if it were empty: "
                f"{printable(str(error))}"
            )
            known = False
        yield index, known


def _print(planned: Planned, limit: int) -> None:
    resolved, summary = planned.resolved, planned.plan.summary
    out.print(
        f"\n[bold]sync/{resolved.name}[/]: {resolved.connection.provider.value} "
        f"{printable(resolved.connection_name)} {printable(resolved.sync.source_path or '/')} → "
        f"bucket {resolved.bucket_name} (Namespace {resolved.namespace_name})"
    )
    if planned.shown:
        table(
            ["action", "asset", "size", "reason"],
            [_row(decision) for decision in planned.shown],
            right=["size"],
        )
    hidden = sum(
        (summary.add, summary.change, summary.retry, summary.adopt, summary.unindex,
         summary.drifted, summary.deferred, summary.dead)
    ) - len([d for d in planned.shown if d.action is not Action.SKIP])  # fmt: skip
    if hidden > 0:
        out.print(f"… and {hidden} more (--limit)")
    out.print(
        f"Plan: [green]{summary.add} to add[/] ({human_bytes(summary.add_bytes)}), "
        f"[yellow]{summary.change} to change[/] ({human_bytes(summary.change_bytes)}), "
        f"{summary.retry} to retry, {summary.adopt} to adopt, "
        f"[red]{summary.unindex} to unindex[/], "
        f"{summary.keep} kept, {summary.drifted} drifted, {summary.dead} dead letters, "
        f"{summary.deferred} deferred, {summary.skip} skipped of {summary.listed} listed."
    )
    for reason, count in sorted(summary.skipped.items()):
        out.print(f"  skipped {count}: {printable(reason)}")
    if planned.fuse:
        out.print(
            f"[red]The run would stop:[/] it unindexes more than deleteLimitPercent "
            f"{resolved.sync.delete_limit_percent}; digest {summary.digest}"
        )


def _row(decision: Decision) -> list[Any]:
    asset, record = decision.asset, decision.record
    path = asset.path if asset else record.path if record else ""
    size = asset.size if asset else record.size if record else -1
    detail = f"{decision.reason}: {decision.detail}" if decision.detail else decision.reason
    return [Markup(_SIGNS[decision.action]), path, human_bytes(size) if size >= 0 else "?", detail]


def _as_json(planned: Planned) -> dict[str, Any]:
    resolved = planned.resolved
    return {
        "kubeNamespace": resolved.kube_namespace,
        "sync": resolved.name,
        "bucket": resolved.bucket_name,
        "connection": resolved.connection_name,
        "namespace": resolved.namespace_name,
        "summary": planned.plan.summary.dump(),
        "indexed": planned.plan.linked,
        "fuseTrips": planned.fuse,
        "changes": planned.changes > 0,
        "decisions": [
            {
                "action": d.action.value,
                "reason": d.reason,
                "detail": d.detail,
                "objectId": str(d.object_id),
                "assetId": d.asset.id if d.asset else d.record.asset_id if d.record else None,
                "path": d.asset.path if d.asset else d.record.path if d.record else None,
                "size": d.asset.size if d.asset else d.record.size if d.record else None,
                "extract": d.extract,
            }
            for d in planned.shown
        ],
    }
