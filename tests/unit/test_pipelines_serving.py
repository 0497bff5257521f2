"""The asset's URL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from telecine.pipelines.serving import AssetServer, span


@pytest.fixture
def server() -> Iterator[AssetServer]:
    made = AssetServer()
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(bytes(range(100)))
    return path


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-500", (90, 100)),
        ("bytes=-5", (95, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=100-", None),
        ("bytes=-0", None),
        ("bytes=20-10", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("lines=1-2", None),
    ],
)
def test_ranges_are_those_of_the_standard(header: str, found: tuple[int, int] | None) -> None:
    assert span(header, 100) == found


def test_the_asset_is_served_whole_in_parts_and_by_its_type(
    server: AssetServer, file: Path
) -> None:
    with server.serving(file, "films/a reel?.mp4", "video/mp4") as url:
        assert url.endswith("/a%20reel%3F.mp4")
        whole, part = httpx.get(url), httpx.get(url, headers={"Range": "bytes=5-7"})
        head = httpx.head(url)
        beyond = httpx.get(url, headers={"Range": "bytes=100-"})
    assert (whole.status_code, whole.content) == (200, bytes(range(100)))
    assert whole.headers["Content-Type"] == "video/mp4"
    assert (part.status_code, part.content) == (206, b"\5\6\7")
    assert part.headers["Content-Range"] == "bytes 5-7/100"
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", "100")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */100")


def test_it_is_gone_afterwards_and_nothing_else_is_there(server: AssetServer, file: Path) -> None:
    with server.serving(file, "a.txt", "text/plain") as url:
        base = url.rsplit("/", 2)[0]
        for other in ("/", "/x/a.txt", "/../etc/passwd", "/" + url.rsplit("/", 2)[1] + "/b.txt"):
            assert httpx.get(base + other).status_code == 404
    assert httpx.get(url).status_code == 410


def test_a_type_that_could_forge_headers_is_not_passed_on(server: AssetServer, file: Path) -> None:
    with server.serving(file, "a", "text/plain\r\nX-Forged: 1") as url:
        answer = httpx.get(url)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert "X-Forged" not in answer.headers
