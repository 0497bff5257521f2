"""A film of two hours: extracted in bounded memory, killed half way, and resumed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from telecine.api.bucket import BucketSpec
from telecine.api.namespace import FeatureExtractor
from telecine.dev.media.filming import Sentence, Shot, Style, film, repeat
from telecine.dev.media.photos import photograph
from telecine.extractors.hearing import Hearing
from telecine.index.client import WeaviateSettings
from telecine.workers.extract import run_extract
from telecine.workers.protocol import Guard, Job, RunLostError
from telecine.workers.sync import run_sync
from telecine.workers.toolset import collection_of

from tests.benchmarks.measure import scaled, tell
from tests.integration.harness import TOOLS, Free, Recorder, World, make_world


class Peak:
    """The most memory that this process has in a block, whatever it had before (Linux)."""

    def __enter__(self) -> Self:
        Path("/proc/self/clear_refs").write_text("5")
        return self

    def __exit__(self, *_: object) -> None:
        lines = Path("/proc/self/status").read_text().splitlines()
        (told,) = (line for line in lines if line.startswith("VmHWM:"))
        self.mib = int(told.split()[1]) / 1024


@pytest.fixture
def world(weaviate: WeaviateSettings, tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "source"
    folder.mkdir()
    bucket = BucketSpec.model_validate({"namespaceRef": {"name": "library"}, "blobType": "video"})
    extractor = FeatureExtractor(name="multimodal_extractor", parameters={"run_ocr": False})
    with make_world(weaviate, folder, extractors=(extractor,), bucket=bucket) as made:
        yield made


def scene(folder: Path) -> Path:
    """Two minutes with two sentences."""
    shots = [Shot(photograph(n), 30) for n in ("rocket", "cat", "coffee", "astronaut")]
    said = [
        Sentence("The lighthouse keeper lit the lamp before the storm.", 10.0),
        Sentence("The night train leaves from platform nine.", 70.0),
    ]
    path = folder / "scene.mp4"
    film(path, shots, said, Style(size=(640, 360)))
    return path


class KilledAt(Guard):
    """Ends the worker when so many documents are in the index."""

    def __init__(self, world: World, documents: int) -> None:
        self.world, self.documents = world, documents
        (recipe,) = world.recipes
        self.store = world.index.documents(world.tenant, collection_of(recipe).name)

    def check(self) -> None:
        if self.store.count() >= self.documents:
            raise RunLostError("killed")


def planned(world: World) -> tuple[Job, int]:
    job, recorder = world.job(deleteLimitPercent=100), Recorder()
    run_sync(job, Free(), recorder, contextlib.nullcontext)
    return job, recorder.chunks


def test_two_hours_in_bounded_memory_killed_half_way_and_resumed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[float] = []
    transcribe = Hearing._transcribe

    def counted(self: Hearing, length: int) -> None:
        transcribe(self, length)
        if self.until > self._known_until:
            heard.append(self.until)

    monkeypatch.setattr(Hearing, "_transcribe", counted)
    source, times = scene(tmp_path), scaled(60, 8)
    short = world.folder / "short.mp4"
    repeat(source, short, 5)
    job, chunks = planned(world)
    with Peak() as before:
        run_extract(job, range(chunks), Free(), Recorder(), TOOLS)
    short.unlink()
    seconds = repeat(source, world.folder / "long.mp4", times) * times
    job, chunks = planned(world)
    heard.clear()
    began = time.perf_counter()
    with pytest.raises(RunLostError), Peak() as until_killed:
        run_extract(job, range(chunks), KilledAt(world, int(seconds / 20)), Recorder(), TOOLS)
    first, killed = time.perf_counter() - began, list(heard)
    heard.clear()
    began = time.perf_counter()
    with Peak() as resumed:
        run_extract(job, range(chunks), Free(), Recorder(), TOOLS)
    second = time.perf_counter() - began
    after = max(until_killed.mib, resumed.mib)
    world.assert_whole({"long.mp4"})
    tell(
        f"a film of {seconds / 3600:.1f} h",
        until_killed=f"{first:.0f} s",
        heard=f"{killed[-1]:.0f} s of sound",
        resumed=f"{second:.0f} s",
        heard_anew=f"from {heard[0]:.0f} s on",
    )
    tell(
        "peak memory, ten minutes and then the whole",
        worker=f"{before.mib:.0f} and {after:.0f} MiB",
        goal="flat",
    )
    # What waits to be written, twenty seconds of work at most, is lost.
    assert heard[0] > seconds / 4, "what was written was heard again"
    assert after - before.mib < 150
