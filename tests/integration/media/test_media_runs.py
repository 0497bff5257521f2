"""Pictures, sound and film: real decoding, real models, real Weaviate."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from telecine.api.bucket import BucketSpec
from telecine.api.namespace import FeatureExtractor
from telecine.dev.media.filming import Sentence, Shot, Style, film, sound
from telecine.dev.media.photos import Change, changed, photograph, text_picture
from telecine.execution.search import Query
from telecine.execution.search import search as find
from telecine.extractors.hearing import Hearing
from telecine.index.client import WeaviateSettings
from telecine.index.fusion import Moment
from telecine.workers.extract import run_extract
from telecine.workers.protocol import Guard, RunLostError
from telecine.workers.sync import run_sync
from telecine.workers.toolset import collection_of

from tests.integration.harness import TOOLS, Free, Recorder, World, idle, make_world

SCHEMA = {
    "namespaceRef": {"name": "library"},
    "schema": {
        "properties": {
            "film": {"type": "video"},
            "sound": {"type": "audio"},
            "picture": {"type": "image"},
            "text": {"type": "text"},
        }
    },
}
HARBOUR = "The lighthouse keeper lit the lamp before the storm reached the harbour."
BREAD = "She baked seven loaves of bread for the market on Saturday morning."
TRAIN = "The night train to Vienna leaves from platform nine at a quarter past ten."


def library(weaviate: WeaviateSettings, folder: Path, **parameters: Any) -> Any:
    folder.mkdir(exist_ok=True)
    extractor = FeatureExtractor(name="multimodal_extractor", parameters=parameters)
    bucket = BucketSpec.model_validate(SCHEMA)
    return make_world(weaviate, folder, extractors=(extractor,), bucket=bucket)


def look_up(world: World, text: str | None = None, picture: Any = None) -> list[Moment]:
    serving = [(recipe, collection_of(recipe).name) for recipe in world.recipes]
    return find(world.index, world.tenant, serving, Query(text, picture, limit=5))


def properties(world: World, name: str) -> list[dict[str, Any]]:
    """All documents of an object, in order."""
    record, (recipe,) = world.record(name), world.recipes
    assert record is not None
    store = world.index.documents(world.tenant, collection_of(recipe).name)
    return store.leading(record.id, record.content_hash, recipe.key)


@pytest.fixture(scope="module")
def shelf(weaviate: WeaviateSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A library of a film, a sound, pictures and a text, extracted once."""
    folder = tmp_path_factory.mktemp("media") / "source"
    with library(weaviate, folder) as world:
        film(
            folder / "harbour.mp4",
            [
                Shot(photograph("rocket"), 10),
                Shot(photograph("coffee"), 10),
                Shot(photograph("cat"), 10),
            ],
            [Sentence(HARBOUR, 2.0), Sentence(BREAD, 12.5), Sentence(TRAIN, 21.5)],
            Style(size=(640, 480)),
        )
        sound(folder / "station.mp3", [Sentence(TRAIN, 3.0)], 12.0)
        text_picture("PLATFORM CLOSED\nUSE THE NORTH EXIT").save(folder / "sign.png")
        photograph("astronaut").save(folder / "astronaut.jpg")
        photograph("clock").save(folder / "clock.jpg")
        world.write("notes.txt", "The museum opens its archive of posters to the public in May.")
        ran = world.run()
        assert ran.progress.failed == 0, {n: r.message for n, r in world.records().items()}
        world.features = ran.progress.features  # type: ignore[attr-defined]
        yield world


def test_a_spoken_sentence_is_found_at_its_second(shelf: World) -> None:
    best = look_up(shelf, "who kept the light burning for ships in bad weather")[0]
    assert best.hit.path == "harbour.mp4"
    assert best.reasons[0].why == "said"
    assert best.time == pytest.approx(2.0, abs=1.0)
    best = look_up(shelf, "loaves of bread")[0]
    assert best.time == pytest.approx(12.5, abs=1.0)


def test_a_segment_has_its_sentences_words_and_language(shelf: World) -> None:
    documents = properties(shelf, "harbour.mp4")
    segments = [d for d in documents if d["kind"] == "segment"]
    assert [(d["start_time"], d["end_time"]) for d in segments] == [(0, 10), (10, 20), (20, 30)]
    assert [d["language"] for d in segments] == ["en"] * 3
    assert "storm" in segments[0]["transcription"]
    words = json.loads(segments[0]["words"])
    assert all(0 <= start <= end <= 10 for start, end, _ in words)
    assert [d["kind"] for d in documents].count("whole") == 1
    whole = documents[-1]
    assert (whole["kind"], round(whole["duration"])) == ("whole", 30)
    assert "bread" in whole["transcription"]


def test_key_frames_have_their_seconds_and_a_thumbnail(shelf: World) -> None:
    frames = [d for d in properties(shelf, "harbour.mp4") if d["kind"] == "frame"]
    assert [round(d["time"]) for d in frames] == [0, 10, 20]
    assert all(d["thumbnail"].startswith("/9j/") for d in frames)


def test_a_word_seen_in_a_picture_is_found(shelf: World) -> None:
    best = look_up(shelf, "which exit can I use, the platform is closed")[0]
    assert best.hit.path == "sign.png"
    assert best.reasons[0].why == "seen written"


def test_a_picture_finds_its_like_in_pictures_and_films(shelf: World) -> None:
    copy = changed(photograph("astronaut"), Change(left=0.1, top=0.05, share=0.8, scale=0.5))
    best = look_up(shelf, picture=np.asarray(copy))[0]
    assert (best.hit.path, best.reasons[0].why) == ("astronaut.jpg", "looks like")
    copy = changed(photograph("coffee"), Change(left=0.1, top=0.1, share=0.8, brightness=1.2))
    best = look_up(shelf, picture=np.asarray(copy))[0]
    assert best.hit.path == "harbour.mp4"
    assert best.time == pytest.approx(10, abs=1)


def test_sound_and_text_are_found_beside_films(shelf: World) -> None:
    paths = [m.hit.path for m in look_up(shelf, "a train to Vienna at night")]
    assert set(paths[:2]) == {"station.mp3", "harbour.mp4"}
    best = look_up(shelf, "archive of posters")[0]
    assert (best.hit.path, best.reasons[0].why) == ("notes.txt", "says")


def test_which_features_are_on_and_off_is_told(shelf: World) -> None:
    told = shelf.features  # type: ignore[attr-defined]
    assert told["multimodal_extractor.transcription"] == "on"
    assert told["multimodal_extractor.ocr"] == "on"
    if told["multimodal_extractor.visual"] != "on":
        assert told["multimodal_extractor.visual"].startswith("off: ")
        assert told["multimodal_extractor.likeness"] == "on"


def test_a_second_run_is_idle(shelf: World) -> None:
    assert idle(shelf.run())


class Killed(Guard):
    """Lets a worker live until it has checked so many times."""

    def __init__(self, checks: int) -> None:
        self.checks = checks

    def check(self) -> None:
        self.checks -= 1
        if self.checks < 0:
            raise RunLostError("killed")


def test_a_killed_worker_does_not_start_a_long_film_again(
    weaviate: WeaviateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from telecine.extractors import hearing
    from telecine.workers import extract

    monkeypatch.setattr(hearing, "_PIECE", 20)
    monkeypatch.setattr(hearing, "_SEARCH", 4)
    monkeypatch.setattr(extract, "_FLUSH_SECONDS", 0.0)
    heard: list[float] = []
    transcribe = Hearing._transcribe

    def counted(self: Hearing, length: int) -> None:
        known = self._known_until
        transcribe(self, length)
        if self.until > known:
            heard.append(self.until)

    monkeypatch.setattr(Hearing, "_transcribe", counted)
    with library(weaviate, tmp_path / "source", run_ocr=False) as world:
        sentences = [
            Sentence(f"Here begins part number {n} of a very long film.", 10.0 * n + 2)
            for n in range(9)
        ]
        shots = [Shot(photograph(n), 10) for n in ("rocket", "cat", "coffee") * 3]
        film(tmp_path / "source" / "long.mp4", shots, sentences, Style(size=(320, 240)))
        job, recorder = world.job(), Recorder()
        run_sync(job, Free(), recorder, contextlib.nullcontext)
        with pytest.raises(RunLostError):
            run_extract(job, range(recorder.chunks), Killed(14), Recorder(), TOOLS)
        first = list(heard)
        assert 0 < len(first) < 5, first
        heard.clear()
        run_extract(job, range(recorder.chunks), Free(), recorder, TOOLS)
        assert "long.mp4: 0:01:30 of 0:01:30" in recorder.activities, "no progress within the film"
        assert heard[0] > first[0], "what was heard before the kill was heard again"
        assert len(heard) < 5
        world.assert_whole({"long.mp4"})
        segments = [d for d in properties(world, "long.mp4") if d["kind"] == "segment"]
        assert len(segments) == 9
        for number, segment in enumerate(segments):
            assert "long film" in segment["transcription"].lower(), number
        whole = properties(world, "long.mp4")[-1]
        assert whole["transcription"].lower().count("long film") == 9


def test_captions_in_the_file_are_used_instead_of_transcribing(
    weaviate: WeaviateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from telecine.dev.media.filming import Subtitle

    monkeypatch.setattr(Hearing, "_transcribe", lambda *_: pytest.fail("it was transcribed"))
    with library(weaviate, tmp_path / "source") as world:
        film(
            tmp_path / "source" / "subtitled.mkv",
            [Shot(photograph("cat"), 20)],
            [Sentence(BREAD, 2.0)],
            Style(size=(320, 240)),
            subtitles=[
                Subtitle(2.0, 6.0, "She baked seven loaves."),
                Subtitle(12, 15, "Good bye."),
            ],
        )
        assert world.run().progress.failed == 0
        segments = [d for d in properties(world, "subtitled.mkv") if d["kind"] == "segment"]
        assert [d["transcription"] for d in segments] == ["She baked seven loaves.", "Good bye."]
        assert segments[0]["language"] == "en"


def test_a_changed_film_leaves_none_of_its_old_documents(
    weaviate: WeaviateSettings, tmp_path: Path
) -> None:
    with library(weaviate, tmp_path / "source", run_ocr=False) as world:
        path, style = tmp_path / "source" / "film.mp4", Style(size=(320, 240))
        shots = [Shot(photograph("cat"), 12), Shot(photograph("coffee"), 12)]
        film(path, shots, [Sentence(BREAD, 2.0)], style)
        before = world.run().progress.documents
        time.sleep(0.01)  # a file system's clock tells these two apart
        film(path, shots[:1], [Sentence(HARBOUR, 2.0)], style)
        after = world.run().progress.documents
        assert after < before
        world.assert_whole({"film.mp4"})
        assert "harbour" in properties(world, "film.mp4")[-1]["transcription"].lower()
