"""The fixtures of the integration tests, for tests of the whole operator."""

from tests.integration.conftest import (
    cluster,
    environment,
    environments,
    kube_namespace,
    operator_env,
    s3_bucket,
    s3_server,
    weaviate,
)

__all__ = [
    "cluster",
    "environment",
    "environments",
    "kube_namespace",
    "operator_env",
    "s3_bucket",
    "s3_server",
    "weaviate",
]
