"""Photographs with clear licences out of scikit-image's wheel, and pictures with text.

Nothing is downloaded: only files that the wheel itself holds are used, and of these only the ones
whose licence scikit-image's documentation states (`skimage.data`, the notes of each function).
Text is set in the font that Pillow carries (Aileron, CC0), so it looks the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

Box = tuple[int, int, int, int]
"""Left, top, width, height in pixels of the original."""

_DOCUMENTATION = "https://scikit-image.org/docs/stable/api/skimage.data.html"


@dataclass(frozen=True)
class Photograph:
    """Where a photograph is from, and under which licence."""

    file: str
    function: str
    """Function of `skimage.data` whose documentation states the licence."""
    shows: str
    author: str
    licence: str

    @property
    def source(self) -> str:
        return f"{_DOCUMENTATION}#skimage.data.{self.function}"


PHOTOGRAPHS = {
    "astronaut": Photograph(
        "astronaut.png", "astronaut", "the astronaut Eileen Collins", "NASA", "public domain"
    ),
    "camera": Photograph(
        "camera.png", "camera", "a man with a camera on a tripod", "Lav Varshney", "CC0"
    ),
    "cat": Photograph("chelsea.png", "chelsea", "the cat Chelsea", "Stefan van der Walt", "CC0"),
    "coffee": Photograph(
        "coffee.png", "coffee", "a cup of espresso on a wooden table", "Rachel Michetti", "CC0"
    ),
    "rocket": Photograph(
        "rocket.jpg",
        "rocket",
        "a Falcon 9 rocket on its launch pad at dusk",
        "SpaceX",
        "public domain",
    ),
    "galaxies": Photograph(
        "hubble_deep_field.jpg",
        "hubble_deep_field",
        "the Hubble eXtreme Deep Field",
        "NASA",
        "public domain",
    ),
    "retina": Photograph(
        "retina.jpg", "retina", "the retina of a healthy left eye", "Mikael Häggström", "CC0"
    ),
    "vessels": Photograph(
        "microaneurysms.png", "microaneurysms", "small vessels of a retina", "Andreas Maier", "CC0"
    ),
    "cell": Photograph(
        "cell.png", "cell", "a cell floating in saline", "Paul Müller and others", "CC0"
    ),
    "clock": Photograph(
        "clock_motion.png",
        "clock",
        "a wall clock, blurred by motion",
        "Stefan van der Walt",
        "public domain",
    ),
    "bricks": Photograph("brick.png", "brick", "a wall of bricks", "CC0Textures.com", "CC0"),
    "grass": Photograph("grass.png", "grass", "grass", "linolafett", "CC0"),
    "gravel": Photograph("gravel.png", "gravel", "gravel", "CC0Textures.com", "CC0"),
}


@cache
def _original(name: str) -> Image:
    import os

    import skimage.data
    from PIL import Image

    path = os.path.join(skimage.data.data_dir, PHOTOGRAPHS[name].file)
    with Image.open(path) as image:
        return image.convert("RGB")


def photograph(name: str, box: Box | None = None) -> Image:
    """A photograph of `PHOTOGRAPHS`, or the part of it in `box`, as RGB.

    Raises:
        KeyError: there is no such photograph.
        ValueError: the box leaves the picture.
    """
    image = _original(name).copy()
    if box is None:
        return image
    left, top, width, height = box
    if left < 0 or top < 0 or left + width > image.width or top + height > image.height:
        raise ValueError(f"{box} is not inside {name} of {image.width}x{image.height}")
    return image.crop((left, top, left + width, top + height))


@dataclass(frozen=True)
class Change:
    """How a photograph differs from its original: what a person's copy of it would go through."""

    left: float = 0.0
    top: float = 0.0
    """Shares of width and height where the crop begins."""
    share: float = 1.0
    """Share of width and height that the crop keeps."""
    scale: float = 1.0
    brightness: float = 1.0
    mirrored: bool = False


def changed(image: Image, change: Change) -> Image:
    """A crop of the image, scaled, made lighter or darker, perhaps mirrored."""
    from PIL import ImageEnhance, ImageOps

    left, top = round(image.width * change.left), round(image.height * change.top)
    width, height = round(image.width * change.share), round(image.height * change.share)
    part = image.crop((left, top, min(left + width, image.width), min(top + height, image.height)))
    part = part.resize(
        (max(1, round(part.width * change.scale)), max(1, round(part.height * change.scale)))
    )
    part = ImageEnhance.Brightness(part).enhance(change.brightness)
    return ImageOps.mirror(part) if change.mirrored else part


def fitted(image: Image, size: tuple[int, int]) -> Image:
    """The middle of the image, scaled to fill (width, height) pixels."""
    from PIL import ImageOps

    return ImageOps.fit(image, size)


@dataclass(frozen=True)
class Look:
    """How text is set."""

    background: str = "#ffffff"
    """A colour, or the name of a photograph that is darkened and shown behind the text."""
    ink: str = "#111111"
    bold: int = 0
    """Pixels by which strokes are thicker, at a size of 40."""
    slant: float = 0.0
    """0.2 is a usual italic."""
    capitals: bool = False
    frame: bool = False
    """A line around the text, as on a sign."""


LOOKS = (
    Look(),
    Look("#f4e9cd", "#3a2a12", frame=True),
    Look("#0b3d91", "#ffffff", bold=1),
    Look("#c1121f", "#fff8e7", bold=1, capitals=True, frame=True),
    Look("#1b4332", "#e9f5db", slant=0.2),
    Look("#ffd60a", "#111111", bold=1, capitals=True, frame=True),
    Look("rocket", "#ffffff", bold=1),
    Look("bricks", "#fff3b0", bold=1),
    Look("#22223b", "#f2e9e4"),
    Look("coffee", "#ffffff", bold=1, capitals=True),
)


@cache
def font(size: int) -> FreeTypeFont:
    """Pillow's own font at this size in pixels.

    Raises:
        RuntimeError: this Pillow was built without FreeType, and so without that font.
    """
    from PIL import ImageFont

    found = ImageFont.load_default(size)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType; install it from PyPI's wheel")
    return found


def text_picture(
    text: str, look: Look = LOOKS[0], size: tuple[int, int] = (640, 400), font_size: int = 40
) -> Image:
    """A picture of (width, height) pixels with the text in its middle, broken into lines."""
    from PIL import Image, ImageDraw

    if look.background in PHOTOGRAPHS:
        behind = fitted(photograph(look.background), size).point(lambda value: value * 2 // 5)
    else:
        behind = Image.new("RGB", size, look.background)
    margin = size[0] // 12
    shown = text.upper() if look.capitals else text
    layer = Image.new("L", size)
    draw = ImageDraw.Draw(layer)
    stroke = look.bold * font_size / 40
    lines = "\n".join(_lines(shown, font_size, size[0] - 2 * margin))
    middle = (size[0] / 2, size[1] / 2)
    draw.multiline_text(
        middle, lines, 255, font(font_size), "mm", font_size // 3, "center", stroke_width=stroke
    )
    if look.slant:
        layer = layer.transform(
            size, Image.Transform.AFFINE, (1, look.slant, -look.slant * size[1] / 2, 0, 1, 0),
            Image.Resampling.BICUBIC,
        )  # fmt: skip
    if look.frame:
        inset = margin // 2
        corner = (size[0] - inset, size[1] - inset)
        ImageDraw.Draw(layer).rounded_rectangle((inset, inset, *corner), 12, None, 255, 4)
    behind.paste(Image.new("RGB", size, look.ink), mask=layer)
    return behind


def _lines(text: str, font_size: int, width: int) -> list[str]:
    """Breaks the text into lines of at most `width` pixels; its own line breaks stay."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font(font_size).getlength(longer) > width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return lines
