"""Film against its bare parts: key frames, transcription, and all of it together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from telecine.api.bucket import BlobType
from telecine.dev.media.filming import Sentence, Shot, Style, film, repeat
from telecine.dev.media.photos import photograph, text_picture
from telecine.extractors.base import Content
from telecine.extractors.hearing import Hearing
from telecine.extractors.media.events import Frame, MediaRequest, Sound
from telecine.extractors.media.limits import MediaLimits
from telecine.extractors.media.reader import read_media
from telecine.extractors.multimodal_extractor import MultimodalExtractor
from telecine.extractors.seeing import same, shrunk
from telecine.extractors.speech import load_speech_model, options

from tests.benchmarks.measure import alternate, compare, scaled, tell

RATE = 16_000
SAYINGS = (
    "The lighthouse keeper lit the lamp before the storm reached the harbour.",
    "She baked seven loaves of bread for the market on Saturday morning.",
    "The night train to Vienna leaves from platform nine at a quarter past ten.",
    "Nobody had crossed the frozen lake since the winter of the great frost.",
    "An old clock in the museum still tells the time of a country that is gone.",
    "The children counted eleven swans on the river below the bridge.",
)


@pytest.fixture(scope="module")
def feature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four minutes of photographs, signs and speech."""
    seconds = scaled(240, 30)
    signs = ("PLATFORM CLOSED", "MIND THE GAP", "Fresh bread every morning")
    pictures: Iterator[Any] = itertools.cycle(
        [photograph(n) for n in ("astronaut", "cat", "coffee", "rocket")]
        + [text_picture(text) for text in signs]
    )
    shots = [Shot(next(pictures), 5) for _ in range(seconds // 5)]
    said = itertools.cycle(SAYINGS)
    sentences = [Sentence(next(said), float(at)) for at in range(1, seconds - 7, 7)]
    path = tmp_path_factory.mktemp("bench") / "feature.mp4"
    film(path, shots, sentences, Style(size=(1280, 720)))
    return path


def bare_sound(path: Path) -> np.ndarray:
    import av

    resampler = av.AudioResampler("flt", "mono", RATE)
    with av.open(str(path)) as container:
        pieces = [
            made.to_ndarray()[0]
            for frame in itertools.chain(container.decode(audio=0), [None])
            for made in resampler.resample(frame)
        ]
    return np.concatenate(pieces).astype(np.float32)


@pytest.mark.parametrize("group", [10, 2], ids="group of {} s".format)
def test_key_frames_against_a_full_decode(tmp_path: Path, group: int) -> None:
    """Goal: at least ten times as fast, at the group of pictures that x264 makes by itself (250
    frames), and at a bit rate such as films have. Streaming services cut every two seconds."""
    import av

    minute, path = tmp_path / "minute.mp4", tmp_path / "hd.mp4"
    subjects = ("astronaut", "cat", "coffee", "rocket")
    shots = [Shot(photograph(n), 5, zoom=2.5) for n in subjects] * 3
    style = Style(size=(1920, 1080), fps=25, crf=20, key_frame_every=group)
    film(minute, shots, style=style)
    seconds = 180
    repeat(minute, path, 3)
    request = MediaRequest(frames="key", sound=False, captions=False)

    def ours() -> None:
        frames = [
            e for e in read_media(path, path.name, request, MediaLimits()) if isinstance(e, Frame)
        ]
        assert len(frames) >= seconds / group

    def bare() -> None:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            assert sum(1 for _ in container.decode(video=0)) == seconds * 25

    mine, full = alternate(ours, bare)
    tell(
        f"key frames, each {group} s, of 3 min of 1080p against a full decode by two threads",
        megabits_per_second=f"{path.stat().st_size * 8e-6 / seconds:.1f}",
        ours=f"{mine.seconds:.2f} s",
        full=f"{full.seconds:.2f} s",
        times_as_fast=mine.speed(full),
        goal="at least 10 at 10 s",
    )


def test_transcription_against_bare_faster_whisper(feature: Path) -> None:
    """Goal: at least 0.95 of its speed, with the same options on the whole sound at once."""
    sound, model = bare_sound(feature), load_speech_model()
    whisper = model._model

    def ours() -> None:
        hearing = Hearing(lambda: model)
        for at in range(0, len(sound), RATE * 5):
            hearing.add(sound[at : at + RATE * 5])
        hearing.finish()

    def bare() -> None:
        segments, _ = whisper.transcribe(sound, **options(whisper, None, True))
        assert list(segments)

    mine, theirs = alternate(ours, bare)
    seconds = len(sound) / RATE
    compare("transcribe", mine, theirs, round(seconds), "seconds of sound", "at least 0.95")


def test_a_whole_film_against_the_sum_of_its_bare_parts(feature: Path) -> None:
    """Goal: at most 1.1 times."""
    extractor = MultimodalExtractor({})
    assert extractor.features(BlobType.VIDEO)["transcription"] == "on"
    content = Content(feature, feature.stat().st_size, "video/mp4", BlobType.VIDEO, feature.name)

    def ours() -> None:
        documents = list(extractor.split(content))
        extractor.embed(documents)
        assert any(d.vectors for d in documents)

    def bare() -> None:
        models = extractor.models
        request = MediaRequest(frames="key", sound=True, captions=False)
        kept: list[Frame] = []
        sound: list[Any] = []
        for event in read_media(feature, feature.name, request, MediaLimits()):
            if isinstance(event, Frame) and not (
                kept and same(kept[-1].signature, event.signature)
            ):
                kept.append(event)
            elif isinstance(event, Sound):
                sound.append(event.samples)
        recognizer, speech = models.recognizer(), models.speech()
        pictures = models.visual() or models.likeness()
        assert recognizer is not None
        assert speech is not None
        assert pictures is not None
        texts = [" ".join(line.text for line in recognizer.read(f.pixels)) for f in kept]
        pictures.embed_pictures([shrunk(f.pixels, shortest=288) for f in kept])
        whisper = speech._model
        segments, _ = whisper.transcribe(np.concatenate(sound), **options(whisper, None, True))
        models.text_vectors([*[s.text for s in segments], *filter(None, texts)], query=False)

    mine, parts = alternate(ours, bare, rounds=2)
    tell(
        "a whole film against the sum of its bare parts",
        ours=f"{mine.seconds:.1f} s",
        parts=f"{parts.seconds:.1f} s",
        times=1 / mine.speed(parts),
        goal="at most 1.1",
    )
