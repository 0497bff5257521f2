"""Benchmarks run on the same real API server, Weaviate and S3 server as the integration tests."""

from __future__ import annotations

from tests.integration.conftest import (
    cluster,
    environment,
    environments,
    kube_namespace,
    operator_env,
    weaviate,
)

__all__ = ["cluster", "environment", "environments", "kube_namespace", "operator_env", "weaviate"]
