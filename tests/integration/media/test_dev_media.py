"""The media that tests, demo and benchmarks are made with are what they say."""

from __future__ import annotations

import importlib.util
import re
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
from telecine.dev.media import filming, hostile, labelled, labels, photos, scissors, speaking

av = pytest.importorskip("av", reason="PyAV is not installed; run: make setup")
np = pytest.importorskip("numpy", reason="numpy is not installed; run: make setup")
Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed; run: make setup")

ROOT = Path(__file__).resolve().parents[3]
MEDIA = ROOT / "examples" / "quickstart" / "media"
SMALL = filming.Style(size=(320, 180), fps=10)


def loudness(path: Path, rate: int = 16_000) -> np.ndarray:
    """Whether anything is heard, for each tenth of a second."""
    resampler = av.AudioResampler("flt", "mono", rate)
    with av.open(str(path)) as container:
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    whole = len(samples) // (rate // 10) * (rate // 10)
    return np.abs(samples[:whole].reshape(-1, rate // 10)).max(axis=1) > 0.02


def demo_script() -> ModuleType:
    path = ROOT / "scripts" / "make_demo_media.py"
    spec = importlib.util.spec_from_file_location("make_demo_media", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look their own module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_sentence_sounds_the_same_whatever_was_spoken_before() -> None:
    speaking._raw.cache_clear()
    first = speaking.speak("Beware of the dog.", "en-us+f2")
    speaking.speak("Something else was said.")
    speaking._raw.cache_clear()
    assert np.array_equal(first, speaking.speak("Beware of the dog.", "en-us+f2"))
    assert 0.5 < len(first) / speaking.RATE < 3


def test_an_unknown_voice_is_told() -> None:
    with pytest.raises(speaking.SpeakingError, match="no voice 'martian'"):
        speaking.speak("Hello.", "martian")


def test_a_text_without_sound_is_told() -> None:
    with pytest.raises(speaking.SpeakingError, match="no sound"):
        speaking.speak("   ")


def test_every_photograph_is_in_the_wheel_and_licensed() -> None:
    for name, photo in photos.PHOTOGRAPHS.items():
        assert photos.photograph(name).mode == "RGB"
        assert photo.licence in ("CC0", "public domain")
        assert photo.author


def test_a_part_outside_its_photograph_is_refused() -> None:
    with pytest.raises(ValueError, match="not inside cat"):
        photos.photograph("cat", (400, 0, 100, 100))


@pytest.mark.parametrize("look", photos.LOOKS, ids=str)
def test_text_is_inside_its_picture_and_stands_out(look: photos.Look) -> None:
    with_text = np.asarray(photos.text_picture("Harbour closed after nine", look)).astype(int)
    without = np.asarray(photos.text_picture("", look)).astype(int)
    changed = np.abs(with_text - without).max(axis=2) > 60
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert 0.01 < changed.mean() < 0.3
    assert rows[0] > 20
    assert rows[-1] < 380
    assert columns[0] > 20
    assert columns[-1] < 620


def test_a_film_says_and_shows_what_it_was_told_to(tmp_path: Path) -> None:
    shots = [
        filming.Shot(photos.photograph("cat"), 3.0),
        filming.Shot(photos.photograph("rocket"), 2.5, zoom=1.2),
    ]
    said = [filming.Sentence("Beware of the dog.", 0.7), filming.Sentence("It bites.", 3.2)]
    film = filming.film(tmp_path / "film.mp4", shots, said, SMALL)

    assert film.seconds == 5.5
    assert film.cuts == (3.0,)
    heard = loudness(film.path)
    for tenth in range(len(heard)):
        inside = any(one.start < (tenth + 0.5) / 10 < one.end for one in film.spoken)
        near = any(
            min(abs(tenth / 10 - one.start), abs(tenth / 10 - one.end)) < 0.3 for one in film.spoken
        )
        assert not heard[tenth] or inside or near, f"something is heard at {tenth / 10} s"
    for one in film.spoken:
        assert heard[round(one.start * 10) : round(one.end * 10)].mean() > 0.6
    with av.open(str(film.path)) as container:
        frames = [
            (frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)
        ]
    changes = [
        after[0]
        for before, after in pairwise(frames)
        if np.abs(before[1].astype(int) - after[1].astype(int)).mean() > 30
    ]
    assert changes == [3.0]


def test_a_film_has_key_frames_as_asked(tmp_path: Path) -> None:
    shots = [filming.Shot(photos.photograph(name), 1.5) for name in ("cat", "rocket")]

    def key_frames(name: str, style: filming.Style) -> list[float]:
        film = filming.film(tmp_path / name, shots, style=style)
        with av.open(str(film.path)) as container:
            return [frame.time for frame in container.decode(video=0) if frame.key_frame]

    assert key_frames("cut.mp4", SMALL) == [0.0, 1.5]
    hidden = filming.Style(size=(320, 180), fps=10, key_frame_every=1.0, key_frame_at_cut=False)
    assert key_frames("hidden.mp4", hidden) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_subtitles_are_in_the_film(tmp_path: Path, ending: str) -> None:
    lines = [filming.Subtitle(0.5, 1.2, "First line"), filming.Subtitle(1.5, 1.9, "Second\nline")]
    shots = [filming.Shot(photos.photograph("cat"), 2.0)]
    film = filming.film(tmp_path / f"film{ending}", shots, style=SMALL, subtitles=lines)
    with av.open(str(film.path)) as container:
        stream = container.streams.subtitles[0]
        assert stream.language == "eng"
        told = [
            (float(packet.pts * packet.time_base), float(packet.duration * packet.time_base), line)
            for packet in container.demux(stream)
            if packet.size
            for line in (rect.ass.decode().split(",", 8)[8] for rect in stream.decode(packet))
        ]
    assert [(start, round(length, 3), line) for start, length, line in told] == [
        (0.5, 0.7, "First line"),
        (1.5, 0.4, r"Second\Nline"),
    ]


def test_sidecars_are_written_in_both_formats(tmp_path: Path) -> None:
    lines = [filming.Subtitle(0.5, 3661.25, "Hello")]
    srt = filming.write_sidecar(tmp_path / "film.srt", lines).read_text()
    vtt = filming.write_sidecar(tmp_path / "film.vtt", lines).read_text()
    assert srt == "1\n00:00:00,500 --> 01:01:01,250\nHello\n"
    assert vtt == "WEBVTT\n\n1\n00:00:00.500 --> 01:01:01.250\nHello\n"


@pytest.mark.parametrize(
    ("sentences", "message"),
    [
        (
            [filming.Sentence("Beware of the dog.", 0.1), filming.Sentence("Yes.", 0.5)],
            "begins before",
        ),
        ([filming.Sentence("Beware of the dog.", 1.9)], "after the film"),
    ],
)
def test_sentences_that_do_not_fit_are_refused(
    tmp_path: Path, sentences: list[filming.Sentence], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        filming.film(
            tmp_path / "film.mp4", [filming.Shot(photos.photograph("cat"), 2.0)], sentences, SMALL
        )


def test_the_same_film_is_the_same_bytes(tmp_path: Path) -> None:
    scissors.film_bytes.cache_clear()
    first = scissors.film_bytes()
    scissors.film_bytes.cache_clear()
    assert first == scissors.film_bytes()


def test_a_long_film_is_a_short_one_repeated(tmp_path: Path) -> None:
    short = tmp_path / "short.mp4"
    short.write_bytes(scissors.film_bytes())
    length = filming.repeat(short, tmp_path / "long.mp4", 20)
    assert 4.0 <= length < 4.5
    with av.open(str(tmp_path / "long.mp4")) as container:
        assert container.duration / 1e6 == pytest.approx(20 * length, abs=0.5)
        frames = [frame.time for frame in container.decode(video=0)]
    assert len(frames) == 20 * 48
    assert frames == sorted(frames)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file of each kind of hostile medium."""
    folder = tmp_path_factory.mktemp("hostile")
    hostile.make_all(folder)
    return folder


def test_every_kind_of_hostile_medium_is_written(files: Path) -> None:
    assert len({kind.file for kind in hostile.KINDS}) == len(hostile.KINDS) >= 25
    assert all(kind.outcomes and kind.about for kind in hostile.KINDS)
    contents = {kind.file: (files / kind.file).read_bytes() for kind in hostile.KINDS}
    assert contents.pop("playlist.m3u8") == contents["playlist-named.mp4"]
    assert len(set(contents.values())) == len(contents)
    assert str(files / hostile.BAIT).encode() in contents["playlist-named.mp4"]
    assert not any(b"@BAIT@" in content for content in contents.values())


@pytest.mark.parametrize(
    ("file", "mode", "size"),
    [
        ("grey-16-bit.png", "I;16", (512, 512)),
        ("cmyk.jpg", "CMYK", (451, 300)),
        ("grey-and-alpha.png", "LA", (451, 300)),
        ("palette.png", "P", (451, 300)),
        ("thin.png", "L", (1, 20_000)),
        ("one-pixel.png", "RGB", (1, 1)),
    ],
)
def test_unusual_pictures_are_what_they_say(
    files: Path, file: str, mode: str, size: tuple[int, int]
) -> None:
    with Image.open(files / file) as image:
        image.load()
        assert (image.mode, image.size) == (mode, size)


def test_bombs_are_small_files(files: Path) -> None:
    for file in ("pixel-bomb.png", "screen-bomb.gif", "text-bomb.png", "pixel-bomb.mov"):
        assert (files / file).stat().st_size < 500_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(files / "pixel-bomb.png")


def test_damaged_films_are_damaged_as_they_say(files: Path) -> None:
    def opened(file: str) -> str:
        try:
            with av.open(str(files / file)) as container:
                return f"{len(container.streams)} streams, {container.duration / 1e6:g} s"
        except av.error.InvalidDataError:
            return "unreadable"

    assert opened("truncated.mp4") == "2 streams, 4 s"
    assert opened("without-index.mp4") == "unreadable"
    assert opened("many-streams.mp4") == "300 streams, 1 s"
    assert opened("absurd-duration.mkv") == "2 streams, 4e+09 s"
    assert opened("audio-only.mp4") == "1 streams, 4 s"
    assert opened("subtitles-only.mp4") == "1 streams, 2 s"


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def test_the_labelled_set_is_large_enough_and_asks_for_no_sentence_word_by_word() -> None:
    sentences = [label for said in labels.FILMS.values() for label in said]
    assert len(labels.FILMS) >= 20
    assert all(len(said) >= 3 for said in labels.FILMS.values())
    assert len({label.text for label in sentences}) == len(sentences) >= 60
    assert len({label.text for label in labels.SIGNS}) == len(labels.SIGNS) >= 40
    everything = [*sentences, *labels.SIGNS]
    assert len({label.query for label in everything}) == len(everything)
    for label in sentences:
        assert not words(label.text) <= words(label.query)


def test_photographs_of_the_labelled_set_do_not_overlap() -> None:
    assert len(labels.PARTS) >= 40
    for number, (name, box) in enumerate(labels.PARTS):
        assert photos.photograph(name, box).size == box[2:]
        for other, (left, top, width, height) in labels.PARTS[:number]:
            apart = (
                left >= box[0] + box[2]
                or box[0] >= left + width
                or top >= box[1] + box[3]
                or box[1] >= top + height
            )
            assert other != name or apart, f"{name}: {box} and {(left, top, width, height)}"


def test_the_labelled_set_is_made_once_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "FILMS", dict(list(labels.FILMS.items())[:1]))
    monkeypatch.setattr(labels, "SIGNS", labels.SIGNS[:2])
    monkeypatch.setattr(labels, "PARTS", labels.PARTS[:3])
    made = labelled.make(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert labelled.make(tmp_path) == made
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before

    assert [moment.film for moment in made.moments] == ["baking.mp4"] * 3
    heard = loudness(made.films / "baking.mp4")
    for moment in made.moments:
        assert heard[round(moment.start * 10) : round(moment.end * 10)].mean() > 0.6
        assert moment.is_at("baking.mp4", moment.start, moment.end)
        assert not moment.is_at("baking.mp4", moment.end + 1.5, moment.end + 3)
        assert not moment.is_at("sailing.mp4", moment.start, moment.end)
    assert all((made.pictures / sign.picture).is_file() for sign in made.signs)
    for likeness in made.likenesses:
        original = made.photographs / likeness.photograph
        assert likeness.query.read_bytes() != original.read_bytes()


def test_a_labelled_set_that_was_interrupted_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(root: Path) -> None:
        (root / "films").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(labelled, "_fill", fill)
    with pytest.raises(KeyboardInterrupt):
        labelled.make(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_demo_media_are_small_and_their_readme_is_true() -> None:
    script = demo_script()
    files = [path for path in MEDIA.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3_000_000
    assert all(path.stat().st_size < 600_000 for path in files)
    films = []
    for name, film in script.FILMS.items():
        seconds = sum(scene.seconds for scene in film.scenes)
        assert 20 <= seconds <= 40
        lengths = [scene.seconds for scene in film.scenes]
        cuts = tuple(float(sum(lengths[:number])) for number in range(1, len(lengths)))
        track = filming.Track(film.sentences, seconds)
        films.append(filming.Film(MEDIA / "films" / name, seconds, cuts, track.spoken))
        with av.open(str(MEDIA / "films" / name)) as container:
            assert container.duration / 1e6 == pytest.approx(seconds, abs=0.1)
    assert (MEDIA / "README.md").read_text(encoding="utf-8") == script.readme(films)
    expected = {
        *(f"films/{name}" for name in script.FILMS),
        *(f"photographs/{name}.jpg" for name in script.PHOTOGRAPHS),
        *(f"signs/{name}" for name in script.SIGNS),
        *(f"queries/{name}" for name in script.QUERIES),
        "README.md",
    }
    assert {path.relative_to(MEDIA).as_posix() for path in files} == expected
