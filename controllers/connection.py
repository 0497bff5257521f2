"""The Connection controller: a live check, the breaker, and Secrets that change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from telecine.api.base import REQUESTED_AT, Phase
from telecine.api.connection import ConnectionSpec, ConnectionStatus, Provider
from telecine.execution.metrics import Source
from telecine.execution.resolve import MissingReferenceError, weaviate_settings
from telecine.index.client import IndexUnavailableError
from telecine.planning.identity import connection_id
from telecine.providers.base import ProviderError
from telecine.providers.registry import available, create, missing_keys

from .context import Context
from .dispatch import Controller
from .result import Outcome, StalledError, WaitingError, unchanged
from .schedule import backoff
from .status import stamp
from .store import Key, key_of

log = structlog.get_logger(__name__)

Body = dict[str, Any]
CHECK_SECONDS = 60.0
"""A check that takes longer has failed."""


@dataclass(frozen=True)
class Seen:
    """What a check is made from, and what is known of the last one."""

    spec: ConnectionSpec
    status: ConnectionStatus
    secret: Mapping[str, str]
    version: str | None
    changed: bool
    """Whether spec or Secret are others than at the last check, or the user asks for one."""
    base: dict[str, Any]
    """Fields of the status that hold whatever the check says."""


def reconcile(ctx: Context, body: Body) -> Outcome:
    """Checks the Connection when its spec, its Secret, its users or the clock ask for it."""
    key = key_of(body, "Connection")
    seen = look(ctx, key, body)
    asked = ctx.demands.take(key)
    healthy = seen.changed or not seen.status.consecutive_failures
    if not seen.spec.test_before_use and not asked and healthy:
        return unchecked(seen)
    now = datetime.now(UTC)
    if not seen.changed and not due(seen.status, now, asked):
        return unchanged(wait_of(seen.status, now))
    failures = 0 if seen.changed else seen.status.consecutive_failures
    base = {**seen.base, "lastCheckedTime": stamp(now)}
    try:
        said = bounded(lambda: check(ctx, key, seen), CHECK_SECONDS)
    except ProviderError as error:
        log.warning(
            "a Connection's check failed", key=str(key), error=ctx.redactor.clean(str(error))
        )
        return failed(ctx, base, error, failures + 1)
    wait = ctx.settings.connection_check_seconds * (1 - 0.2 * spread(key))
    return Outcome(
        Phase.ACTIVE,
        "Checked",
        said,
        status={
            **base,
            "consecutiveFailures": 0,
            "lastError": None,
            "nextCheckTime": stamp(datetime.now(UTC) + timedelta(seconds=wait)),
        },
        requeue_after=wait,
    )


def look(ctx: Context, key: Key, body: Body) -> Seen:
    """Reads the Secret and compares with the last check.

    Raises:
        StalledError: the provider is not implemented, or the Secret lacks a key.
        WaitingError: the Secret does not exist; its appearance wakes the Connection.
    """
    spec = ConnectionSpec.model_validate(body["spec"])
    status = ConnectionStatus.model_validate(body.get("status") or {})
    ident = connection_id(key.namespace, key.name)
    base: dict[str, Any] = {"connectionId": ident}
    if spec.provider is Provider.MUX:
        base["webhookUrl"] = ctx.settings.webhook_url(spec.provider.value, ident)
    if spec.provider is not Provider.WEAVIATE and spec.provider not in available():
        try:
            create(spec, {})
        except ProviderError as error:
            raise StalledError(error.reason, str(error), base) from error
    secret, version = read_secret(ctx, key, spec, base)
    requested = (body["metadata"].get("annotations") or {}).get(REQUESTED_AT)
    changed = (
        status.last_checked_time is None
        or status.observed_generation != body["metadata"].get("generation")
        or status.secret_resource_version != version
        or (requested is not None and requested != status.last_handled_reconcile_at)
        or was_incomplete(status)
    )
    return Seen(spec, status, secret, version, changed, base | {"secretResourceVersion": version})


def was_incomplete(status: ConnectionStatus) -> bool:
    """Whether the last look ended before a check, for want of a Secret or one of its keys."""
    reasons = {condition.reason for condition in status.conditions}
    return bool(reasons & {"SecretNotFound", "SecretKeyMissing", "ReconcileError"})


def read_secret(
    ctx: Context, key: Key, spec: ConnectionSpec, base: dict[str, Any]
) -> tuple[dict[str, str], str | None]:
    """The decoded Secret and its version. Raises as `look`."""
    if spec.secret_ref is None:
        return {}, None
    try:
        secret, version = ctx.secret(key.namespace, spec.secret_ref.name)
    except MissingReferenceError as error:
        raise WaitingError("SecretNotFound", f"waits: {error}") from error
    if spec.provider is Provider.WEAVIATE:
        lacking = [] if secret.get("api_key") else ["api_key"]
    else:
        lacking = missing_keys(spec.provider, secret)
    if lacking:
        raise StalledError(
            "SecretKeyMissing",
            f"Secret {spec.secret_ref.name} lacks {', '.join(lacking)}; add the missing keys",
            base,
        )
    return secret, version


def due(status: ConnectionStatus, now: datetime, asked: bool) -> bool:
    """Whether an unchanged Connection is checked now.

    An open breaker stays open until its time, whoever asks; a permanent failure waits for a
    change of spec or Secret.
    """
    at = status.next_check_time
    if at is not None and at <= now:
        return True
    return asked and status.phase is Phase.ACTIVE


def wait_of(status: ConnectionStatus, now: datetime) -> float | None:
    at = status.next_check_time
    return None if at is None else max((at - now).total_seconds(), 0.0)


def check(ctx: Context, key: Key, seen: Seen) -> str:
    """Asks the provider live; returns a sentence for the status.

    Raises:
        ProviderError: in the provider's own words, redacted.
    """
    if seen.spec.provider is not Provider.WEAVIATE:
        allow = ctx.settings.allow_private_endpoints
        provider = create(seen.spec, seen.secret, allow_private=allow)
        try:
            return provider.check()
        finally:
            source = Source(seen.spec.provider, key.namespace, key.name)
            ctx.calls.counters.add(source, provider.calls.told())
    try:
        with ctx.index(weaviate_settings(seen.spec, seen.secret)) as index:
            return f"{index.check()} answers"
    except IndexUnavailableError as error:
        reason = "AccessDenied" if error.permanent else "Unreachable"
        raise ProviderError(reason, str(error), permanent=error.permanent) from error


def unchecked(seen: Seen) -> Outcome:
    """`testBeforeUse: false`: usable until a failure in use has it checked like any other."""
    return Outcome(
        Phase.ACTIVE,
        "NotChecked",
        "used without a check, as spec.testBeforeUse says",
        status={
            **seen.base,
            "consecutiveFailures": 0,
            "lastError": None,
            "nextCheckTime": None,
        },
    )


def failed(ctx: Context, base: dict[str, Any], error: ProviderError, failures: int) -> Outcome:
    """FAILED until the next try; after several failures in a row SUSPENDED for longer."""
    settings = ctx.settings
    said = ctx.redactor.clean(str(error))
    changes = {**base, "consecutiveFailures": failures, "lastError": said, "nextCheckTime": None}
    if error.permanent:
        return Outcome(
            Phase.FAILED,
            error.reason,
            f"{said}; it is checked again when the Connection or its Secret changes",
            ready=False,
            stalled=True,
            status=changes,
        )
    suspended = failures >= settings.breaker_failures
    wait = (
        timedelta(seconds=settings.breaker_seconds)
        if suspended
        else backoff(failures, settings.retry_base_seconds, settings.retry_cap_seconds)
    )
    at = stamp(datetime.now(UTC) + wait)
    return Outcome(
        Phase.SUSPENDED if suspended else Phase.FAILED,
        "BreakerOpen" if suspended else error.reason,
        f"{said}; failed {failures} times in a row, tried again at {at}",
        ready=False,
        reconciling=True,
        warning=True,
        status={**changes, "nextCheckTime": at},
        requeue_after=wait.total_seconds(),
    )


def bounded(call: Callable[[], str], seconds: float) -> str:
    """The call's result; one that hangs (a dead network file system) is left behind.

    Raises:
        ProviderError: it took too long, or what the call raised.
    """
    done: list[str] = []
    raised: list[Exception] = []

    def run() -> None:
        try:
            done.append(call())
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            raised.append(error)

    thread = threading.Thread(target=run, name="check", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not done:
        raise ProviderError("Timeout", f"no answer to the check within {seconds:.0f} s")
    return done[0]


def spread(key: Key) -> float:
    """A fraction in [0, 1) that is the same for a Connection in every process."""
    return int(connection_id(key.namespace, key.name)[-8:], 16) / 2**32


CONTROLLER = Controller("Connection", reconcile)
