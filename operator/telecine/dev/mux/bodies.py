"""Made-up bodies: of renditions, of which no more is in memory than a piece, and a picture."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from starlette.responses import Response, StreamingResponse

_PIECE = bytes(1 << 16)
#: The smallest valid JPEG that browsers show: one grey pixel.
PIXEL = base64.b64decode(
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////"
    "////////////////////////////wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAACf/EABQQAQAAAAAAAAAA"
    "AAAAAAAAAAD/2gAIAQEAAD8AVN//2Q=="
)


def zeros(size: int, media_type: str, asked: str | None) -> Response:
    """So many zero bytes, or the one range of them that the header `Range` asks for (RFC 9110).

    A range beyond the end is answered 416; a header that is not understood, with the whole.
    """
    headers = {"Accept-Ranges": "bytes"}
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", asked or "")
    if found is None or not any(found.groups()):
        headers["Content-Length"] = str(size)
        return StreamingResponse(_pieces(size), media_type=media_type, headers=headers)
    first, last = found.groups()
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last), size - 1) if first and last else size - 1
    if start > end:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{size}"})
    headers |= {
        "Content-Range": f"bytes {start}-{end}/{size}",
        "Content-Length": str(end - start + 1),
    }
    return StreamingResponse(
        _pieces(end - start + 1), status_code=206, media_type=media_type, headers=headers
    )


def _pieces(count: int) -> Iterator[bytes]:
    for _ in range(count // len(_PIECE)):
        yield _PIECE
    yield _PIECE[: count % len(_PIECE)]
