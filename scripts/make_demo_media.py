#!/usr/bin/env python3
"""Makes the demo's media: examples/quickstart/media/, or the folder that is given.

    .venv/bin/python scripts/make_demo_media.py [FOLDER]

Films of photographs and spoken sentences, photographs, pictures with text, and a README that says
what is in them and where they are from. The files are committed; run it again after a change here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from telecine.dev.media import filming, photos
from telecine.dev.media.filming import Film, Sentence, Shot
from telecine.dev.media.photos import Change, Look

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "quickstart" / "media"

STYLE = filming.Style(fps=12, crf=30, index_first=True)


@dataclass(frozen=True)
class Scene:
    """A photograph by name, or a text in a look, and how long it is shown in seconds."""

    seconds: float
    photograph: str = ""
    box: photos.Box | None = None
    """The part of the photograph that is shown."""
    text: str = ""
    look: Look = photos.LOOKS[0]

    def shot(self) -> Shot:
        if self.photograph:
            return Shot(photos.photograph(self.photograph, self.box), self.seconds, zoom=1.1)
        return Shot(photos.text_picture(self.text, self.look, STYLE.size), self.seconds)


@dataclass(frozen=True)
class Script:
    """A film before it is made."""

    title: str
    scenes: tuple[Scene, ...]
    sentences: tuple[Sentence, ...]


FILMS = {
    "to-the-stars.mp4": Script(
        "To the stars",
        (Scene(8, "rocket"), Scene(9, "astronaut", (0, 0, 512, 288)), Scene(9, "galaxies")),
        (
            Sentence("The rocket leaves at dusk, when the wind is weakest.", 1.0),
            Sentence("Astronauts practise under water before they fly.", 9.0),
            Sentence("The orange suit protects them from the cold.", 13.0),
            Sentence("Every point of light in this picture is a galaxy.", 18.5),
            Sentence("Some of them are older than our sun.", 22.5),
        ),
    ),
    "a-slow-morning.mp4": Script(
        "A slow morning",
        (
            Scene(9, "coffee"),
            Scene(7, text="Bakery closed on Mondays", look=photos.LOOKS[1]),
            Scene(10, "cat"),
        ),
        (
            Sentence("Grind the coffee fresh every morning.", 1.0, "en-us+m7"),
            Sentence("Warm the cup first, or the espresso turns sour.", 5.0, "en-us+m7"),
            Sentence("There was nothing to eat, so we walked home again.", 10.5, "en-us+m7"),
            Sentence("The cat sleeps on the letters that I should answer.", 17.0, "en-us+m7"),
            Sentence("She comes running when somebody opens the fridge.", 21.5, "en-us+m7"),
        ),
    ),
    "how-we-see.mp4": Script(
        "How we see",
        (Scene(9, "camera", (0, 40, 512, 288)), Scene(10, "retina"), Scene(7, "bricks")),
        (
            Sentence("A tripod keeps the camera still in a long exposure.", 1.0),
            Sentence("Never point the lens at the sun.", 5.5),
            Sentence("Behind the lens lies the retina, a thin layer of living cells.", 10.0),
            Sentence("A doctor can see the first traces of diabetes here.", 15.0),
            Sentence("We see the edges of things before we see their colours.", 20.0),
        ),
    ),
}
PHOTOGRAPHS = ("astronaut", "camera", "cat", "coffee")
SIGNS = {
    "harbour-notice.png": ("Harbour closed after nine\nRing the bell twice", photos.LOOKS[2]),
    "film-night.png": ("Open air film night\nSaturday 14 August\nBring a blanket", photos.LOOKS[6]),
    "lost-umbrella.png": ("Found: a green umbrella\nAsk at the ticket office", photos.LOOKS[1]),
}
QUERIES = {
    "cat.jpg": ("cat", Change(0.16, 0.05, 0.6, scale=1.5, brightness=1.15, mirrored=True)),
}
"""Not indexed: pictures to search with, which no file under the other folders equals."""


def make(folder: Path) -> None:
    for name in ("films", "photographs", "signs", "queries"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    films = [make_film(folder / "films" / name, script) for name, script in FILMS.items()]
    for name in PHOTOGRAPHS:
        photos.photograph(name).save(folder / "photographs" / f"{name}.jpg", quality=85)
    for name, (text, look) in SIGNS.items():
        picture = photos.text_picture(text, look)
        picture.save(folder / "signs" / name, optimize=True)
    for name, (of, change) in QUERIES.items():
        photos.changed(photos.photograph(of), change).save(folder / "queries" / name, quality=70)
    (folder / "README.md").write_text(readme(films), encoding="utf-8")


def make_film(path: Path, script: Script) -> Film:
    shots = [scene.shot() for scene in script.scenes]
    style = filming.Style(**{**vars(STYLE), "title": script.title})
    return filming.film(path, shots, script.sentences, style)


def readme(films: Iterable[Film]) -> str:
    names = [scene.photograph for script in FILMS.values() for scene in script.scenes]
    used = [name for name in photos.PHOTOGRAPHS if name in {*names, *PHOTOGRAPHS}]
    lines = [
        "# The demo's media",
        "",
        "Made by `scripts/make_demo_media.py`, which also wrote this page.",
        "",
        "## Films",
        *[line for film in films for line in film_lines(film)],
        "",
        "## Pictures",
        "",
        "`photographs/` holds photographs, `signs/` pictures with text:",
        "",
        "| file | text |",
        "| --- | --- |",
        *[
            f"| `signs/{name}` | {text.replace(chr(10), ' / ')} |"
            for name, (text, _) in SIGNS.items()
        ],
        "",
        "`queries/` is not indexed: it holds pictures to search with. "
        "`cat.jpg` is a part of the cat's photograph, mirrored and lighter.",
        "",
        "## Sources and licences",
        "",
        "The photographs come out of the package scikit-image, whose documentation states the "
        "licence of each. Those in films are cropped and scaled.",
        "",
        "| photograph | shows | author | licence |",
        "| --- | --- | --- | --- |",
        *[photograph_line(name) for name in used],
        "",
        "The sentences were written for this demo and spoken by espeak-ng, whose licence (GPL-3.0) "
        "does not extend to what it says. Text is set in Aileron (CC0), the font that Pillow "
        "carries. Texts, sound and arrangement are under Telecine's licence, Apache-2.0.",
    ]
    return "\n".join(lines) + "\n"


def film_lines(film: Film) -> list[str]:
    script = FILMS[film.path.name]
    starts = (0.0, *film.cuts)
    shown = [
        f"{start:g} s {photos.PHOTOGRAPHS[scene.photograph].shows}"
        if scene.photograph
        else f'{start:g} s the words "{scene.text}"'
        for start, scene in zip(starts, script.scenes, strict=True)
    ]
    return [
        "",
        f"### `films/{film.path.name}`: {script.title}",
        "",
        f"{film.seconds:g} s. Seen: {'; '.join(shown)}.",
        "",
        "| from | to | said |",
        "| --- | --- | --- |",
        *[f"| {one.start:.1f} s | {one.end:.1f} s | {one.text} |" for one in film.spoken],
    ]


def photograph_line(name: str) -> str:
    photo = photos.PHOTOGRAPHS[name]
    return f"| [{name}]({photo.source}) | {photo.shows} | {photo.author} | {photo.licence} |"


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
