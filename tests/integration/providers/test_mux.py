"""Mux as a source, against a server with Mux's manners."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from telecine.api.connection import ConnectionSpec, MuxConfig
from telecine.dev.mux import MuxLibrary, MuxServer, SigningKey
from telecine.planning.types import Asset
from telecine.providers.base import AssetChangedError, ProviderError
from telecine.providers.mux import MuxProvider
from telecine.providers.registry import create

SECRET = "Am9+RGn2mhmz/verySecretValue"
FILM = bytes(range(256)) * 2000


@pytest.fixture
def library() -> MuxLibrary:
    return MuxLibrary()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(FILM)
    return path


@pytest.fixture
def server(library: MuxLibrary) -> Iterator[MuxServer]:
    with MuxServer(library, token_secret=SECRET) as running:
        yield running


def config(server: MuxServer, **more: Any) -> MuxConfig:
    given = {"endpoint": server.url, "streamEndpoint": server.url, "requestsPerSecond": 1000}
    return MuxConfig.model_validate(given | more)


def provider(server: MuxServer, secret: dict[str, str] | None = None, **more: Any) -> MuxProvider:
    credentials = {"access_token_id": server.token_id, "access_token_secret": server.token_secret}
    return MuxProvider(config(server, **more), credentials | (secret or {}), attempts=3)


def listed(made: MuxProvider, source_path: str = "mux://") -> dict[str, Asset]:
    assets = [asset for page in made.list(source_path) for asset in page]
    by_id = {asset.id: asset for asset in assets}
    assert len(by_id) == len(assets), "an asset was listed twice"
    return by_id


def read(made: MuxProvider, asset: Asset) -> bytes:
    with made.open(asset) as stream:
        return stream.read()


def test_an_empty_environment_has_no_assets(server: MuxServer) -> None:
    assert listed(provider(server)) == {}


def test_each_asset_is_listed_once_over_several_pages(
    server: MuxServer, library: MuxLibrary
) -> None:
    made = library.add_many(250, renditions={"low.mp4": 10})
    assert set(listed(provider(server))) == set(made)
    assert server.count("GET /video/v1/assets") == 3
    assert server.count("GET /video/v1/assets/{asset_id}") == 0


def test_a_listing_neither_loses_nor_repeats_while_assets_come_and_go(
    server: MuxServer, library: MuxLibrary
) -> None:
    made = library.add_many(250)
    pages = provider(server).list("")
    seen = [asset.id for asset in next(pages)]
    library.add()
    library.delete(made[0])
    library.delete(made[-1])
    seen += [asset.id for page in pages for asset in page]
    assert len(seen) == len(set(seen))
    assert set(seen) >= set(made[1:-1])


def test_mux_and_an_id_is_that_asset_alone(server: MuxServer, library: MuxLibrary) -> None:
    ident, _ = library.add_many(2)
    assert set(listed(provider(server), f"mux://{ident}")) == {ident}
    assert server.count("GET /video/v1/assets") == 0
    library.delete(ident)
    assert listed(provider(server), f"mux://{ident}") == {}


@pytest.mark.parametrize("path", ["mux://a/b", "s3://a", "mux://a b", "mux://ä", "mux://../x"])
def test_a_source_path_that_is_none_is_refused(server: MuxServer, path: str) -> None:
    with pytest.raises(ProviderError) as caught:
        list(provider(server).list(path))
    assert (caught.value.reason, caught.value.permanent) == ("SourcePathInvalid", True)


def test_a_rendition_is_read_whole_and_in_pieces(
    server: MuxServer, library: MuxLibrary, film: Path
) -> None:
    made, ident = provider(server), library.add(film)
    asset = listed(made)[ident]
    assert (asset.size, asset.mime_type, asset.unavailable) == (len(FILM), "video/mp4", None)
    assert read(made, asset) == FILM
    with made.open(asset) as stream:
        assert b"".join(iter(lambda: stream.read(1000), b"")) == FILM
    assert server.count("GET /video/v1/assets/{asset_id}") == 0


def test_twenty_assets_are_read_at_once(server: MuxServer, library: MuxLibrary, film: Path) -> None:
    made = provider(server)
    for _ in range(20):
        library.add(film)
    with ThreadPoolExecutor(20) as pool:
        contents = list(pool.map(lambda asset: read(made, asset), listed(made).values()))
    assert contents == [FILM] * 20


def test_what_went_since_the_listing_has_changed(
    server: MuxServer, library: MuxLibrary, film: Path
) -> None:
    made, ident = provider(server), library.add(film)
    asset = listed(made)[ident]
    library.delete(ident)
    with pytest.raises(AssetChangedError):
        read(made, asset)
    with pytest.raises(AssetChangedError):
        made.asset(ident)


def test_what_the_ledger_knows_is_enough_to_read(
    server: MuxServer, library: MuxLibrary, film: Path
) -> None:
    made, ident = provider(server), library.add(film)
    from_ledger = listed(made)[ident]._replace(complete=False)
    assert made.describe(from_ledger).complete
    assert read(made, from_ledger) == FILM
    assert made.describe(from_ledger._replace(metadata={})).metadata == from_ledger.metadata


def test_a_link_plays_the_asset(server: MuxServer, library: MuxLibrary, film: Path) -> None:
    import httpx2

    made, ident = provider(server), library.add(film)
    link = made.link(listed(made)[ident])
    assert link is not None
    assert httpx2.get(link, trust_env=False).content == FILM
    bare = library.add(renditions={})
    assert made.link(listed(made)[bare]) is None


def test_signed_playback_ids_are_read_with_the_signing_key(library: MuxLibrary, film: Path) -> None:
    key = SigningKey.make()
    ident = library.add(film, policies=("signed",))
    with MuxServer(library, signing_key=key) as server:
        without = listed(provider(server))[ident]
        assert without.unavailable == "no_signing_key"
        for private in (key.private_key, base64.b64decode(key.private_key).decode()):
            secret = {"signing_key_id": key.id, "signing_private_key": private}
            made = provider(server, secret)
            asset = listed(made)[ident]
            assert asset.unavailable is None
            assert read(made, asset) == FILM
            assert "token" not in str(asset.metadata)
            assert "token=" in str(made.link(asset))
        wrong = {"signing_key_id": "other", "signing_private_key": key.private_key}
        with pytest.raises(ProviderError, match="signed playback") as caught:
            read(provider(server, wrong), asset)
        assert (caught.value.reason, caught.value.asset_only) == ("AccessDenied", True)
        bad = provider(server, {"signing_key_id": "x", "signing_private_key": "nonsense"})
        with pytest.raises(ProviderError, match="no RSA private key") as caught:
            bad.check()
        assert caught.value.permanent


def test_captions_of_the_asset_are_told(
    server: MuxServer, library: MuxLibrary, tmp_path: Path, film: Path
) -> None:
    vtt = tmp_path / "en.vtt"
    vtt.write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n")
    with_text, without = library.add(film, captions={"en-GB": vtt}), library.add(film)
    made = provider(server)
    assets = listed(made)
    told = made.captions(assets[with_text])
    assert told is not None
    assert ("hello" in told.text, told.language) == (True, "en-GB")
    assert made.captions(assets[without]) is None
    vtt.write_bytes(b"x" * (17 << 20))
    with pytest.raises(ProviderError) as caught:
        made.captions(assets[with_text])
    assert (caught.value.reason, caught.value.asset_only) == ("TooLarge", True)


def test_a_check_names_the_environment(server: MuxServer, library: MuxLibrary) -> None:
    ident = library.add()
    assert provider(server).check() == "the assets of Mux environment Test can be listed"
    assert ident in provider(server).check(f"mux://{ident}")


def test_401_says_which_credential_and_where_a_new_one_is(server: MuxServer) -> None:
    credentials = {"access_token_id": server.token_id, "access_token_secret": "wr0ng" + SECRET}
    made = MuxProvider(config(server), credentials)
    for use in (made.check, lambda: list(made.list(""))):
        with pytest.raises(ProviderError) as caught:
            use()
        assert (caught.value.reason, caught.value.permanent) == ("Unauthorized", True)
        said = str(caught.value)
        assert "access_token_id and access_token_secret" in said
        assert "Settings, Access Tokens" in said
        assert SECRET not in said


def test_an_unreachable_endpoint_may_come_back() -> None:
    made = MuxProvider(
        MuxConfig(endpoint="http://127.0.0.1:9"),
        {"access_token_id": "x", "access_token_secret": SECRET},
        attempts=2,
    )
    for use in (made.check, lambda: list(made.list(""))):
        with pytest.raises(ProviderError) as caught:
            use()
        assert (caught.value.reason, caught.value.permanent) == ("Unreachable", False)
        assert not caught.value.asset_only


def test_a_listing_that_breaks_never_ends_quietly(server: MuxServer, library: MuxLibrary) -> None:
    library.add_many(150)
    pages = provider(server).list("")
    assert len(next(pages)) == 100
    server.fail_next(3, 500)
    with pytest.raises(ProviderError) as caught:
        next(pages)
    assert (caught.value.reason, caught.value.permanent) == ("SourceUnavailable", False)


def test_a_passing_fault_is_tried_again(server: MuxServer, library: MuxLibrary) -> None:
    library.add_many(150)
    server.fail_next(2, 502)
    assert len(listed(provider(server))) == 150


@pytest.mark.parametrize(
    "answer",
    [
        {"data": [{"status": "ready"}], "next_cursor": None},
        {"data": ["x"], "next_cursor": None},
        {"data": [], "next_cursor": "round and round"},
        {"data": []},
        {"next_cursor": None},
        [],
    ],
)
def test_an_answer_that_cannot_be_understood_never_counts_as_the_end(
    answer: Any, monkeypatch: pytest.MonkeyPatch, server: MuxServer
) -> None:
    made = provider(server)
    monkeypatch.setattr(made._api, "get", lambda *_: answer)
    with pytest.raises((ProviderError, AttributeError, TypeError)) as caught:
        list(made.list(""))
    if isinstance(answer, dict):
        assert getattr(caught.value, "reason", "") == "SourceUnreadable"


def test_a_body_that_cannot_be_unpacked_is_a_fault_of_its_asset_alone() -> None:
    class Broken(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", "8")
            self.end_headers()
            self.wfile.write(b"not gzip")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        told = {"endpoint": url, "streamEndpoint": url}
        made = MuxProvider(MuxConfig.model_validate(told), attempts=2)
        metadata = {"playback_id": "p", "static_rendition": "low.mp4"}
        asset = Asset("a", "a.mp4", 8, 0.0, "", "", metadata=metadata)
        try:
            with pytest.raises(ProviderError) as caught:
                listed(made)
            assert not caught.value.asset_only
            with pytest.raises(ProviderError) as caught:
                read(made, asset)
            assert caught.value.asset_only
        finally:
            server.shutdown()
            thread.join()


def test_429_is_waited_for_as_long_as_it_says(server: MuxServer, library: MuxLibrary) -> None:
    library.add()
    server.fail_next(2, 429, retry_after=0.4)
    started = time.monotonic()
    assert len(listed(provider(server))) == 1
    assert time.monotonic() - started >= 0.8


def test_a_429_of_one_holds_up_all_that_use_the_token(
    server: MuxServer, library: MuxLibrary
) -> None:
    one, other = provider(server), provider(server)
    server.fail_next(1, 429, retry_after=130)
    with pytest.raises(ProviderError, match="asks for fewer requests"):
        listed(one)
    with pytest.raises(ProviderError, match=r"in 1(30|29) s") as caught:
        listed(other)
    assert (caught.value.reason, caught.value.permanent) == ("Throttled", False)
    assert server.count("GET /video/v1/assets") == 1


def test_endless_429_ends_in_a_failure_that_comes_back(server: MuxServer) -> None:
    server.fail_next(1000, 429, retry_after=0.01)
    with pytest.raises(ProviderError) as caught:
        listed(provider(server))
    assert (caught.value.reason, caught.value.permanent) == ("Throttled", False)


def test_mux_is_never_asked_faster_than_it_allows(library: MuxLibrary) -> None:
    library.add_many(1200)
    limits: Any = {"requests_per_second": 20, "burst": 20}
    with MuxServer(library, **limits) as server:
        fast = provider(server, requestsPerSecond=20)
        assert len(listed(fast)) == 1200
        assert len(listed(provider(server, requestsPerSecond=20))) == 1200
        refused = sum(n for (_, status), n in server.calls.items() if status == 429)
        assert refused <= 1  # clocks of two sides round differently


def test_private_addresses_are_refused_where_the_operator_says_so(server: MuxServer) -> None:
    spec = ConnectionSpec.model_validate(
        {
            "provider": "mux",
            "mux": {"endpoint": server.url},
            "secretRef": {"name": "mux"},
        }
    )
    secret = {"access_token_id": server.token_id, "access_token_secret": server.token_secret}
    with pytest.raises(ProviderError) as caught:
        create(spec, secret, allow_private=False).check()
    assert caught.value.reason == "EndpointRefused"
    assert not server.calls
