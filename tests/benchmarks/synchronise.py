"""A process that runs the sync step over a made-up source, and prints its own peak memory.

`synchronise.py ENDPOINT GRPC_PORT TENANT COUNT` does it once and prints one line of JSON: assets
listed, added and kept, and `VmHWM`, the largest resident size, in bytes.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from telecine.api.bucket import BucketSpec
from telecine.api.namespace import FeatureExtractor
from telecine.api.sync import SyncSpec
from telecine.index.client import WeaviateSettings, open_index
from telecine.planning.identity import owner_id, recipe
from telecine.planning.types import Asset
from telecine.workers.protocol import Job
from telecine.workers.sync import run_sync

PAGE = 1000


class Endless:
    """A source of so many assets, each listed as S3 would."""

    unversioned: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, count: int) -> None:
        self.count = count

    def check(self, source_path: str = "") -> str:
        return f"{self.count} assets"

    def list(self, source_path: str) -> Iterator[list[Asset]]:
        for start in range(0, self.count, PAGE):
            yield [made(number) for number in range(start, min(start + PAGE, self.count))]

    def describe(self, asset: Asset, fields: frozenset[str] = frozenset()) -> Asset:
        raise NotImplementedError("no rule of the benchmark asks for it")

    def open(self, asset: Asset) -> contextlib.AbstractContextManager[BinaryIO]:
        raise NotImplementedError("nothing is extracted")


def made(number: int) -> Asset:
    key, etag = f"videos/{number // 1000:04d}/reel {number:07d}.mp4", f"{number:032x}"
    metadata: Mapping[str, Any] = {"bucket": "archive", "key": key, "size": number, "etag": etag}
    return Asset(key, key, number, 1.7e9, f"{etag}-{number}", etag, "video/mp4", metadata, True)


class Silent:
    """A Guard that never loses and a Reporter to whom nothing matters."""

    def check(self) -> None:
        return

    def activity(self, text: str, plan: object = None, *, unindexed: int = 0) -> None:
        return

    def planned(self, *_: object) -> None:
        return

    def shard(self, progress: object, *, final: bool = False) -> None:
        return


def peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def main(endpoint: str, grpc_port: str, tenant: str, count: str) -> None:
    with open_index(WeaviateSettings(endpoint, grpc_port=int(grpc_port))) as index:
        job = Job(
            kube_namespace="media",
            sync_name="archive",
            sync=SyncSpec.model_validate(
                {"bucketRef": {"name": "films"}, "connectionRef": {"name": "store"}}
            ),
            bucket_name="films",
            bucket=BucketSpec.model_validate(
                {"namespaceRef": {"name": "library"}, "blobType": "video"}
            ),
            connection_name="store",
            namespace_name="library",
            tenant=tenant,
            owner=owner_id("", "media", "films"),
            recipes=(recipe(FeatureExtractor(name="text_extractor")),),
            run="1.1",
            provider=Endless(int(count)),
            index=index,
        )
        before = peak_bytes()
        plan = run_sync(job, Silent(), Silent(), contextlib.nullcontext)
    figures = {"listed": plan.listed, "add": plan.add, "keep": plan.keep, "retry": plan.retry}
    print(json.dumps(figures | {"before": before, "peak": peak_bytes()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
