"""What the health checks in examples/gitops say of statuses that the controllers write."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import cel
import lupa.lua51
import pytest
import yaml
from telecine.api.base import Phase
from telecine.api.kinds import KINDS
from telecine.api.sync import PlanSummary, RunStatus, SyncSpec, SyncStatus
from telecine.controllers import history
from telecine.controllers.result import Outcome, StalledError, WaitingError, from_error
from telecine.controllers.schedule import DELETE_LIMIT
from telecine.controllers.status import desired
from telecine.execution.resolve import MissingReferenceError
from telecine.index.client import IndexUnavailableError

Body = dict[str, Any]
ROOT = Path(__file__).parents[2]
GITOPS = ROOT / "examples" / "gitops"
NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
GENERATION = 3
SPEC = SyncSpec.model_validate({"bucketRef": {"name": "b"}, "connectionRef": {"name": "c"}})
#: What Flux (kstatus) calls what Argo CD calls so.
FLUX = {
    "Healthy": "Current",
    "Suspended": "Current",
    "Degraded": "Failed",
    "Progressing": "InProgress",
}


def merged(base: Body, patch: Body) -> Body:
    """RFC 7386."""
    result = dict(base)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = merged(result.get(name) or {}, value)
        else:
            result[name] = value
    return result


def resource(*outcomes: Outcome, generation: int = GENERATION, **metadata: Any) -> Body:
    """A resource after the controller came to these outcomes, one after another."""
    body: Body = {"metadata": {"name": "it", "generation": generation}, "spec": {}, "status": {}}
    for outcome in outcomes:
        body["status"] = merged(body["status"], desired(body, outcome, NOW))
    body["metadata"] |= metadata
    return body


def a_run(**fields: Any) -> RunStatus:
    made: Body = {"id": "2", "trigger": "interval", "generation": GENERATION, "startedAt": NOW}
    return RunStatus.model_validate(made | fields)


def ended(phase: Phase, **fields: Any) -> Outcome:
    run = a_run(phase=phase, finishedAt=NOW, plan=PlanSummary(listed=3), **fields)
    failed = 1 if phase is Phase.COMPLETED_WITH_ERRORS else 0
    outcome = history.resting(SPEC, SyncStatus(run=run, indexed=3, failed=failed), None, NOW)
    return Outcome(**{**vars(outcome), "status": {**outcome.status, "run": run.dump()}})


def going(before: bool = True, **fields: Any) -> Outcome:
    """A run in progress, of a Sync that succeeded before or never did."""
    run = a_run(phase=Phase.IN_PROGRESS, activity="listing", **fields)
    status = SyncStatus(run=run, last_success_time=NOW if before else None)
    outcome = history.progressing(status, run)
    return Outcome(**{**vars(outcome), "status": {"run": {**run.dump(), "finishedAt": None}}})


ACTIVE = Outcome(Phase.ACTIVE, "Available", "it works")
COMPLETED = ended(Phase.COMPLETED)
CHECK_FAILED = Outcome(Phase.FAILED, "Unreachable", "no answer", False, reconciling=True)
BREAKER = Outcome(Phase.SUSPENDED, "BreakerOpen", "failed 5 times", False, reconciling=True)
SUSPENDED = Outcome(Phase.SUSPENDED, "Suspended", "suspended by spec.suspend", False)
CASES: dict[str, tuple[Body, str]] = {
    "just applied": ({"metadata": {"name": "it", "generation": 1}, "spec": {}}, "Progressing"),
    "ready": (resource(ACTIVE), "Healthy"),
    "spec not seen yet": (resource(ACTIVE) | {"stale": True}, "Progressing"),
    "stalled, spec not seen yet": (
        resource(from_error(StalledError("NotImplemented", "remove it"))) | {"stale": True},
        "Progressing",
    ),
    "being deleted": (resource(ACTIVE, deletionTimestamp="2026-05-01T12:00:00Z"), "Progressing"),
    "deletion waits": (
        resource(
            ACTIVE,
            Outcome(None, "Deleting", "waits", False, reconciling=True),
            deletionTimestamp="2026-05-01T12:00:00Z",
        ),
        "Progressing",
    ),
    "reference missing": (
        resource(from_error(MissingReferenceError("Bucket", "b"))),
        "Progressing",
    ),
    "waits for another": (
        resource(from_error(WaitingError("NamespaceNotReady", "waits"))),
        "Progressing",
    ),
    "reference being deleted": (
        resource(COMPLETED, Outcome(Phase.PENDING, "ReferenceDeleting", "goes", False)),
        "Progressing",
    ),
    "stalled": (resource(from_error(StalledError("NotImplemented", "remove it"))), "Degraded"),
    "unexpected error": (resource(from_error(ValueError("x"))), "Progressing"),
    "index away": (
        resource(ACTIVE, from_error(IndexUnavailableError("no answer"))),
        "Progressing",
    ),
    "index refuses": (
        resource(ACTIVE, from_error(IndexUnavailableError("no", permanent=True))),
        "Degraded",
    ),
    "namespace suspended": (resource(Outcome(Phase.SUSPENDED, "Inactive", "x")), "Suspended"),
    "namespace archived": (resource(Outcome(Phase.ARCHIVED, "Inactive", "x")), "Suspended"),
    "tenant moving": (
        resource(ACTIVE, Outcome(None, "TenantMoving", "on its way", False, reconciling=True)),
        "Progressing",
    ),
    "connection check failed": (resource(ACTIVE, CHECK_FAILED), "Degraded"),
    "connection breaker open": (resource(ACTIVE, BREAKER), "Degraded"),
    "connection well again": (resource(BREAKER, ACTIVE), "Healthy"),
    "sync suspended": (resource(COMPLETED, SUSPENDED), "Suspended"),
    "first run": (resource(going(before=False, trigger="initial")), "Progressing"),
    "run completed": (resource(COMPLETED), "Healthy"),
    "some assets failed": (resource(ended(Phase.COMPLETED_WITH_ERRORS)), "Healthy"),
    "periodic run": (resource(COMPLETED, going()), "Healthy"),
    "requested run": (resource(COMPLETED, going(trigger="requested")), "Healthy"),
    "run for a new spec": (resource(COMPLETED, going(trigger="spec")), "Progressing"),
    "run overtaken by a new spec": (resource(COMPLETED, going(generation=2)), "Progressing"),
    "run failed": (resource(ended(Phase.FAILED, message="refused")), "Degraded"),
    "run failed after success": (resource(COMPLETED, ended(Phase.FAILED)), "Degraded"),
    "run retried": (resource(ended(Phase.FAILED), going(trigger="retry")), "Progressing"),
    "run failed for good": (resource(ended(Phase.FAILED, permanent=True)), "Degraded"),
    "fuse": (resource(COMPLETED, ended(Phase.FAILED, reason=DELETE_LIMIT)), "Degraded"),
}
cases = pytest.mark.parametrize("case", CASES)
kinds = pytest.mark.parametrize("kind", [kind.kind for kind in KINDS])


def case_of(name: str) -> tuple[Body, str]:
    body, expected = copy.deepcopy(CASES[name])
    if body.pop("stale", False):
        body["metadata"]["generation"] += 1
    return body, expected


@cache
def argo_checks() -> dict[str, str]:
    data = yaml.safe_load((GITOPS / "argocd" / "10-health.yaml").read_text())["data"]
    prefix = "resource.customizations.health.telecine.dev_"
    return {key.removeprefix(prefix): script for key, script in data.items()}


@cache
def flux_checks() -> dict[str, Body]:
    spec = yaml.safe_load((GITOPS / "flux" / "30-library.yaml").read_text())["spec"]
    return {entry["kind"]: entry for entry in spec["healthCheckExprs"]}


def argo(script: str, body: Body) -> tuple[str, str]:
    """Runs a health script as Argo CD does: Lua 5.1, no library but base and table."""
    lua = lupa.lua51.LuaRuntime(register_eval=False, unpack_returned_tuples=True)
    names = lua.globals()
    for library in ("string", "io", "os", "math", "debug", "coroutine", "require", "package"):
        names[library] = None
    names.obj = lua.table_from(body, recursive=True)
    found = lua.execute(script)
    return found.status, found.message


def flux(checks: Body, body: Body) -> str:
    """As Flux evaluates them: a stale status first, then the expressions, in this order.

    An expression that cannot be evaluated, for want of a status, is tried again until the timeout.
    """
    seen = body.get("status", {}).get("observedGeneration")
    if seen is not None and seen != body["metadata"]["generation"]:
        return "InProgress"
    meanings = {"inProgress": "InProgress", "failed": "Failed", "current": "Current"}
    for name, meaning in meanings.items():
        try:
            if cel.evaluate(checks[name], body):
                return meaning
        except (RuntimeError, ValueError):
            assert "status" not in body
            return "InProgress"
    return "InProgress"


@cases
def test_argo_cd_reads_the_conditions(case: str) -> None:
    body, expected = case_of(case)
    status, message = argo(argo_checks()["Sync"], body)
    assert status == expected
    assert message


@cases
def test_flux_reads_the_conditions(case: str) -> None:
    body, expected = case_of(case)
    assert flux(flux_checks()["Sync"], body) == FLUX[expected]


@kinds
@pytest.mark.parametrize("checks", [argo_checks, flux_checks], ids=["argo", "flux"])
def test_every_kind_has_the_same_check(kind: str, checks: Callable[[], Body]) -> None:
    def rules(name: str) -> Any:
        found = checks()[name]
        return found if isinstance(found, str) else {**found, "kind": None}

    assert set(checks()) == {kind.kind for kind in KINDS}
    assert rules(kind) == rules("Sync")


def test_the_cases_have_every_phase_that_a_status_shows() -> None:
    shown = {body.get("status", {}).get("phase") for body, _ in CASES.values()}
    # The others are those of runs and objects.
    others = {Phase.PROCESSING, Phase.CANCELED, Phase.UNKNOWN, Phase.SKIPPED, Phase.DRAFT}
    assert shown == {None, *(phase.value for phase in set(Phase) - others)}


def manifests(folder: str) -> dict[tuple[str, str], Body]:
    found = [
        body
        for path in sorted((GITOPS / folder).glob("*.yaml"))
        for body in yaml.safe_load_all(path.read_text())
    ]
    named = {(body["kind"], body["metadata"]["name"]): body for body in found}
    assert len(named) == len(found)
    return named


def test_argo_cds_applications_apply_server_side_what_is_there() -> None:
    made = manifests("argocd")
    assert set(made) == {
        ("ConfigMap", "argocd-cm"), ("Application", "telecine"), ("Application", "library"),
    }  # fmt: skip
    for name in ("telecine", "library"):
        spec = made["Application", name]["spec"]
        assert "ServerSideApply=true" in spec["syncPolicy"]["syncOptions"]
        assert "ignoreDifferences" not in spec
        assert (ROOT / spec["source"]["path"]).is_dir()


def test_fluxs_kustomization_waits_for_what_is_there_and_never_recreates() -> None:
    made = manifests("flux")
    sources = {name for kind, name in made if kind == "GitRepository"}
    spec = made["Kustomization", "library"]["spec"]
    assert spec["wait"] is True
    assert not spec.get("force")
    assert spec["sourceRef"]["name"] in sources
    assert (ROOT / spec["path"]).is_dir()
    chart = made["HelmRelease", "telecine"]["spec"]["chart"]["spec"]
    assert chart["sourceRef"]["name"] in sources
    assert (ROOT / chart["chart"] / "Chart.yaml").is_file()
