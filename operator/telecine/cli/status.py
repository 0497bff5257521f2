"""`telecine status`: every resource in one view, with the progress of what runs now."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from telecine.api.kinds import KINDS
from telecine.api.sync import RunStatus
from telecine.cli.common import (
    Cluster,
    KubeNamespaceOption,
    Output,
    OutputOption,
    explain_errors,
    out,
    print_json,
)
from telecine.execution.resolve import list_all

Body = dict[str, Any]
_COLOURS = {"ACTIVE": "green", "COMPLETED": "green", "FAILED": "red", "IN_PROGRESS": "cyan"}


@explain_errors
def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until interrupted.")] = False,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Go on until no run is in progress.")
    ] = False,
    kube_namespace: KubeNamespaceOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Shows phases, conditions and live progress."""
    cluster = Cluster(kube_namespace)
    if output is Output.JSON:
        print_json(gather(cluster))
        return
    if not (watch or until_idle):
        out.print(view(gather(cluster)))
        return
    with Live(console=out, auto_refresh=False) as live:
        while True:
            found = gather(cluster)
            live.update(view(found), refresh=True)
            if until_idle and not any(running(body) for body in found["Sync"]):
                return
            time.sleep(1)


def gather(cluster: Cluster) -> dict[str, list[Body]]:
    """The resources of each kind with name, spec and status."""
    return {
        kind.kind: [
            {
                "name": body["metadata"]["name"],
                "spec": body.get("spec", {}),
                "status": body.get("status", {}),
            }
            for body in list_all(cluster.client, kind.kind, cluster.kube_namespace)
        ]
        for kind in KINDS
    }


def view(found: dict[str, list[Body]]) -> Group:
    made = Table(box=None, pad_edge=False, header_style="", padding=(0, 3, 0, 0))
    for column in ("KIND", "NAME", "PHASE", "READY", "WHAT", "MESSAGE"):
        made.add_column(column, overflow="fold")
    for kind, bodies in found.items():
        for body in bodies:
            phase = body["status"].get("phase", "")
            ready = condition(body, "Ready")
            made.add_row(
                kind,
                Text(body["name"]),
                Text(phase, style=_COLOURS.get(phase, "")),
                ready.get("status", ""),
                Text(what(kind, body)),
                Text(ready.get("message", "")),
            )
    return Group(made, *(progress(body) for body in found["Sync"] if running(body)))


def condition(body: Body, kind: str) -> Body:
    conditions = body["status"].get("conditions") or []
    return next((c for c in conditions if c["type"] == kind), {})


def what(kind: str, body: Body) -> str:
    state, spec = body["status"], body["spec"]
    if kind == "Sync":
        return f"{state.get('indexed', 0) or 0} indexed, {state.get('failed', 0) or 0} failed"
    if kind == "Connection":
        return str(spec.get("provider", ""))
    if kind in ("Bucket", "Namespace"):
        return f"{state.get('objects', 0) or 0} objects"
    return ""


def running(body: Body) -> bool:
    run = body["status"].get("run")
    return bool(run) and not run.get("finishedAt")


def progress(body: Body) -> Table:
    """One line: a bar where there is a total, words where there is none."""
    run = RunStatus.model_validate(body["status"]["run"])
    shards = list(run.shards.values())
    total = sum(s.total for s in shards)
    if run.plan is not None:
        total = max(total, run.plan.add + run.plan.change + run.plan.retry)
    done = sum(s.extracted + s.failed for s in shards)
    line = Table.grid(padding=(0, 1))
    since = (datetime.now(UTC) - run.started_at).total_seconds() if run.started_at else 0
    label = f"{body['name']} run {run.id} ({since:.0f} s)"
    if shards and total:
        documents = sum(s.documents for s in shards)
        bar = ProgressBar(total=total, completed=done, width=30)
        line.add_row(Text(label), bar, Text(f"{done} of {total} objects, {documents} documents"))
    else:
        line.add_row(Text(label), Text(run.activity or run.phase.value))
    return line
