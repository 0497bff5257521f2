"""The SDK on real media: chunks of film, sound, pictures and text, and their vectors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from telecine.dev.media.filming import Sentence, Shot, film, sound
from telecine.dev.media.photos import photograph, text_picture
from telecine.extractors.loading import ModelUnavailableError
from telecine.pipelines.chunks import VideoChunk
from telecine.pipelines.embedding import Embedder
from telecine.pipelines.filetools import FileTools, MediaError
from telecine.pipelines.surroundings import HandlerLimits

from tests.integration.pipelines.handling import chunk

ROOMY = HandlerLimits(seconds=120)

SEED = """
import os
from mixpeek import Mixpeek, FileTools

def handler(event):
    mixpeek = Mixpeek(os.getenv('API_KEY'))
    file_url = mixpeek.file_url(event['bucket'], event['key'])
    video_chunks = FileTools.split_video(file_url, frame_interval=10)

    full_video = []

    for chunk in video_chunks:
        obj = {
            "embedding": mixpeek.embed.video(chunk, "mixpeek/vuse-generic-v1"),
        }
        full_video.append(obj)

    return full_video
"""


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 seconds: a cat, then a written card; something is said at second 2."""
    path = tmp_path_factory.mktemp("films") / "reel.mp4"
    cat, card = photograph("cat"), text_picture("The end of the reel")
    shots = [Shot(cat, 12.0), Shot(card, 12.0)]
    film(path, shots, [Sentence("The coffee is ready in the kitchen.", 2.0)])
    return path


def length(vector: list[float]) -> float:
    return math.sqrt(sum(number * number for number in vector))


def test_the_seeds_program_runs_unchanged_over_a_film(movie: Path) -> None:
    with chunk(SEED, movie, limits=ROOMY, environment={"API_KEY": "mxp_12345"}) as one:
        documents = one.documents("reel", name="films/reel.mp4", mime="video/mp4")
    assert len(documents) == 3
    assert all(list(document) == ["embedding"] for document in documents)
    assert all(
        length(document["embedding"]) == pytest.approx(1.0, abs=1e-3) for document in documents
    )
    # The first ten seconds show the cat, the last four the card.
    first, last = (np.array(documents[at]["embedding"]) for at in (0, 2))
    assert float(first @ last) < 0.9


def test_a_film_is_cut_into_spans_with_frames_and_sound(movie: Path) -> None:
    chunks = list(FileTools.split_video(movie, frame_interval=10))
    assert [(c.start, round(c.end)) for c in chunks] == [(0.0, 10), (10.0, 20), (20.0, 24)]
    for one in chunks:
        assert one.frames
        assert all(one.start <= f.time < one.end for f in one.frames)
        assert all(f.pixels.dtype == np.uint8 and f.pixels.shape[2] == 3 for f in one.frames)
        assert one.samples is not None
        assert len(one.samples) == pytest.approx((one.end - one.start) * 16_000, rel=0.02)
    assert chunks[0].to_dict()["start_time"] == 0.0
    loud = [float(np.abs(c.samples).max()) for c in chunks if c.samples is not None]
    assert loud[0] > 10 * loud[1]


def test_a_long_span_brings_a_bounded_number_of_frames(movie: Path) -> None:
    (whole,) = FileTools.split_video(movie, frame_interval=600, frames_per_second=30)
    assert 2 <= len(whole.frames) <= 64


def test_a_film_is_read_from_the_given_file_and_over_http(movie: Path) -> None:
    code = """
        import urllib.request
        from mixpeek import Mixpeek, FileTools
        def handler(event):
            url = Mixpeek().file_url(event["bucket"], event["key"])
            request = urllib.request.Request(url, headers={"Range": "bytes=4-7"})
            with urllib.request.urlopen(request) as answer:
                part, kind, status = answer.read(), answer.headers["Content-Type"], answer.status
            from telecine.pipelines import filetools
            direct = [c.to_dict() for c in FileTools.split_video(url)]
            filetools._given = None
            fetched = [c.to_dict() for c in FileTools.split_video(url)]
            return {"part": part.decode(), "kind": kind, "status": status,
                    "same": direct == fetched and len(direct) == 3, "url": url}
    """
    with chunk(code, movie, limits=ROOMY) as one:
        (document,) = one.documents("reel", name="films/reel.mp4", mime="video/mp4")
    assert document["part"] == "ftyp"
    assert (document["kind"], document["status"]) == ("video/mp4", 206)
    assert document["same"]
    assert document["url"].startswith("http://127.0.0.1:")
    assert document["url"].endswith("/reel.mp4")


def test_an_assets_url_is_gone_with_it(movie: Path) -> None:
    code = """
        import urllib.error, urllib.request
        from mixpeek import Mixpeek
        urls = []
        def handler(event):
            urls.append(Mixpeek().file_url(event["bucket"], event["key"]))
            answers = []
            for url in urls:
                try:
                    answers.append(urllib.request.urlopen(url).status)
                except urllib.error.HTTPError as error:
                    answers.append(error.code)
            return {"answers": answers}
    """
    with chunk(code, movie) as one:
        assert one.documents("a") == [{"answers": [200]}]
        assert one.documents("b") == [{"answers": [410, 200]}]


EMBEDS = """
from mixpeek import FileTools, Mixpeek

def handler(event):
    mixpeek = Mixpeek("any")
    url = mixpeek.file_url(event["bucket"], event["key"])
    embed = mixpeek.embed
    for chunk in FileTools.split_video(url, 10):
        yield {"what": "video", "embedding": embed.video(chunk)}
        yield {"what": "image", "embedding": embed.image(chunk.frames[0].pixels)}
        said = embed.audio(chunk)
        yield {"what": "audio" if said else "silence", "embedding": said}
    yield {"what": "text", "embedding": embed.text("Coffee is ready in the kitchen")}
    for vector in embed.text(["one", "two"], None):
        yield {"what": "texts", "embedding": vector}
"""


def test_vectors_are_of_the_hosts_models(movie: Path) -> None:
    with chunk(EMBEDS, movie, limits=ROOMY) as one:
        found: dict[str, list[Any]] = {}
        for document in one.documents("reel", name="reel.mp4", mime="video/mp4"):
            found.setdefault(document["what"], []).append(document.get("embedding"))
    assert [len(found[k]) for k in ("video", "image", "text", "texts")] == [3, 3, 1, 2]
    assert len(found["audio"]) == 1
    assert found["silence"] == [None, None]
    assert {len(v) for v in found["text"] + found["texts"] + found["audio"]} == {384}
    assert len({len(v) for v in found["video"] + found["image"]}) == 1
    for vectors in found.values():
        assert all(length(v) == pytest.approx(1.0, abs=1e-3) for v in vectors if v)
    # What was said and what is written mean the same.
    assert float(np.array(found["audio"][0]) @ np.array(found["text"][0])) > 0.6


def test_a_model_that_cannot_be_had_is_an_exception_of_the_handler(movie: Path) -> None:
    code = """
        from mixpeek import Mixpeek, MixpeekError
        def handler(event):
            try:
                Mixpeek().embed.text("hello", "/no/such/model")
            except MixpeekError as error:
                return {"said": str(error)}
    """
    with chunk(code, movie) as one:
        (document,) = one.documents("a")
    assert "/no/such/model" in document["said"]
    assert "no such directory" in document["said"]


def test_pictures_are_split_and_embedded(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    photograph("cat").save(path)
    code = """
        from mixpeek import FileTools, Mixpeek
        def handler(event):
            mixpeek = Mixpeek()
            url = mixpeek.file_url(event["bucket"], event["key"])
            for picture in FileTools.split_image(url):
                yield {**picture.to_dict(), "embedding": mixpeek.embed.image(picture)}
            yield {"embedding": mixpeek.embed.image(url)}
    """
    with chunk(code, path, limits=ROOMY) as one:
        split, whole = one.documents("cat", name="cat.png", mime="image/png")
    with Image.open(path) as picture:
        assert (split["width"], split["height"]) == picture.size
    assert split["embedding"] == pytest.approx(whole["embedding"])


def test_sound_is_split_without_gaps(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    sound(path, [Sentence("Good morning.", 1.0)], 7.0)
    chunks = list(FileTools.split_audio(path, interval=3))
    assert [(c.start, c.end) for c in chunks] == [(0.0, 3.0), (3.0, 6.0), (6.0, 7.0)]
    assert sum(len(c.samples) for c in chunks if c.samples is not None) == 7 * 16_000


def test_text_is_split_at_sentences(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("The first sentence is here. The second one follows. A third ends it.")
    chunks = list(FileTools.split_text(path, chunk_size=40))
    assert [c.text for c in chunks] == [
        "The first sentence is here.",
        "The second one follows.",
        "A third ends it.",
    ] or all(len(c.text) <= 40 for c in chunks)
    text = path.read_text()
    assert all(text[c.start : c.end] == c.text for c in chunks)
    assert chunks[0].to_dict()["text"] == chunks[0].text


def test_files_of_another_kind_are_refused_by_name(tmp_path: Path, movie: Path) -> None:
    wave = tmp_path / "speech.wav"
    sound(wave, [], 1.0)
    words = tmp_path / "words.txt"
    words.write_text("words")
    with pytest.raises(
        MediaError, match=r"speech\.wav: it is a sound and no film; use split_audio"
    ):
        list(FileTools.split_video(wave))
    with pytest.raises(MediaError, match=r"reel\.mp4: it is a film and no picture"):
        FileTools.load_image(movie)
    with pytest.raises(MediaError, match=r"words\.txt"):
        list(FileTools.split_video(words))
    with pytest.raises(MediaError, match="no such file"):
        list(FileTools.split_text(tmp_path / "none.txt"))


@pytest.mark.parametrize("interval", [0, -1, 601, float("nan"), True])
def test_an_interval_out_of_bounds_is_refused(movie: Path, interval: float) -> None:
    with pytest.raises(ValueError, match="frame_interval"):
        FileTools.split_video(movie, interval)


def test_a_split_that_is_left_early_ends_its_decoder(movie: Path) -> None:
    chunks = FileTools.split_video(movie, frame_interval=1)
    first = next(chunks)
    assert isinstance(first, VideoChunk)
    chunks.close()  # type: ignore[attr-defined]
    assert next(chunks, None) is None


def test_the_embedder_names_what_it_lacks() -> None:
    with pytest.raises(ModelUnavailableError, match="no/such"):
        Embedder().pictures([np.zeros((8, 8, 3), np.uint8)], "./no/such")
