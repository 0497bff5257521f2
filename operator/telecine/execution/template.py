"""Strategic merge of Pod templates, as `kubectl patch` does it.

Maps are merged, lists are replaced, null removes; lists whose elements have a key of their own are
merged by it, and `$patch: delete` or `replace` do what they say (Kubernetes' page "Update API
Objects in Place Using kubectl patch"; the keys are `x-kubernetes-patch-merge-key` in its OpenAPI).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from telecine.api.base import JobTemplate

Body = dict[str, Any]
WORKER = "worker"
"""The name of a worker's container."""

_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
    "schedulingGates": "name",
}


def strategic_merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> Body:
    """A new map: `base` as `patch` changes it. Neither is changed.

    Raises:
        ValueError: an element of a keyed list lacks its key; names the list and the key.
    """
    if patch.get("$patch") == "replace":
        return {k: v for k, v in patch.items() if k != "$patch"}
    merged = dict(base)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = strategic_merge(below if isinstance(below, Mapping) else {}, value)
        elif isinstance(value, list) and key in _KEYS:
            merged[key] = _merge_list(key, merged.get(key) or [], value)
        else:
            merged[key] = value
    return merged


def _merge_list(name: str, base: list[Any], patch: list[Any]) -> list[Any]:
    key = _KEYS[name]
    if {"$patch": "replace"} in patch:
        return [item for item in patch if item != {"$patch": "replace"}]
    merged = {_key(name, key, item): item for item in base}
    for item in patch:
        ident = _key(name, key, item)
        if item.get("$patch") == "delete":
            merged.pop(ident, None)
        else:
            merged[ident] = strategic_merge(merged.get(ident, {}), item)
    return list(merged.values())


def _key(name: str, key: str, item: Any) -> Any:
    if not isinstance(item, Mapping) or key not in item:
        raise ValueError(f"an element of {name} has no {key}")
    return item[key]


def template_patch(template: JobTemplate | None, container: str | None = WORKER) -> Body:
    """What a `jobTemplate` changes in the Pod template of a Sync's Jobs.

    Args:
        container: whose its `resources` are; None: of none in this Pod.
    """
    if template is None:
        return {}
    spec: Body = {
        "nodeSelector": template.node_selector,
        "tolerations": template.tolerations,
        "runtimeClassName": template.runtime_class_name,
        "priorityClassName": template.priority_class_name,
    }
    spec = {key: value for key, value in spec.items() if value is not None}
    if template.resources is not None and container is not None:
        where = "containers" if container == WORKER else "initContainers"
        spec[where] = [{"name": container, "resources": template.resources}]
    return {"spec": spec}
