"""What users of such systems complain about most; each complaint is a test by that name.

A test passes when the complaint has no cause here.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from telecine.api.connection import ConnectionSpec
from telecine.dev.s3 import ACCESS_KEY, SECRET_KEY, S3Server
from telecine.execution import lease
from telecine.index.search import Mode
from telecine.planning.types import Asset, Document
from telecine.providers.base import ProviderError
from telecine.providers.registry import create
from telecine.workers.extract import run_extract
from telecine.workers.fetch import fetch
from telecine.workers.protocol import FuseTrippedError, RunLostError
from telecine.workers.sync import run_sync

from tests.integration.conftest import Cluster
from tests.integration.harness import (
    PRIDE,
    RABBIT,
    TOOLS,
    WHALE,
    Free,
    Recorder,
    World,
    idle,
)
from tests.support import eventually


def test_deletes_that_never_arrive(world: World) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        world.write(name, f"{PRIDE} {name}")
    world.run()
    (world.folder / "b.txt").unlink()
    ran = world.run()
    assert (ran.plan.unindex, ran.unindexed) == (1, 1)
    assert idle(ran)
    world.assert_whole({"a.txt", "c.txt"})


class Interrupted:
    """A provider whose listing fails after its first asset."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def list(self, source_path: str) -> Iterator[list[Asset]]:
        for page in self._inner.list(source_path):
            yield page[:1]
            raise ProviderError("SourceUnavailable", "the connection was reset half way")


def test_a_mass_delete_after_a_short_listing(world: World) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        world.write(name, f"{PRIDE} {name}")
    world.run()
    broken = replace(world, provider=Interrupted(world.provider))
    with pytest.raises(ProviderError, match="half way"):
        broken.run(deleteLimitPercent=100)
    world.assert_whole({"a.txt", "b.txt", "c.txt"})


def test_a_mass_delete_after_an_empty_listing(world: World) -> None:
    names = {f"{n}.txt" for n in range(4)}
    for name in names:
        world.write(name, f"{PRIDE} {name}")
    world.run()
    for name in names:
        (world.folder / name).unlink()
    with pytest.raises(FuseTrippedError, match="approve-unindex=") as tripped:
        world.run()
    assert "4 of 4" in str(tripped.value)
    world.assert_whole(names)
    with pytest.raises(FuseTrippedError):
        world.run(approved="another digest")
    digest = tripped.value.summary.digest
    assert digest is not None
    assert digest in str(tripped.value)
    assert world.run(approved=digest).unindexed == 4
    world.assert_whole(set())


def test_identity_by_content_hash_so_that_two_equal_files_are_one(world: World) -> None:
    world.write("a.txt", WHALE)
    world.write("b.txt", WHALE)
    world.run()
    world.assert_whole({"a.txt", "b.txt"})
    (world.folder / "a.txt").unlink()
    world.run()
    world.assert_whole({"b.txt"})
    assert world.search("Ishmael", Mode.KEYWORD)[0].path == "b.txt"


def test_one_failure_that_embeds_everything_again(world: World) -> None:
    world.write("good.txt", WHALE)
    world.write("empty.txt", "")
    ran = world.run()
    assert (ran.progress.extracted, ran.progress.failed) == (1, 1)
    record = world.record("empty.txt")
    assert record is not None
    assert (record.state, record.reason, record.dead_letter) == ("FAILED", "EmptyContent", True)
    again = world.run()
    assert idle(again)
    assert again.plan.dead == 1
    world.write("empty.txt", PRIDE)
    assert world.run().progress.extracted == 1
    world.assert_whole({"good.txt", "empty.txt"})


class Flaky:
    """A provider that cannot read one asset."""

    def __init__(self, inner: Any, path: str) -> None:
        self._inner, self._path, self.broken = inner, path, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def open(self, asset: Asset) -> Any:
        if self.broken and asset.path == self._path:
            raise ProviderError("ReadFailed", "the disk said no", asset_only=True)
        return self._inner.open(asset)


def test_failed_items_shown_as_green_and_never_retried(world: World) -> None:
    flaky = Flaky(world.provider, "b.txt")
    limits = replace(world.limits, asset_attempts=3)
    sick = replace(world, provider=flaky, limits=limits)
    world.write("a.txt", WHALE)
    world.write("b.txt", RABBIT)
    assert sick.run().progress.failed == 1
    for attempt in (1, 2):
        record = world.record("b.txt")
        assert record is not None
        assert (record.attempts, record.dead_letter) == (attempt, False)
        assert sick.run().plan.retry == 1
    record = world.record("b.txt")
    assert record is not None
    assert record.dead_letter
    assert "the disk said no" in record.message
    assert sick.run().plan.dead == 1
    flaky.broken = False
    assert sick.run().plan.retry == 0
    world.write("b.txt", RABBIT + " again")
    assert sick.run().progress.extracted == 1
    world.assert_whole({"a.txt", "b.txt"})


def test_fewer_chunks_after_a_change_and_the_old_ones_still_found(
    world: World,
) -> None:
    world.write("a.txt", "\n\n".join(f"{WHALE} Paragraph {n}." for n in range(60)))
    world.run()
    before = world.record("a.txt")
    assert before is not None
    assert before.documents > 3
    world.write("a.txt", RABBIT)
    world.run()
    after = world.record("a.txt")
    assert after is not None
    assert after.documents == 1
    world.assert_whole({"a.txt"})


def test_a_metadata_only_change_that_embeds_again_or_wipes_metadata(
    world: World, s3_server: S3Server, s3_bucket: str
) -> None:
    client = s3_server.client()
    spec = {"provider": "s3", "s3": {"bucket": s3_bucket, "endpoint": s3_server.endpoint}}
    secret = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY}
    shelf = replace(world, provider=create(ConnectionSpec.model_validate(spec), secret))
    client.put_object(Bucket=s3_bucket, Key="a.txt", Body=WHALE.encode(), Metadata={"shelf": "sea"})
    assert shelf.run().progress.embeddings == 1
    before = shelf.documents()
    time.sleep(1.1)  # S3 tells times in whole seconds, and only a later one is a change
    client.copy_object(
        Bucket=s3_bucket, Key="a.txt", CopySource={"Bucket": s3_bucket, "Key": "a.txt"},
        Metadata={"shelf": "whales"}, MetadataDirective="REPLACE",
    )  # fmt: skip
    ran = shelf.run()
    assert (ran.plan.change, idle(ran)) == (1, True)
    assert shelf.documents() == before
    hit = shelf.search("Ishmael", Mode.KEYWORD, filters={"metadata.shelf": "whales"})[0]
    assert hit.source_metadata["metadata"] == {"shelf": "whales"}
    assert hit.source_metadata["key"] == "a.txt"
    assert shelf.run().plan.keep == 1


def test_stuck_locks(cluster: Cluster, kube_namespace: str) -> None:
    client, name = cluster.client(), lease.sync_lease("films")
    assert lease.take(client, name, kube_namespace, "1.1", 1)
    assert not lease.take(client, name, kube_namespace, "2.1", 1)
    # Its holder was killed and never gives it back.
    eventually(lambda: lease.take(client, name, kube_namespace, "2.1", 1), timeout=10)


def test_slow_mistaken_for_stuck(cluster: Cluster, kube_namespace: str) -> None:
    client, name = cluster.client(), lease.sync_lease("films")
    assert lease.take(client, name, kube_namespace, "1.1", 1)
    with lease.HeldLease(client, name, kube_namespace, "1.1", 1) as held:
        end = time.monotonic() + 3
        while time.monotonic() < end:  # one batch that takes three times the lease
            assert not lease.take(client, name, kube_namespace, "2.1", 1)
            held.check()
        assert lease.take(client, name, kube_namespace, "2.1", 1, force=True)
        with pytest.raises(RunLostError):
            eventually(lambda: held.check() or False, timeout=5)


def test_resume_cursors_that_loop(world: World) -> None:
    names = {f"{n:03}.txt" for n in range(25)}
    for name in names:
        world.write(name, f"{PRIDE} {name}")
    for _ in range(3):  # each attempt dies after its sync step; the next begins from the start
        run_sync(world.job(), Free(), Recorder(), Unlocked)
    ran = world.run()
    assert (ran.plan.retry, ran.progress.extracted) == (25, 25)
    world.assert_whole(names)
    assert idle(world.run())


class Unlocked:
    """Nobody else is there to lock out."""

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        return


def test_batch_errors_swallowed_by_the_vector_client(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write("first.txt", PRIDE)
    world.run()
    extractor = TOOLS.tool(world.recipes[0]).extractor
    embed = extractor.embed

    def short(documents: Sequence[Document]) -> None:
        embed(documents)
        for document in documents:
            if "Ishmael" in document.text:
                document.vectors = {"text": [1.0, 0.0, 0.0]}

    monkeypatch.setattr(extractor, "embed", short)
    world.write("good.txt", RABBIT)
    world.write("refused.txt", WHALE)
    world.run()
    records = world.records()
    assert records["good.txt"].state == "COMPLETED"
    refused = records["refused.txt"]
    assert (refused.state, refused.reason) == ("FAILED", "IndexRefused")
    assert "vector" in refused.message.lower()
    monkeypatch.undo()
    world.run()
    world.assert_whole({"first.txt", "good.txt", "refused.txt"})


def test_memory_with_large_videos(world: World, tmp_path: Path) -> None:
    size = 256 << 20
    with (world.folder / "film.txt").open("wb") as file:
        file.truncate(size)
    run_sync(world.job(), Free(), Recorder(), Unlocked)
    (record,) = world.records().values()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fetched = fetch(record, world.job(), tmp_path, frozenset())
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert fetched.size == size
    assert grown < 32 << 10, f"{grown} KiB more for a file of {size >> 10} KiB"
    fetched.discard()


def test_a_run_that_is_lost_writes_nothing_more(world: World) -> None:
    class Lost:
        def check(self) -> None:
            raise RunLostError("the lease is another worker's")

    world.write("a.txt", WHALE)
    recorder = Recorder()
    run_sync(job := world.job(), Free(), recorder, Unlocked)
    with pytest.raises(RunLostError):
        run_extract(job, range(recorder.chunks), Lost(), recorder, TOOLS)
    assert not world.documents()
