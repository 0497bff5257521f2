"""Broken, unusual and hostile pictures, each as bytes. `hostile` says what is expected of them."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING

from telecine.dev.media import photos
from telecine.dev.media.scissors import patched, photo_bytes, png, zeros

if TYPE_CHECKING:
    from PIL.Image import Image


def jpeg() -> bytes:
    return photo_bytes("JPEG", quality=80)


def grey_16_bit() -> bytes:
    import numpy as np
    from PIL import Image

    grey = np.asarray(photos.photograph("camera").convert("L")).astype(np.uint16) * 257
    return _saved(Image.fromarray(grey), "PNG")


def colour_16_bit() -> bytes:
    """Pillow cannot write it: three channels of 16 bits."""
    import numpy as np

    colours = np.asarray(photos.photograph("cat")).astype(">u2") * 257
    height, width, _ = colours.shape
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in colours)
    return png(width, height, zlib.compress(rows), depth=16, colour=2)


def cmyk() -> bytes:
    return photo_bytes("JPEG", "CMYK", quality=80)


def grey_and_alpha() -> bytes:
    return photo_bytes("PNG", "LA")


def palette_with_transparency() -> bytes:
    from PIL import Image

    image = photos.photograph("cat").convert("P", palette=Image.Palette.ADAPTIVE, colors=32)
    return _saved(image, "PNG", transparency=0)


def animated_gif() -> bytes:
    first, *rest = _frames()
    return _saved(first, "GIF", save_all=True, append_images=rest, duration=400, loop=0)


def animated_webp() -> bytes:
    first, *rest = _frames()
    return _saved(first, "WEBP", save_all=True, append_images=rest, duration=400, quality=60)


def many_frames(count: int = 20_000) -> bytes:
    """A GIF of twenty thousand frames of one pixel each."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\x00\x00\x00\xff\xff\xff"
    control = b"\x21\xf9\x04\x00\x01\x00\x00\x00"
    picture = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0)
    pixels = (b"\x02\x02\x44\x01\x00", b"\x02\x02\x4c\x01\x00")
    return screen + b"".join(control + picture + pixels[n % 2] for n in range(count)) + b"\x3b"


def heic() -> bytes:
    return photo_bytes("HEIF", quality=60)


def avif() -> bytes:
    return photo_bytes("AVIF", quality=60)


def pixel_bomb() -> bytes:
    """900 million pixels in a hundred kilobytes, and every one of them is there."""
    return png(30_000, 30_000, zeros(30_000 * 3_751), depth=1)


def screen_bomb() -> bytes:
    """A GIF of one pixel on a screen of 65,535 by 65,535."""
    return patched(many_frames(2), 6, struct.pack("<HH", 0xFFFF, 0xFFFF))


def text_bomb() -> bytes:
    """A PNG of one pixel whose compressed comment unpacks to 128 MB."""
    comment = b"Comment\x00\x00" + zeros(128 << 20)
    return png(1, 1, zlib.compress(b"\x00\x80"), chunks=[(b"zTXt", comment)])


def many_texts() -> bytes:
    """Comments of 900 kB each, unpacked, and a hundred of them."""
    comment = zeros(900_000)
    chunks = [(b"zTXt", b"Comment%d\x00\x00" % number + comment) for number in range(100)]
    return png(1, 1, zlib.compress(b"\x00\x80"), chunks=chunks)


def turned_by_exif() -> bytes:
    """451x300 as stored, 300x451 as shown."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Telecine"
    return photo_bytes("JPEG", quality=80, exif=exif)


def broken_exif() -> bytes:
    """EXIF whose offsets leave the file, and whose orientation is 99."""
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 99, 0)
    entries += struct.pack("<HHII", 0x8769, 4, 1, 0xFFFFFF00)
    entries += struct.pack("<HHII", 0x010F, 2, 0x7FFFFFFF, 0xFFFFFFF0)
    body = b"Exif\x00\x00II*\x00" + struct.pack("<IH", 8, 3) + entries + b"\xff\xff\xff\xff"
    marker = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    data = jpeg()
    return data[:2] + marker + data[2:]


def truncated_jpeg() -> bytes:
    return jpeg()[: len(jpeg()) * 6 // 10]


def truncated_jpeg_header() -> bytes:
    return jpeg()[:200]


def truncated_png() -> bytes:
    data = photo_bytes("PNG")
    return data[: len(data) * 6 // 10]


def wrong_checksum() -> bytes:
    """One bit of the compressed rows has flipped."""
    data = photo_bytes("PNG")
    at = len(data) // 2
    return patched(data, at, bytes([data[at] ^ 0x10]))


def one_pixel() -> bytes:
    return _saved(photos.photograph("cat", (225, 150, 1, 1)), "PNG")


def thin() -> bytes:
    """1 pixel wide, 20,000 high."""
    from PIL import Image

    return _saved(Image.linear_gradient("L").resize((1, 20_000)), "PNG")


def no_pixels() -> bytes:
    """A PNG of 0 by 0."""
    return png(0, 0, zlib.compress(b""))


def endless_tiff() -> bytes:
    """A TIFF whose first directory says that the next one is itself."""
    data = _saved(photos.fitted(photos.photograph("cat"), (32, 32)), "TIFF")
    first = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[first : first + 2])[0]
    return patched(data, first + 2 + 12 * count, struct.pack("<I", first))


def jpeg_with_archive() -> bytes:
    """A good JPEG that is a ZIP archive, too."""
    import zipfile

    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as entries:
        entries.writestr(zipfile.ZipInfo("../../escape.txt"), "out of the folder")
    return jpeg() + archive.getvalue()


def _frames() -> list[Image]:
    size = (200, 150)
    names = ("cat", "rocket", "coffee", "astronaut")
    return [photos.fitted(photos.photograph(name), size) for name in names]


def _saved(image: Image, form: str, **options: object) -> bytes:
    target = BytesIO()
    image.save(target, form, **options)
    return target.getvalue()
