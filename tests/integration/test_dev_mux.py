"""The test server of Mux against Mux's own client and models, and the traps that Mux has."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jwt
import mux_python
import pytest
from mux_python.exceptions import NotFoundException, UnauthorizedException
from telecine.dev.mux import MuxLibrary, MuxServer, SigningKey, event, signature
from telecine.gateway.signatures import holds, parse


@pytest.fixture
def library() -> MuxLibrary:
    return MuxLibrary()


@pytest.fixture
def server(library: MuxLibrary) -> Iterator[MuxServer]:
    with MuxServer(library) as running:
        yield running


def official(server: MuxServer, secret: str | None = None) -> Any:
    made = mux_python.Configuration(
        host=server.url, username=server.token_id, password=secret or server.token_secret
    )
    return mux_python.AssetsApi(mux_python.ApiClient(made))


def get(server: MuxServer, path: str, **parameters: Any) -> httpx2.Response:
    auth = (server.token_id, server.token_secret)
    return httpx2.get(f"{server.url}{path}", params=parameters, auth=auth, trust_env=False)


def plain(url: str, **more: Any) -> httpx2.Response:
    return httpx2.get(url, trust_env=False, **more)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(bytes(range(256)) * 40)
    return path


def test_every_kind_of_asset_is_read_by_the_official_client(
    server: MuxServer, library: MuxLibrary, film: Path
) -> None:
    vtt = film.with_suffix(".vtt")
    vtt.write_text("WEBVTT\n")
    library.add(film, passthrough="vi:1", meta={"title": "t", "external_id": "e"})
    library.add(film, captions={"en": vtt}, policies=("signed", "drm"))
    library.add(status="preparing", policies=())
    library.add(status="errored", errors={"type": "invalid_input", "messages": ["no"]})
    library.add(renditions={"audio.m4a": 10, "2160p.mp4": 7, "capped-1080p.mp4": 5})
    library.add(
        static_renditions={"status": "ready", "files": [{"name": "low.mp4", "ext": "mp4"}]},
        mp4_support="standard",
    )
    library.add(resolution_tier="audio-only", renditions={"audio.m4a": 10})
    api = official(server)
    listed = api.list_assets(limit=100)
    assert isinstance(listed, mux_python.ListAssetsResponse)
    assert len(listed.data) == 7
    for asset in listed.data:
        assert api.get_asset(asset.id).data.to_dict() == asset.to_dict()
        raw = library.asset(asset.id) or {}
        assert set(raw) <= set(mux_python.Asset.attribute_map.values())
        assert isinstance(raw["created_at"], str)
    with_film = next(a for a in listed.data if a.passthrough == "vi:1")
    file = with_film.static_renditions.files[0]
    assert (file.name, file.filesize, file.status) == ("low.mp4", "10240", "ready")
    assert with_film.meta.external_id == "e"


def test_pages_and_cursors_come_to_the_end(server: MuxServer, library: MuxLibrary) -> None:
    made = library.add_many(250)
    api = official(server)
    by_page = [a.id for page in (1, 2, 3, 4) for a in api.list_assets(limit=500, page=page).data]
    assert by_page == made[::-1]
    answer = get(server, "/video/v1/assets", limit=100).json()
    sizes, by_cursor = [], []
    while True:
        sizes.append(len(answer["data"]))
        by_cursor += [a["id"] for a in answer["data"]]
        if not answer["next_cursor"]:
            break
        answer = get(server, "/video/v1/assets", limit=100, cursor=answer["next_cursor"]).json()
    assert (sizes, by_cursor) == ([100, 100, 50], made[::-1])
    assert len(get(server, "/video/v1/assets").json()["data"]) == 25
    assert server.count("GET /video/v1/assets") == 8


def test_a_cursor_neither_skips_nor_repeats_while_assets_come_and_go(
    server: MuxServer, library: MuxLibrary
) -> None:
    made = library.add_many(30)
    first = get(server, "/video/v1/assets", limit=10).json()
    library.add()
    library.delete(made[-1])
    library.delete(made[10])
    second = get(server, "/video/v1/assets", limit=100, cursor=first["next_cursor"]).json()
    expected = [i for i in made[::-1][10:] if i != made[10]]
    assert [a["id"] for a in second["data"]] == expected


def test_refusals_have_muxs_form(server: MuxServer, library: MuxLibrary) -> None:
    with pytest.raises(UnauthorizedException):
        official(server, "wrong").list_assets()
    with pytest.raises(NotFoundException):
        official(server).get_asset("absent")
    for parameters in ({"limit": 0}, {"page": "x"}, {"cursor": "!"}):
        answer = get(server, "/video/v1/assets", **parameters)
        assert (answer.status_code, set(answer.json()["error"])) == (400, {"type", "messages"})
    assert get(server, "/system/v1/whoami").json()["data"]["environment_id"]
    server.fail_next(1, 500)
    assert get(server, "/video/v1/assets").status_code == 500
    assert get(server, "/video/v1/assets").status_code == 200


def test_too_many_calls_are_429_with_retry_after(library: MuxLibrary) -> None:
    now = [0.0]
    limits: Any = {"requests_per_second": 5, "burst": 2, "clock": lambda: now[0]}
    with MuxServer(library, **limits) as server:
        answers = [get(server, "/video/v1/assets") for _ in range(3)]
        assert [a.status_code for a in answers] == [200, 200, 429]
        assert float(answers[2].headers["retry-after"]) == pytest.approx(0.2)
        now[0] += 0.2
        assert get(server, "/video/v1/assets").status_code == 200


def test_a_rendition_is_read_whole_and_in_part(
    server: MuxServer, library: MuxLibrary, film: Path
) -> None:
    asset = library.asset(library.add(film)) or {}
    url = f"{server.url}/{asset['playback_ids'][0]['id']}"
    assert plain(f"{url}/low.mp4").content == film.read_bytes()
    part = plain(f"{url}/low.mp4", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, film.read_bytes()[5:10])
    assert plain(f"{url}/high.mp4").status_code == 404
    assert plain(f"{server.url}/absent/low.mp4").status_code == 404
    assert plain(f"{url}.m3u8").text.startswith("#EXTM3U")
    assert plain(f"{url}/thumbnail.jpg").content[:2] == b"\xff\xd8"


def test_a_rendition_that_is_not_ready_is_not_served(
    server: MuxServer, library: MuxLibrary, film: Path
) -> None:
    ident = library.add()
    library.set_rendition(ident, "720p.mp4", film, status="preparing")
    asset = library.asset(ident) or {}
    url = f"{server.url}/{asset['playback_ids'][0]['id']}/720p.mp4"
    assert plain(url).status_code == 404
    library.set_rendition(ident, "720p.mp4", film)
    assert plain(url).status_code == 200


def test_signed_playback_needs_the_right_token(library: MuxLibrary, film: Path) -> None:
    key, other = SigningKey.make(), SigningKey.make()
    asset = library.asset(library.add(film, policies=("signed",))) or {}
    playback_id = asset["playback_ids"][0]["id"]

    def token(by: SigningKey = key, kid: str = key.id, **claims: Any) -> str:
        import base64

        given = {"sub": playback_id, "aud": "v", "exp": time.time() + 60, **claims}
        pem = base64.b64decode(by.private_key).decode()
        return jwt.encode(given, pem, "RS256", headers={"kid": kid})

    with MuxServer(library, signing_key=key) as server:
        url = f"{server.url}/{playback_id}/low.mp4"
        assert plain(url, params={"token": token()}).status_code == 200
        wrong = [
            "", "nonsense", token(other), token(kid="another"), token(sub="another"),
            token(aud="t"), token(exp=time.time() - 1),
        ]  # fmt: skip
        assert {plain(url, params={"token": t}).status_code for t in wrong} == {403}


def test_a_made_up_rendition_is_read_in_part(server: MuxServer, library: MuxLibrary) -> None:
    asset = library.asset(library.add(renditions={"low.mp4": 50_000_000_000})) or {}
    url = f"{server.url}/{asset['playback_ids'][0]['id']}/low.mp4"
    asked = {"bytes=5-9": "5-9", "bytes=-3": "49999999997-49999999999"}
    for header, answered in asked.items():
        part = plain(url, headers={"Range": header})
        assert part.status_code == 206
        assert part.headers["content-range"] == f"bytes {answered}/50000000000"
        assert len(part.content) == int(part.headers["content-length"])
    assert plain(url, headers={"Range": "bytes=50000000000-"}).status_code == 416
    head = httpx2.head(url, trust_env=False)
    assert (head.status_code, head.headers["content-length"]) == (200, "50000000000")


def test_one_status_for_all_files_counts_only_with_the_old_mp4_support(
    server: MuxServer, library: MuxLibrary
) -> None:
    made = {"status": "ready", "files": [{"name": "low.mp4", "ext": "mp4"}]}
    for support, answered in (("standard", 200), ("none", 404)):
        ident = library.add(renditions={"low.mp4": 9}, mp4_support=support)
        asset = library.update(ident, static_renditions=made)
        url = f"{server.url}/{asset['playback_ids'][0]['id']}/low.mp4"
        assert plain(url).status_code == answered


def test_a_playback_id_that_is_replaced_no_longer_plays(
    server: MuxServer, library: MuxLibrary
) -> None:
    ident = library.add(renditions={"low.mp4": 9})
    old = (library.asset(ident) or {})["playback_ids"][0]["id"]
    library.update(ident, playback_ids=[{"id": "replaced", "policy": "public"}])
    assert plain(f"{server.url}/{old}/low.mp4").status_code == 404
    assert plain(f"{server.url}/replaced/low.mp4").status_code == 200


def test_assets_of_one_second_and_of_a_changed_one_are_listed_newest_first(
    server: MuxServer, library: MuxLibrary
) -> None:
    made = [library.add(created_at=1_700_000_000) for _ in range(5)]
    library.update(made[0], created_at="1700000001")
    expected = [made[0], *made[:0:-1]]
    assert [a["id"] for a in get(server, "/video/v1/assets").json()["data"]] == expected
    for ident in made:
        library.delete(ident)
    assert get(server, "/video/v1/assets").json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"passthrough": 5}', b'{"meta": "t"}', b'{"passthrough": "%b"}' % (b"x" * 256)],
)
def test_a_change_that_makes_no_sense_is_400(
    server: MuxServer, library: MuxLibrary, body: bytes
) -> None:
    ident = library.add(passthrough="a")
    auth = (server.token_id, server.token_secret)
    url = f"{server.url}/video/v1/assets/{ident}"
    answer = httpx2.patch(url, content=body, auth=auth, trust_env=False)
    assert (answer.status_code, set(answer.json()["error"])) == (400, {"type", "messages"})
    assert (library.asset(ident) or {})["passthrough"] == "a"


def test_what_the_server_does_not_know_is_refused_in_muxs_form(server: MuxServer) -> None:
    assert get(server, "/video/v1/uploads/a/b").json()["error"]["type"] == "not_found"
    server.reset_calls()
    assert not server.calls


def test_events_tell_the_status_that_an_asset_or_rendition_has(library: MuxLibrary) -> None:
    told: list[str] = []
    library.changed.append(lambda kind, _: told.append(kind))
    ident = library.add(status="preparing", notify=True)
    library.set_rendition(ident, "720p.mp4", 5, status="preparing")
    library.set_rendition(ident, "720p.mp4", 5)
    assert told == [
        "video.asset.created",
        "video.asset.static_rendition.created",
        "video.asset.static_rendition.ready",
    ]


def test_the_server_stops_while_nobody_takes_its_webhooks(library: MuxLibrary) -> None:
    before = set(threading.enumerate())
    started = time.monotonic()
    with MuxServer(library) as server:
        server.webhooks.pauses = (60.0,)
        server.webhooks.subscribe("http://127.0.0.1:9/", "s")
        ident = library.add()
        for number in range(20):
            library.update(ident, passthrough=str(number))
    assert time.monotonic() - started < 10
    assert set(threading.enumerate()) <= before  # what others left running may end meanwhile


def test_ten_thousand_assets_are_listed_in_seconds(server: MuxServer, library: MuxLibrary) -> None:
    made = library.add_many(10_000)
    auth = (server.token_id, server.token_secret)
    found, cursor = [], None
    started = time.monotonic()
    with httpx2.Client(base_url=server.url, auth=auth, trust_env=False) as client:
        while cursor or not found:
            asked = {"limit": 100, **({"cursor": cursor} if cursor else {})}
            answer = client.get("/video/v1/assets", params=asked).json()
            found += [a["id"] for a in answer["data"]]
            cursor = answer["next_cursor"]
    assert found == made[::-1]
    assert time.monotonic() - started < 30


def test_captions_are_served_as_webvtt(
    server: MuxServer, library: MuxLibrary, tmp_path: Path
) -> None:
    vtt = tmp_path / "en.vtt"
    vtt.write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n")
    asset = library.asset(library.add(captions={"en": vtt})) or {}
    track = next(t for t in asset["tracks"] if t["type"] == "text")
    url = f"{server.url}/{asset['playback_ids'][0]['id']}/text"
    assert "hello" in plain(f"{url}/{track['id']}.vtt").text
    assert plain(f"{url}/absent.vtt").status_code == 404


class Receiver(http.server.ThreadingHTTPServer):
    """Takes webhooks, and refuses the first ones."""

    def __init__(self, refuse: int = 0) -> None:
        self.refuse, self.got = refuse, list[tuple[str, bytes]]()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.headers["mux-signature"], body))
        self.server.refuse -= 1
        self.send_response(503 if self.server.refuse >= 0 else 200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Tests are quiet."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_changes_over_http_send_signed_webhooks_in_order(
    server: MuxServer, library: MuxLibrary, receiver: Receiver
) -> None:
    ident = library.add(passthrough="a")
    server.webhooks.subscribe(f"http://127.0.0.1:{receiver.server_port}/hook", "new", "old")
    auth = (server.token_id, server.token_secret)
    url = f"{server.url}/video/v1/assets/{ident}"
    changed = httpx2.patch(url, json={"passthrough": "b"}, auth=auth, trust_env=False)
    assert changed.json()["data"]["passthrough"] == "b"
    assert httpx2.delete(url, auth=auth, trust_env=False).status_code == 204
    server.webhooks.flush()
    told = [json.loads(body) for _, body in receiver.got]
    assert [t["type"] for t in told] == ["video.asset.updated", "video.asset.deleted"]
    assert {t["object"]["id"] for t in told} == {ident}
    assert isinstance(told[0]["data"]["created_at"], int)
    for header, body in receiver.got:
        assert holds(parse(header), body, "new")
        assert holds(parse(header), body, "old")
        assert not holds(parse(header), body, "other")
    assert get(server, f"/video/v1/assets/{ident}").status_code == 404


def test_a_webhook_that_is_not_taken_comes_again(
    server: MuxServer, library: MuxLibrary, receiver: Receiver
) -> None:
    receiver.refuse = 2
    server.webhooks.pauses = (0.0, 0.0, 0.0)
    server.webhooks.subscribe(f"http://127.0.0.1:{receiver.server_port}/hook", "s")
    library.update(library.add(), passthrough="x")
    server.webhooks.flush()
    assert [one.status for one in server.webhooks.sent] == [503, 503, 200]
    assert len({body for _, body in receiver.got}) == 1
    server.webhooks.deliver(event("video.asset.updated", {"id": "a"}), times=3)
    assert len(receiver.got) == 6


def test_the_signature_is_that_of_muxs_libraries() -> None:
    wanted = "854ece4c22acef7c66b57d4e504153bc512595e8e9c772ece2a68150548c19a7"
    assert signature("SuperSecret123", b'{"test":"body"}', 1565125718) == (
        f"t=1565125718,v1={wanted}"
    )
