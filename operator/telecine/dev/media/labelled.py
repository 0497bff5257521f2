"""The labelled set: films with spoken sentences, pictures with text and photographs, with queries.

Recall is measured on it: the share of queries whose right answer is the first result, or among
the first five. It is the same in every run and on every machine, but for what codecs of other
versions change.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from telecine.dev.media import filming, labels, photos, speaking

SEED = 4
PICTURE_SIZE = (640, 400)
PHOTO_SIDE = 480
"""Longest side of a photograph of the set, in pixels."""
TOLERANCE_SECONDS = 1.0
"""How far before or after its sentence a found moment may lie and still be right."""


@dataclass(frozen=True)
class Moment:
    """A sentence in a film, and a query that must find it there."""

    query: str
    text: str
    film: str
    """Name of the film's file."""
    start: float
    end: float

    def is_at(self, film: str, start: float, end: float) -> bool:
        """Whether a found span (seconds of the file `film`) is this sentence's."""
        near = start < self.end + TOLERANCE_SECONDS and end > self.start - TOLERANCE_SECONDS
        return film == self.film and near


@dataclass(frozen=True)
class Sign:
    """A picture with text, and a query that must find it."""

    query: str
    text: str
    picture: str
    """Name of the picture's file."""


@dataclass(frozen=True)
class Likeness:
    """A photograph, and a changed copy of it that must find it."""

    query: Path
    photograph: str
    """Name of the photograph's file."""
    of: str


@dataclass(frozen=True)
class LabelledSet:
    """Where the files are, and what must be found in them."""

    films: Path
    pictures: Path
    photographs: Path
    moments: tuple[Moment, ...]
    signs: tuple[Sign, ...]
    likenesses: tuple[Likeness, ...]


def make(folder: Path) -> LabelledSet:
    """The labelled set in `folder`, made there unless this version of it is there already.

    Raises:
        SpeakingError: espeak-ng is missing.
    """
    root = folder / f"labelled-{_version()}"
    _once(root, _fill)
    moments = json.loads((root / "moments.json").read_text())
    return LabelledSet(
        films=root / "films",
        pictures=root / "pictures",
        photographs=root / "photographs",
        moments=tuple(Moment(**moment) for moment in moments),
        signs=tuple(
            Sign(label.query, label.text.replace("\n", " "), _sign_name(number))
            for number, label in enumerate(labels.SIGNS)
        ),
        likenesses=tuple(
            Likeness(root / "queries" / _part_name(number), _part_name(number), name)
            for number, (name, _) in enumerate(labels.PARTS)
        ),
    )


def _fill(root: Path) -> None:
    for name in ("films", "pictures", "photographs", "queries"):
        (root / name).mkdir()
    moments = _make_films(root / "films")
    (root / "moments.json").write_text(json.dumps([asdict(moment) for moment in moments]))
    _make_signs(root / "pictures")
    _make_photographs(root / "photographs")
    _make_queries(root / "queries")


def _version() -> str:
    """Changes with everything that decides how the set looks."""
    here = Path(__file__).parent
    files = ("labels.py", "labelled.py", "filming.py", "photos.py", "speaking.py", "speaker.py")
    return hashlib.sha256(b"".join((here / name).read_bytes() for name in files)).hexdigest()[:12]


def _once(target: Path, make_into: Callable[[Path], None]) -> None:
    """Fills the folder unless it exists; half of one is never left, also when two do it at once."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        make_into(building)
        try:
            os.rename(building, target)
        except OSError:
            if not target.exists():
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


@dataclass(frozen=True)
class _Plan:
    """One film of the set before it is made."""

    name: str
    shots: tuple[tuple[int, float], ...]
    """Index in `labels.PARTS` and seconds."""
    sentences: tuple[filming.Sentence, ...]


def _plans() -> list[_Plan]:
    rng = random.Random(SEED)
    plans = []
    for number, (topic, said) in enumerate(labels.FILMS.items()):
        voice = speaking.VOICES[number % len(speaking.VOICES)]
        second, sentences = 0.0, []
        for label in said:
            second = round(second + rng.uniform(0.6, 2.5), 2)
            sentences.append(filming.Sentence(label.text, second, voice))
            second += len(speaking.speak(label.text, voice)) / speaking.RATE
        length = second + rng.uniform(0.8, 2.0)
        shots = rng.sample(range(len(labels.PARTS)), 3)
        # Cuts fall where they fall, also into the middle of sentences, as in real films.
        first, then = rng.uniform(0.2, 0.4), rng.uniform(0.2, 0.4)
        shares = (first, then, 1 - first - then)
        plans.append(
            _Plan(
                f"{topic}.mp4",
                tuple((shot, share * length) for shot, share in zip(shots, shares, strict=True)),
                tuple(sentences),
            )
        )
    return plans


def _make_films(folder: Path) -> list[Moment]:
    style = filming.Style(size=(480, 270), fps=10)
    queries = {label.text: label.query for said in labels.FILMS.values() for label in said}
    moments = []
    for plan in _plans():
        shots = [
            filming.Shot(photos.photograph(*labels.PARTS[part]), seconds)
            for part, seconds in plan.shots
        ]
        film = filming.film(folder / plan.name, shots, plan.sentences, style)
        moments += [
            Moment(queries[one.text], one.text, plan.name, one.start, one.end)
            for one in film.spoken
        ]
    return moments


def _sign_name(number: int) -> str:
    return f"sign-{number:02}.{'png' if number % 2 else 'jpg'}"


def _make_signs(folder: Path) -> None:
    rng = random.Random(SEED)
    for number, label in enumerate(labels.SIGNS):
        look = photos.LOOKS[number % len(photos.LOOKS)]
        size = rng.choice((32, 40, 48))
        photos.text_picture(label.text, look, PICTURE_SIZE, size).save(folder / _sign_name(number))


def _part_name(number: int) -> str:
    name, _ = labels.PARTS[number]
    return f"{name}-{number:02}.jpg"


def _make_photographs(folder: Path) -> None:
    for number, (name, box) in enumerate(labels.PARTS):
        image = photos.photograph(name, box)
        scale = PHOTO_SIDE / max(image.size)
        image = photos.changed(image, photos.Change(scale=scale))
        image.save(folder / _part_name(number), quality=90)


def _make_queries(folder: Path) -> None:
    rng = random.Random(SEED)
    for number, (name, box) in enumerate(labels.PARTS):
        share = rng.uniform(0.7, 0.9)
        change = photos.Change(
            left=rng.uniform(0, 1 - share),
            top=rng.uniform(0, 1 - share),
            share=share,
            scale=rng.uniform(0.8, 2.0),
            brightness=rng.uniform(0.75, 1.3),
        )
        image = photos.changed(photos.photograph(name, box), change)
        image.save(folder / _part_name(number), quality=rng.randint(35, 70))
