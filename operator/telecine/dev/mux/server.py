"""Mux's API, stream and image hosts in one server; their paths do not collide."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import jwt
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from telecine.dev.mux.bodies import PIXEL, zeros
from telecine.dev.mux.library import JSON, MuxLibrary, Position, SigningKey
from telecine.dev.mux.limits import Bucket
from telecine.dev.mux.webhooks import Webhooks
from telecine.dev.serving import Serving

_MOST, _USUAL, _PASSTHROUGH_LETTERS = 100, 25, 255


class _RefusedError(Exception):
    def __init__(
        self, status: int, kind: str, *messages: str, retry_after: float | None = None
    ) -> None:
        super().__init__(kind)
        self.status, self.kind, self.messages = status, kind, messages
        self.retry_after = retry_after


class MuxServer:
    """For a `with` block, on a free port of loopback unless told otherwise."""

    def __init__(
        self,
        library: MuxLibrary,
        token_id: str = "a3b02074-dbca-47b6-9a2b-7a4f8fbc2d31",
        token_secret: str = "Am9+RGn2mhmzDemo",
        *,
        requests_per_second: float | None = None,
        burst: int = 5,
        signing_key: SigningKey | None = None,
        clock: Callable[[], float] = time.monotonic,
        address: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        """Without `requests_per_second` no call is refused for coming too soon."""
        self._address = address
        self.library = library
        self.token_id, self.token_secret = token_id, token_secret
        self.signing_key = signing_key
        self.calls: Counter[tuple[str, int]] = Counter()
        self.webhooks = Webhooks()
        self._bucket = (
            None if requests_per_second is None else Bucket(requests_per_second, burst, clock)
        )
        self._failures: list[tuple[int, float | None]] = []
        self._serving: Serving | None = None

    @property
    def url(self) -> str:
        assert self._serving is not None, "the server was not started"
        return self._serving.url

    def count(self, call: str) -> int:
        """How often `GET /video/v1/assets` was called, whatever came of it."""
        return sum(number for (name, _), number in self.calls.copy().items() if name == call)

    def reset_calls(self) -> None:
        """Counts from zero."""
        self.calls.clear()

    def fail_next(self, times: int, status: int = 500, retry_after: float | None = None) -> None:
        """The next calls of the API end so."""
        self._failures += [(status, retry_after)] * times

    def __enter__(self) -> Self:
        self._serving = Serving(self._app(), lifespan=False, address=self._address)
        self._serving.__enter__()
        self.webhooks.start()
        self.library.changed.append(self.webhooks.tell)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.library.changed.remove(self.webhooks.tell)
        self.webhooks.stop()
        if self._serving is not None:
            self._serving.__exit__(kind, error, trace)

    def _app(self) -> Starlette:
        asset = "/video/v1/assets/{asset_id}"
        api = (
            ("GET", "/video/v1/assets", self._list),
            ("GET", asset, self._get),
            ("PATCH", asset, self._patch),
            ("DELETE", asset, self._delete),
            ("GET", "/system/v1/whoami", self._whoami),
        )
        routes = [
            Route(path, self._guarded(f"{method} {path}", answer), methods=[method])
            for method, path, answer in api
        ]
        routes += [
            Route("/{playback_id}.m3u8", self._manifest),
            Route("/{playback_id}/thumbnail.jpg", self._thumbnail),
            Route("/{playback_id}/text/{track_id}.vtt", self._captions),
            Route("/{playback_id}/{name}", self._rendition),
        ]
        handlers: dict[Any, Any] = {_RefusedError: _refusal, HTTPException: _unknown}
        return Starlette(routes=routes, exception_handlers=handlers)

    def _guarded(self, call: str, answer: Callable[[Request, JSON], Response]) -> Any:
        async def guarded(request: Request) -> Response:
            status = 500
            try:
                self._admit(request)
                reply = answer(request, _json(await request.body()))
                status = reply.status_code
                return reply
            except _RefusedError as refused:
                status = refused.status
                raise
            finally:
                self.calls[call, status] += 1

        return guarded

    def _admit(self, request: Request) -> None:
        if self._failures:
            status, after = self._failures.pop(0)
            kind = "too_many_requests" if status == 429 else "internal"
            raise _RefusedError(status, kind, "as was asked for", retry_after=after)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        try:
            told = base64.b64decode(given, validate=True) if scheme.lower() == "basic" else b""
        except binascii.Error:
            told = b""
        if not hmac.compare_digest(told, f"{self.token_id}:{self.token_secret}".encode()):
            raise _RefusedError(401, "unauthorized", "Unauthorized request")
        wait = self._bucket.take() if self._bucket is not None else 0.0
        if wait:
            raise _RefusedError(
                429, "too_many_requests", "Too many requests", retry_after=max(round(wait, 2), 0.01)
            )

    def _list(self, request: Request, _: JSON) -> Response:
        asked = request.query_params
        limit = min(_number(asked.get("limit"), _USUAL), _MOST)
        if "cursor" in asked:
            found = self.library.after(_position(asked["cursor"]), limit + 1)
        elif "page" in asked:
            found = self.library.page(_number(asked["page"], 1), limit)
        else:
            found = self.library.after(None, limit + 1)
        page = found[:limit]
        cursor = _cursor(page[-1][0]) if len(found) > limit else None
        return JSONResponse({"data": [data for _, data in page], "next_cursor": cursor})

    def _get(self, request: Request, _: JSON) -> Response:
        return JSONResponse({"data": self._asset(request)})

    def _patch(self, request: Request, body: JSON) -> Response:
        ident = self._asset(request)["id"]
        changes: JSON = {key: body[key] for key in ("passthrough", "meta") if key in body}
        text, meta = changes.get("passthrough") or "", changes.get("meta") or {}
        typed = isinstance(text, str) and isinstance(meta, dict)
        if not typed or len(text) > _PASSTHROUGH_LETTERS:
            raise _RefusedError(400, "invalid_parameters", "passthrough or meta is not valid")
        return JSONResponse({"data": self.library.update(ident, **changes)})

    def _delete(self, request: Request, _: JSON) -> Response:
        self.library.delete(self._asset(request)["id"])
        return Response(status_code=204)

    def _whoami(self, request: Request, _: JSON) -> Response:
        who = {
            "environment_id": "env-test", "environment_name": "Test",
            "organization_id": "org-test", "organization_name": "Telecine",
            "access_token_name": "telecine", "permissions": ["video:read"],
        }  # fmt: skip
        return JSONResponse({"data": who})

    def _asset(self, request: Request) -> JSON:
        found = self.library.asset(request.path_params["asset_id"])
        if found is None:
            raise _RefusedError(
                404, "not_found", "The requested resource either doesn't exist or you don't "
                "have access to it.",
            )  # fmt: skip
        return found

    def _played(self, request: Request, audience: str = "v") -> Any:
        playback_id = request.path_params["playback_id"]
        found = self.library.played(playback_id)
        if found is None:
            raise _RefusedError(404, "not_found", "No such playback id")
        stored, policy = found
        if policy == "drm" or (
            policy == "signed" and not self._may(request.query_params, playback_id, audience)
        ):
            raise _RefusedError(403, "forbidden", "This playback id needs a valid token")
        return stored

    def _may(self, asked: Any, playback_id: str, audience: str) -> bool:
        key, token = self.signing_key, asked.get("token", "")
        try:
            if key is None or jwt.get_unverified_header(token).get("kid") != key.id:
                return False
            claims = jwt.decode(
                token, key.public_key, ["RS256"], audience=audience,
                options={"require": ["exp", "sub", "aud"]},
            )  # fmt: skip
        except jwt.PyJWTError:
            return False
        return bool(claims["sub"] == playback_id)

    def _rendition(self, request: Request) -> Response:
        name = request.path_params["name"]
        stored = self._played(request)
        made = stored.data.get("static_renditions") or {}
        # Only what the old mp4_support made has one status for all files.
        whole = made.get("status") if stored.data.get("mp4_support", "none") != "none" else None
        ready = {f["name"] for f in made.get("files", []) if f.get("status", whole) == "ready"}
        body = stored.files.get(name) if name in ready else None
        if body is None:
            raise _RefusedError(404, "not_found", "No such rendition")
        kind = "audio/mp4" if name.endswith(".m4a") else "video/mp4"
        if isinstance(body, int):
            return zeros(body, kind, request.headers.get("range"))
        return FileResponse(body, media_type=kind)

    def _captions(self, request: Request) -> Response:
        path = self._played(request).captions.get(request.path_params["track_id"])
        if path is None:
            raise _RefusedError(404, "not_found", "No such track")
        return FileResponse(path, media_type="text/vtt")

    def _manifest(self, request: Request) -> Response:
        self._played(request)
        text = "#EXTM3U\n#EXT-X-VERSION:5\n#EXT-X-STREAM-INF:BANDWIDTH=800000\nrendition.m3u8\n"
        return PlainTextResponse(text, media_type="application/x-mpegURL")

    def _thumbnail(self, request: Request) -> Response:
        self._played(request, "t")
        return Response(PIXEL, media_type="image/jpeg")


def _refusal(request: Request, refused: _RefusedError) -> Response:
    headers = {} if refused.retry_after is None else {"Retry-After": f"{refused.retry_after:g}"}
    error = {"type": refused.kind, "messages": list(refused.messages)}
    return JSONResponse({"error": error}, status_code=refused.status, headers=headers)


def _unknown(request: Request, error: HTTPException) -> Response:
    kind = "not_found" if error.status_code == 404 else "invalid_request"
    return _refusal(request, _RefusedError(error.status_code, kind, error.detail))


def _json(raw: bytes) -> JSON:
    try:
        body = json.loads(raw) if raw else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _RefusedError(400, "invalid_parameters", "the body is no JSON object")
    return body


def _number(text: str | None, usual: int) -> int:
    try:
        number = usual if text is None else int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise _RefusedError(400, "invalid_parameters", f"{text!r} is no positive number")
    return number


def _cursor(position: Position) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _position(cursor: str) -> Position:
    try:
        at, number, ident = json.loads(base64.urlsafe_b64decode(cursor))
        return int(at), int(number), str(ident)
    except (ValueError, TypeError) as error:
        raise _RefusedError(400, "invalid_parameters", "cursor is not one of ours") from error
