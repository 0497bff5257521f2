"""Applies the CRDs of the five kinds to a cluster."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, cast

import yaml
from lightkube import ApiError, Client
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition

from telecine.api.crds import definitions

_ESTABLISHED_SECONDS = 30.0


def bodies() -> list[dict[str, Any]]:
    """The CRDs as the models define them; or those in the YAML files of `TELECINE_CRDS`.

    Raises:
        FileNotFoundError: that folder has no YAML files.
    """
    folder = os.environ.get("TELECINE_CRDS")
    if not folder:
        return definitions()
    found = [
        body
        for path in sorted(Path(folder).glob("*.yaml"))
        for body in yaml.safe_load_all(path.read_text())
        if body
    ]
    if not found:
        raise FileNotFoundError(f"TELECINE_CRDS: there are no *.yaml files in {folder}")
    return found


def apply_crds(client: Client, seconds: float = _ESTABLISHED_SECONDS) -> None:
    """Applies them server-side and returns when they are served.

    Raises:
        lightkube.ApiError: the API server refuses one.
        TimeoutError: one is not served after `seconds`.
    """
    waiting = bodies()
    for body in waiting:
        crd = cast("CustomResourceDefinition", CustomResourceDefinition.from_dict(body))
        client.apply(crd, field_manager="telecine-dev", force=True)
    deadline = time.monotonic() + seconds
    while waiting:
        if _established(client, waiting[0]) and _served(client, waiting[0]):
            waiting.pop(0)
        elif time.monotonic() > deadline:
            name = waiting[0]["metadata"]["name"]
            raise TimeoutError(f"CRD {name} was not served in {seconds:.0f} s")
        else:
            time.sleep(0.05)


def _established(client: Client, crd: dict[str, Any]) -> bool:
    found = client.get(CustomResourceDefinition, crd["metadata"]["name"])
    conditions = (found.status.conditions if found.status else None) or []
    return any(c.type == "Established" and c.status == "True" for c in conditions)


def _served(client: Client, crd: dict[str, Any]) -> bool:
    """For a moment after it is Established, a kind is not found or its storage not ready."""
    spec = crd["spec"]
    names, version = spec["names"], spec["versions"][0]["name"]
    kind = create_namespaced_resource(spec["group"], version, names["kind"], names["plural"])
    try:
        list(client.list(kind, namespace="default"))
    except ApiError as error:
        if error.status.code not in (404, 429):
            raise
        return False
    return True
