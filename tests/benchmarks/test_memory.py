"""The sync worker's peak memory, by the number of assets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from telecine.api.namespace import FeatureExtractor, NamespaceState
from telecine.index.client import WeaviateSettings, open_index
from telecine.index.index import Index
from telecine.planning.identity import bucket_range, recipe
from telecine.planning.types import ObjectState

from tests.benchmarks.measure import scaled, tell

pytestmark = pytest.mark.timeout(1800)
FEW, MANY = scaled(10_000), scaled(100_000)
MIB = 1 << 20
COMPLETED = ObjectState.COMPLETED
RECIPES = [recipe(FeatureExtractor(name="text_extractor")).key]
SCRIPT = Path(__file__).with_name("synchronise.py")


def synchronised(weaviate: WeaviateSettings, tenant: str, count: int) -> dict[str, int]:
    """What a worker process of its own says at its end."""
    done = subprocess.run(
        [sys.executable, SCRIPT, weaviate.endpoint, str(weaviate.grpc_port), tenant, str(count)],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return figures


def complete(index: Index, tenant: str) -> None:
    """Leaves the ledger as extraction would: all rows COMPLETED."""
    ledger = index.ledger(tenant)
    batch = []
    for record in ledger.scan(*bucket_range("media", "films")):
        record.state, record.recipes, record.content_hash = COMPLETED, RECIPES, "0" * 64
        batch.append(record)
        if len(batch) == 5000:
            ledger.insert(batch)
            batch = []
    ledger.insert(batch)


def measured(weaviate: WeaviateSettings, count: int) -> tuple[int, int, int]:
    """Peak bytes before the run, of the first run, and of a run that finds nothing to do."""
    tenant = f"bench-{uuid.uuid4().hex[:12]}"
    with open_index(weaviate) as index:
        index.ensure_schema([])
        index.set_tenant(tenant, NamespaceState.ACTIVE, [])
        first = synchronised(weaviate, tenant, count)
        assert (first["listed"], first["add"]) == (count, count)
        complete(index, tenant)
        second = synchronised(weaviate, tenant, count)
        assert (second["listed"], second["keep"]) == (count, count)
        index.drop_tenant(tenant)
    return first["before"], first["peak"], second["peak"]


def test_the_memory_of_the_sync_worker_by_the_number_of_assets(weaviate: WeaviateSettings) -> None:
    few, many = measured(weaviate, FEW), measured(weaviate, MANY)
    names = ("before it lists", "first run", "run without a change")
    for name, small, large in zip(names, few, many, strict=True):
        tell(
            f"peak memory of the sync worker, {name}",
            **{
                f"{FEW:,} assets": f"{small / MIB:.0f} MiB",
                f"{MANY:,} assets": f"{large / MIB:.0f} MiB",
                "difference": f"{(large - small) / MIB:+.0f} MiB",
                "goal": "flat",
            },
        )
