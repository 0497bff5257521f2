"""The Pipeline controller: finds the code, and declares the resources that run it.

It never runs code of users, nor imports it: what is in Git goes packed into a ConfigMap, and only
workers open that.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import structlog
from lightkube import ApiError
from lightkube.resources.core_v1 import ConfigMap
from telecine.api.base import REQUESTED_AT, Phase
from telecine.api.connection import Provider
from telecine.api.namespace import NamespaceStatus
from telecine.api.pipeline import PipelineSpec, PipelineStatus
from telecine.api.sync import SyncStatus
from telecine.execution.handlers import code_body, code_of, limits_of
from telecine.execution.jobs import child_name
from telecine.execution.kube import FIELD_MANAGER, SERVICE_ACCOUNT
from telecine.pipelines.bundle import Bundle, BundleError
from telecine.pipelines.config import (
    CONFIG,
    ConfigError,
    config_path,
    connection_name,
    effective,
    parse_config,
)
from telecine.pipelines.extractor import HandlerExtractor
from telecine.pipelines.git import fetch, resolve
from telecine.pipelines.git_errors import GitError

from . import children
from .context import Context
from .dispatch import Controller
from .ready import require_ready
from .result import Outcome, StalledError
from .status import stamp
from .store import Key, key_of, ready_condition

log = structlog.get_logger(__name__)

Body = dict[str, Any]
_ALIAS_SECONDS = 60.0


@dataclass(frozen=True)
class Code:
    """A Pipeline's code, and whether its source could be asked for news."""

    bundle: Bundle
    checked: datetime | None
    """When it was asked at this look; None: it was not time to."""
    fault: str | None = None
    """Why it did not answer when it was last asked: `Reason: message`."""
    secret_version: str | None = None
    """Of the Secret with which it was asked."""


def reconcile(ctx: Context, body: Body) -> Outcome:
    """One look: the code, what it is to run on, and how far that is."""
    key = key_of(body, "Pipeline")
    spec = PipelineSpec.model_validate(body["spec"])
    status = PipelineStatus.model_validate(body.get("status") or {})
    require_executor(ctx, spec)
    try:
        code = code_for(ctx, key, body, spec, status)
    except GitError as error:
        return without_code(error, spec)
    wanted = decide(ctx, key, spec, code.bundle)
    rival = alias_holder(ctx, key, body, wanted.alias)
    if rival is not None:
        return alias_taken(wanted.alias, rival)
    children.ensure(ctx, body, wanted)
    changes: dict[str, Any] = {
        "alias": wanted.alias,
        "commit": code.bundle.commit,
        "digest": code.bundle.digest,
        "sync": child_name(key.name),
        "collection": HandlerExtractor.collection(
            {"pipeline": key.name, "collection": wanted.collection}
        ),
    }
    if spec.git is not None and ctx.settings.gateway_url:
        base = ctx.settings.gateway_url.rstrip("/")
        changes["webhookUrl"] = f"{base}/v1/webhooks/git/{key.namespace}/{key.name}"
    if code.checked is not None:
        changes |= {
            "sourceCheckedTime": stamp(code.checked),
            "sourceFault": code.fault,
            "secretResourceVersion": code.secret_version,
        }
    outcome = mirrored(ctx, key, spec, changes, code.bundle.commit)
    if spec.git is not None:
        outcome.requeue_after = float(spec.git.polling_interval_seconds)
    if code.fault is not None:
        reason, _, message = code.fault.partition(": ")
        outcome.ready, outcome.reason, outcome.warning = False, reason, True
        commit = code.bundle.commit[:12]
        outcome.message = f"{message}; until then the code of {commit} goes on"
    return outcome


def without_code(error: GitError, spec: PipelineSpec) -> Outcome:
    """The repository does not answer, and there is no code from before."""
    every = float(spec.git.polling_interval_seconds) if spec.git else None
    return Outcome(
        phase=Phase.FAILED if error.permanent else None,
        reason=error.reason,
        message=str(error),
        ready=False,
        stalled=error.permanent,
        reconciling=not error.permanent,
        warning=True,
        retry=not error.permanent,
        requeue_after=every,
    )


def alias_holder(ctx: Context, key: Key, body: Body, alias: str | None) -> str | None:
    """The name of another Pipeline here that has the alias; of two that want it the first has it,
    and keeps it."""
    if alias is None:
        return None

    def rank(other: Body) -> tuple[bool, str, str]:
        metadata, status = other["metadata"], other.get("status") or {}
        return status.get("alias") != alias, metadata["creationTimestamp"], metadata["uid"]

    others = (k for k in ctx.store.keys("Pipeline") if k.namespace == key.namespace and k != key)
    for other in ctx.store.bodies(others):
        wants = other["spec"].get("alias") or (other.get("status") or {}).get("alias")
        if wants == alias and rank(other) < rank(body):
            return str(other["metadata"]["name"])
    return None


def alias_taken(alias: str | None, holder: str) -> Outcome:
    return Outcome(
        phase=Phase.FAILED,
        reason="AliasTaken",
        message=f"alias {alias} is Pipeline {holder}'s: give one of the two another "
        "(spec.alias, or alias in config.json)",
        ready=False,
        stalled=True,
        status={"alias": None},
        # The other one's config.json can free it, which is no change of this one.
        requeue_after=_ALIAS_SECONDS,
    )


def require_executor(ctx: Context, spec: PipelineSpec) -> None:
    """Refuses to run a user's function where it could reach the operator's own rights."""
    if ctx.settings.executor == "kubernetes":
        return
    if spec.image is not None:
        raise StalledError(
            "NotImplemented",
            "spec.image needs the operator's executor `kubernetes`: a process has no image",
        )
    if Path(SERVICE_ACCOUNT).exists():
        raise StalledError(
            "NotIsolated",
            "in a cluster Pipelines need the operator's executor `kubernetes`: a process of the "
            "operator's Pod could use its service account (chart: workers.executor)",
        )


def code_for(
    ctx: Context, key: Key, body: Body, spec: PipelineSpec, status: PipelineStatus
) -> Code:
    """The code that is to run now; from Git when it is time to ask.

    Raises:
        GitError: it cannot be had, and there is none from before.
        StalledError: what is there is no Pipeline's code.
    """
    there = stored(ctx, key)
    asked, fault = None, None
    secret, version = repository_secret(ctx, key, spec)
    if spec.inline is not None:
        bundle = checked(Bundle.inline(spec.inline.handler))
    elif there is not None and not due(body, spec, status, version):
        return Code(there, None, status.source_fault)
    else:
        asked = datetime.now(UTC)
        try:
            bundle = from_git(ctx, key, spec, there, secret)
        except GitError as error:
            if there is None or status.observed_generation != body["metadata"]["generation"]:
                raise
            bundle, fault = there, f"{error.reason}: {error}"
    if there is None or (bundle.digest, bundle.commit) != (there.digest, there.commit):
        store(ctx, key, body, bundle)
    return Code(bundle, asked, fault, version)


def repository_secret(
    ctx: Context, key: Key, spec: PipelineSpec
) -> tuple[dict[str, str], str | None]:
    """The repository's Secret and its resourceVersion. Raises MissingReferenceError."""
    if spec.git is None or spec.git.secret_ref is None:
        return {}, None
    return ctx.secret(key.namespace, spec.git.secret_ref.name)


def due(body: Body, spec: PipelineSpec, status: PipelineStatus, secret: str | None) -> bool:
    """Whether the repository is to be asked now."""
    metadata = body["metadata"]
    asked = (metadata.get("annotations") or {}).get(REQUESTED_AT)
    if status.observed_generation != metadata["generation"]:
        return True
    if asked is not None and asked != status.last_handled_reconcile_at:
        return True
    if status.source_checked_time is None or spec.git is None:
        return True
    if status.secret_resource_version != secret:
        return True
    every = timedelta(seconds=spec.git.polling_interval_seconds)
    return datetime.now(UTC) >= status.source_checked_time + every


def from_git(
    ctx: Context, key: Key, spec: PipelineSpec, there: Bundle | None, secret: dict[str, str]
) -> Bundle:
    """The code at the commit that the ref means now. Raises GitError, StalledError."""
    git = spec.git
    assert git is not None
    private = ctx.settings.allow_private_endpoints
    commit = resolve(git, secret, allow_private=private)
    if there is not None and there.commit == commit:
        return there
    log.info("code is fetched", pipeline=str(key), commit=commit)
    files = fetch(git, commit, git.path, secret, allow_private=private)
    return checked(Bundle(files, commit))


def checked(bundle: Bundle) -> Bundle:
    """Raises StalledError when it is no Pipeline's code."""
    try:
        bundle.check()
    except BundleError as error:
        raise StalledError("InvalidCode", str(error)) from error
    return bundle


def stored(ctx: Context, key: Key) -> Bundle | None:
    """The code that was stored before."""
    try:
        found = ctx.client.get(ConfigMap, child_name(key.name), namespace=key.namespace)
        return code_of(found.to_dict())
    except ApiError as error:
        if error.status.code != 404:
            raise
    except BundleError as error:
        log.warning("stored code is unreadable and fetched anew", why=str(error))
    return None


def store(ctx: Context, key: Key, body: Body, bundle: Bundle) -> None:
    try:
        code = code_body(key.namespace, key.name, bundle, children.owner_of(body))
    except BundleError as error:
        raise StalledError("InvalidCode", str(error)) from error
    made = cast("ConfigMap", ConfigMap.from_dict(code))
    ctx.client.apply(made, field_manager=FIELD_MANAGER, force=True)
    log.info("code was stored", pipeline=str(key), commit=bundle.commit)


def decide(ctx: Context, key: Key, spec: PipelineSpec, bundle: Bundle) -> children.Wanted:
    """Spec and config.json together, with the Connections found.

    Raises:
        StalledError: config.json is wrong or something is given by neither.
        WaitingError, MissingReferenceError: a Connection is not there or not ready.
    """
    try:
        raw = bundle.files.get(CONFIG)
        config = parse_config(raw, config_path(spec)) if raw is not None else None
        given = effective(spec, config)
        mine = (k for k in ctx.store.keys("Connection") if k.namespace == key.namespace)
        bodies = list(ctx.store.bodies(mine))
        source = connection_name(given.source_connection, bodies)
        destination = (
            None
            if given.destination_connection is None
            else connection_name(given.destination_connection, bodies)
        )
    except ConfigError as error:
        raise StalledError("InvalidConfig", str(error)) from error
    require_ready(ctx, "Connection", key.namespace, source)
    if destination is not None:
        found = require_ready(ctx, "Connection", key.namespace, destination)
        if found["spec"]["provider"] != Provider.WEAVIATE.value:
            raise StalledError(
                "InvalidConfig",
                f"destination: Connection {destination} is of provider "
                f"{found['spec']['provider']}; results go to one of provider weaviate",
            )
    try:
        HandlerExtractor.validate({"pipeline": key.name, "collection": given.collection})
    except ValueError as error:
        raise StalledError("InvalidConfig", f"destination.collection: {error}") from error
    try:
        limits_of(spec)
    except ValueError as error:
        raise StalledError("InvalidConfig", str(error)) from error
    return children.Wanted(
        spec=spec,
        alias=given.alias,
        source=source,
        source_path=given.source_path,
        filters=list(given.filters),
        destination=destination,
        collection=given.collection,
        digest=bundle.digest,
    )


def mirrored(
    ctx: Context, key: Key, spec: PipelineSpec, changes: dict[str, Any], commit: str
) -> Outcome:
    """The state of the Sync that does the work, as the Pipeline's own."""
    name = child_name(key.name)
    sync = ctx.store.get(Key("Sync", key.namespace, name))
    namespace = ctx.store.get(Key("Namespace", key.namespace, name)) or {}
    changes["tenant"] = NamespaceStatus.model_validate(namespace.get("status") or {}).tenant
    told = ready_condition(sync) if sync is not None else None
    if sync is None or told is None:
        said = f"Sync {name} was made; its first run follows"
        return Outcome(Phase.PENDING, "Starting", said, False, reconciling=True, status=changes)
    status = SyncStatus.model_validate(sync.get("status") or {})
    for field in ("objects", "indexed", "failed", "pending"):
        changes[field] = getattr(status, field)
    changes["lastSyncTime"] = stamp(status.last_sync_time) if status.last_sync_time else None
    conditions = {c.type: c for c in status.conditions}
    message = told.get("message", "")
    return Outcome(
        phase=status.phase,
        reason=told["reason"],
        message=f"{message}; code of {commit[:12]}" if message else f"code of {commit[:12]}",
        ready=told["status"] == "True",
        reconciling="Reconciling" in conditions,
        stalled="Stalled" in conditions,
        status=changes,
    )


CONTROLLER = Controller("Pipeline", reconcile)
