"""The service account of a Sync's workers: it may do what a run of that Sync needs, by name.

Each Sync has an account, a Role and a RoleBinding of its own, which go with it. A worker decodes
files from anywhere: with its token nobody can read another Connection's Secret, or write into
another Sync's status.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from lightkube import ApiError, Client
from lightkube.resources.core_v1 import ServiceAccount
from lightkube.resources.rbac_authorization_v1 import Role, RoleBinding

from telecine.api.base import GROUP
from telecine.execution import lease
from telecine.execution.executor import Step
from telecine.execution.jobs import (
    MANAGED,
    SYNC_LABEL,
    child_name,
    label_value,
    owner_reference,
    short,
)
from telecine.settings import Settings

Body = dict[str, Any]
OWNER = f"{GROUP}/owner"
"""Annotation of what is made in another Kubernetes namespace: `namespace/sync`."""


def account_name(sync: str) -> str:
    return short(f"telecine-sync-{sync}", 63)


def ensure_account(client: Client, step: Step, settings: Settings, secrets: list[str]) -> str:
    """Makes the account of a Sync's workers what the Sync needs now; returns its name.

    `secrets`: names of the Secrets in the Sync's Kubernetes namespace that a run reads.

    Raises:
        ApiError: 403 when the operator may do less than the workers need, among others.
    """
    name = account_name(step.sync)
    lease.ensure(client, lease.bucket_lease(step.resolved.bucket_name), step.namespace)
    meta = {
        "name": name,
        "namespace": step.namespace,
        "labels": {**MANAGED, SYNC_LABEL: label_value(step.sync)},
        "ownerReferences": [owner_reference(step)],
    }
    where, _, key = (settings.weaviate_secret or "").partition("/")
    if where == step.namespace:
        secrets = [*secrets, key]
    _apply(client, ServiceAccount, {"metadata": meta})
    _apply(client, Role, {"metadata": meta, "rules": worker_rules(step, secrets)})
    _apply(client, RoleBinding, {"metadata": meta, **_grant(name, name, step.namespace)})
    if where and where != step.namespace:
        _lend_key(client, step, where, key, name)
    return name


def worker_rules(step: Step, secrets: list[str]) -> list[Body]:
    """All that a worker may do: read what its Sync needs, tell its progress, renew its Lease."""
    resolved = step.resolved
    weaviate = resolved.namespace.spec.weaviate
    connections = [resolved.connection_name]
    if weaviate and weaviate.connection_ref:
        connections.append(weaviate.connection_ref.name)
    read = {
        "syncs": [step.sync],
        "buckets": [resolved.bucket_name],
        "connections": sorted(set(connections)),
        "namespaces": [resolved.namespace_name],
    }
    if resolved.pipeline is not None:
        read["pipelines"] = [resolved.pipeline.name]
    rules = [_rule(GROUP, kind, names, "get") for kind, names in read.items()]
    if resolved.pipeline is not None:
        rules.append(_rule("", "configmaps", [child_name(resolved.pipeline.name)], "get"))
    rules.append(_rule(GROUP, "syncs/status", [step.sync], "patch"))
    if secrets:
        rules.append(_rule("", "secrets", sorted(set(secrets)), "get"))
    leases = [lease.sync_lease(step.sync), lease.bucket_lease(resolved.bucket_name)]
    rules.append(_rule("coordination.k8s.io", "leases", leases, "get", "update", "patch"))
    return rules


def sweep_keys(client: Client, settings: Settings, there: Callable[[str, str], bool]) -> int:
    """Takes back what was lent to Syncs that are gone (`there` tells); returns how many.

    What an account may read in the Kubernetes namespace of the operator's Weaviate key cannot
    belong to a Sync of another one, so nothing else removes it.
    """
    where = (settings.weaviate_secret or "").partition("/")[0]
    if not where:
        return 0
    gone = 0
    for binding in client.list(RoleBinding, namespace=where, labels=dict(MANAGED)):
        meta = binding.to_dict()["metadata"]
        owner = (meta.get("annotations") or {}).get(OWNER)
        if owner is None or there(*owner.split("/", 1)):
            continue
        client.delete(RoleBinding, meta["name"], namespace=where)
        gone += 1
    return gone


def drop_keys(client: Client, settings: Settings) -> int:
    """Takes back all that was lent, and the Role for it; returns from how many."""
    where, _, key = (settings.weaviate_secret or "").partition("/")
    if not where:
        return 0
    gone = sweep_keys(client, settings, lambda _namespace, _sync: False)
    try:
        client.delete(Role, _key_role(key), namespace=where)
    except ApiError as error:
        if error.status.code != 404:
            raise
    return gone


def _key_role(key: str) -> str:
    return short(f"telecine-key-{key}", 63)


def _lend_key(client: Client, step: Step, where: str, key: str, account: str) -> None:
    """Lets a Sync's account read the one Secret with the operator's Weaviate key."""
    role = _key_role(key)
    meta = {"name": role, "namespace": where, "labels": dict(MANAGED)}
    _apply(client, Role, {"metadata": meta, "rules": [_rule("", "secrets", [key], "get")]})
    digest = hashlib.sha256(f"{step.namespace}/{step.sync}".encode()).hexdigest()[:10]
    meta = {
        "name": f"{role[:52]}-{digest}",
        "namespace": where,
        "labels": dict(MANAGED),
        "annotations": {OWNER: f"{step.namespace}/{step.sync}"},
    }
    grant = _grant(role, account, step.namespace)
    _apply(client, RoleBinding, {"metadata": meta, **grant})


def _rule(group: str, resource: str, names: list[str], *verbs: str) -> Body:
    return {
        "apiGroups": [group],
        "resources": [resource],
        "resourceNames": names,
        "verbs": list(verbs),
    }


def _grant(role: str, account: str, namespace: str) -> Body:
    return {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }


def _apply(client: Client, kind: Any, body: Body) -> None:
    client.apply(kind.from_dict(body), force=True)
