"""Fetching ahead: in order, and within the scratch space."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import pytest
from telecine.planning.types import Asset, ObjectRecord, SideCaptions
from telecine.providers.base import ProviderError
from telecine.workers.fetch import fetch_ahead
from telecine.workers.protocol import Limits

KIB = 1024


class Source:
    """Gives each asset as many bytes as its id says."""

    def describe(self, asset: Asset, fields: frozenset[str]) -> Asset:
        return asset

    def captions(self, asset: Asset) -> SideCaptions | None:
        if asset.path.startswith("unreadable"):
            raise ProviderError("AccessDenied", "no", asset_only=True)
        return SideCaptions("WEBVTT\n", "en") if asset.path.startswith("captioned") else None

    @contextmanager
    def open(self, asset: Asset) -> Iterator[BinaryIO]:
        yield io.BytesIO(b"x" * int(asset.id))


@dataclass
class Job:
    """What fetching needs of a job."""

    limits: Limits
    provider: Any = field(default_factory=Source)


def record(number: int, size: int, told: bool = True) -> ObjectRecord:
    return ObjectRecord(
        id=UUID(int=number), kube_namespace="n", bucket="b", connection="c", asset_id=str(size),
        path=str(number), size=size if told else -1, modified=0, fingerprint="", version="",
        mime_type="",
    )  # fmt: skip


def run(records: list[ObjectRecord], folder: Path, **limits: int) -> tuple[list[str], int]:
    """The paths in the order in which they came, and the most bytes on scratch at any of them."""
    job: Any = Job(Limits(**limits))
    paths, most = [], 0
    for fetched in fetch_ahead(records, job, folder, frozenset()):
        paths.append(fetched.record.path)
        most = max(most, sum(p.stat().st_size for p in folder.iterdir()))
        fetched.discard()
    return paths, most


def test_assets_come_in_order_and_leave_nothing(tmp_path: Path) -> None:
    rng = random.Random(1)
    records = [record(n, rng.randint(0, 64 * KIB)) for n in range(60)]
    paths, _ = run(records, tmp_path)
    assert paths == [str(n) for n in range(60)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("budget", [1, 100 * KIB, 300 * KIB])
def test_scratch_holds_no_more_than_its_budget_or_one_asset(tmp_path: Path, budget: int) -> None:
    rng = random.Random(2)
    sizes = [rng.randint(1, 120 * KIB) for _ in range(80)]
    records = [record(n, size) for n, size in enumerate(sizes)]
    paths, most = run(records, tmp_path, scratch_bytes=budget)
    assert len(paths) == 80
    assert most <= max(budget, max(sizes))


def test_assets_of_unknown_size_are_fetched_too(tmp_path: Path) -> None:
    records = [record(n, 10, told=False) for n in range(9)]
    assert len(run(records, tmp_path, scratch_bytes=KIB)[0]) == 9


@pytest.mark.parametrize(
    ("path", "captions"),
    [("captioned", SideCaptions("WEBVTT\n", "en")), ("plain", None), ("unreadable", None)],
)
def test_captions_come_with_the_content_and_are_done_without_where_they_cannot_be_read(
    tmp_path: Path, path: str, captions: SideCaptions | None
) -> None:
    wanted = replace(record(1, 3), path=path)
    (fetched,) = fetch_ahead([wanted], Job(Limits()), tmp_path, frozenset())  # type: ignore[arg-type]
    assert fetched.error is None
    assert fetched.captions == captions
    fetched.discard()
