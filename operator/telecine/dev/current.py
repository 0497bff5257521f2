"""`telecine dev up --cluster current`: a cluster and a Weaviate that somebody else runs."""

from __future__ import annotations

import os

import httpx2
from lightkube import Client, ConfigError

from telecine.dev.crds import apply_crds

_TIMEOUT_SECONDS = 10.0


class CurrentError(Exception):
    """The cluster or Weaviate cannot be used; `str()` says which and why."""


def use_current(weaviate: str) -> str:
    """Checks the kubeconfig's cluster and a Weaviate, applies the CRDs, and tells what it found.

    Weaviate's API key is `TELECINE_WEAVIATE_API_KEY`. Nothing is started.

    Raises:
        CurrentError: one of them is not there or refuses.
    """
    found = _weaviate(weaviate.rstrip("/"))
    try:
        with Client(field_manager="telecine-dev") as client:
            server = client.config.cluster.server
            apply_crds(client)
    except ConfigError as error:
        raise CurrentError(f"no usable kubeconfig: {error}") from error
    except (httpx2.HTTPError, OSError) as error:
        raise CurrentError(f"the kubeconfig's cluster: {error}") from error
    return f"{server} and {found}"


def _weaviate(url: str) -> str:
    key = os.environ.get("TELECINE_WEAVIATE_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx2.get(f"{url}/v1/meta", headers=headers, timeout=_TIMEOUT_SECONDS)
        answer.raise_for_status()
        return f"Weaviate {answer.json()['version']} at {url}"
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise CurrentError(f"Weaviate at {url}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CurrentError(f"{url} answers, but not as a Weaviate does") from error
