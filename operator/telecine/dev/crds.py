"""Applies the CRDs of the five kinds to a cluster."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, cast

import yaml
from lightkube import Client
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
        TimeoutError: one is not Established after `seconds`.
    """
    names = []
    for body in bodies():
        crd = cast("CustomResourceDefinition", CustomResourceDefinition.from_dict(body))
        client.apply(crd, field_manager="telecine-dev", force=True)
        names.append(body["metadata"]["name"])
    deadline = time.monotonic() + seconds
    while names:
        found = client.get(CustomResourceDefinition, names[0])
        conditions = (found.status.conditions if found.status else None) or []
        if any(c.type == "Established" and c.status == "True" for c in conditions):
            names.pop(0)
        elif time.monotonic() > deadline:
            raise TimeoutError(f"CRD {names[0]} was not established in {seconds:.0f} s")
        else:
            time.sleep(0.05)
