"""Requests to Mux: credentials, patience, the rate limit, and faults in words for a status."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
import jwt

from telecine.api.connection import MuxConfig
from telecine.providers.addresses import require_public
from telecine.providers.base import AssetChangedError, ProviderError
from telecine.providers.calls import Calls
from telecine.providers.limiter import RateLimiter
from telecine.providers.mux_assets import Places
from telecine.providers.redact import redact

API = "https://api.mux.com"
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 60.0
_MOST_PATIENCE = 120.0
"""Seconds of Retry-After in all that one request waits for, before the run fails and comes back."""
_NEW_TOKEN = "create one in the Mux dashboard under Settings, Access Tokens, with Mux Video Read"


class MuxApi:
    """Mux's API with one access token; usable from several threads."""

    def __init__(
        self,
        config: MuxConfig,
        secret: Mapping[str, str],
        *,
        calls: Calls | None = None,
        allow_private: bool = True,
        attempts: int = 5,
    ) -> None:
        """`attempts` is how often a request is tried. No network is touched."""
        self.secret = secret
        self.calls = calls or Calls()
        self.endpoint = (config.endpoint or API).rstrip("/")
        stream = (config.stream_endpoint or Places().stream).rstrip("/")
        thumbnail = config.thumbnail_endpoint or config.stream_endpoint or Places().thumbnail
        self.places = Places(stream, thumbnail.rstrip("/"))
        self._id = secret.get("access_token_id", "").strip()
        self._attempts = attempts
        self._allow_private = allow_private
        rate = config.requests_per_second
        bearer = hashlib.sha256(self._id.encode()).hexdigest()
        self.limiter = RateLimiter(f"mux {self.endpoint} {bearer}", rate, max(int(rate), 1))
        self._lock = threading.Lock()
        self._client: httpx2.Client | None = None

    def get(self, path: str, parameters: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        """The answer's JSON; waits its turn, and what a 429 asks for.

        Raises:
            AssetChangedError: 404.
            ProviderError: in Mux's words, without the credentials.
        """
        waited, attempt = 0.0, 0
        while True:
            attempt += 1
            self._take_turn()
            try:
                with self.calls.answering():
                    answer = self._http().get(
                        f"{self.endpoint}{path}", params=dict(parameters or {}), auth=self._auth()
                    )
            except httpx2.RequestError as error:
                if attempt >= self._attempts:
                    raise self._unreachable(error) from error
                time.sleep(_pause(attempt))
                continue
            if answer.status_code == 429:
                pause = _retry_after(answer, attempt)
                self.limiter.pause(pause)
                waited += pause
                if attempt < 2 * self._attempts and waited <= _MOST_PATIENCE:
                    continue
            elif answer.status_code >= 500 and attempt < self._attempts:
                time.sleep(_pause(attempt))
                continue
            return self._read(answer, path)

    def _take_turn(self) -> None:
        try:
            self.limiter.wait(_MOST_PATIENCE)
        except TimeoutError as error:
            raise self.fault("Throttled", f"Mux asked for a pause: {error}") from error

    @contextmanager
    def stream(self, url: str, name: str) -> Iterator[httpx2.Response]:
        """A download, without the credentials; `name` is how messages call it.

        Raises:
            AssetChangedError: it is not there.
            ProviderError: of this asset alone, unless nothing answers at all.
        """
        try:
            with self._http().stream(
                "GET", url, headers={"Accept-Encoding": "identity"}, follow_redirects=True
            ) as answer:
                if answer.status_code != 200:
                    raise self._no_content(answer, name)
                yield answer
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            self.calls.failed()
            raise self._unreachable(error) from error
        except httpx2.RequestError as error:
            self.calls.failed()
            raise self.fault("ReadInterrupted", f"{name}: {error!r}", asset_only=True) from error

    def token(self, playback_id: str, audience: str = "v", seconds: int = 3600) -> str | None:
        """A signed token for a playback id (RS256; Mux, "Secure video playback"); None without a
        signing key in the Secret.

        Raises:
            ProviderError: the key cannot be read.
        """
        ident, key = self.signing_key
        if not ident or not key:
            return None
        claims = {"sub": playback_id, "aud": audience, "exp": int(time.time()) + seconds}
        try:
            return jwt.encode(claims, _pem(key), algorithm="RS256", headers={"kid": ident})
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise ProviderError(
                "SigningKeyInvalid",
                "signing_private_key of the Secret is no RSA private key: it must be the PEM that "
                "Mux showed when the signing key was made, or the base64 of it",
                permanent=True,
            ) from error

    @property
    def signing_key(self) -> tuple[str, str]:
        """Id and private key; empty where the Secret has none."""
        read = self.secret.get
        return read("signing_key_id", "").strip(), read("signing_private_key", "").strip()

    def fault(
        self, reason: str, text: str, *, permanent: bool = False, asset_only: bool = False
    ) -> ProviderError:
        """With a message fit to be seen."""
        message = redact(text, self.secret)
        return ProviderError(reason, message, permanent=permanent, asset_only=asset_only)

    def _auth(self) -> tuple[str, str]:
        return self._id, self.secret.get("access_token_secret", "").strip()

    def _http(self) -> httpx2.Client:
        with self._lock:
            if self._client is None:
                hooks = self.calls.hooks()
                if not self._allow_private:
                    hooks["request"].append(_require_public)
                self._client = httpx2.Client(
                    timeout=httpx2.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS),
                    headers={"User-Agent": "telecine", "Accept": "application/json, */*"},
                    event_hooks=hooks,
                    max_redirects=5,
                )
                # Providers are made for one check or run, and have no end of their own.
                weakref.finalize(self, self._client.close)
            return self._client

    def _read(self, answer: httpx2.Response, path: str) -> dict[str, Any]:
        status = answer.status_code
        if status == 200:
            try:
                body = answer.json()
            except ValueError:
                body = None
            if isinstance(body, dict):
                return body
            raise self.fault("SourceUnreadable", f"{path}: not a JSON object, from {self.endpoint}")
        text = f"{status}: {_words(answer)}"
        if status == 401:
            raise self.fault(
                "Unauthorized",
                "Mux refuses access_token_id and access_token_secret of the Secret (the id is a "
                f"UUID, not the environment's id); {_NEW_TOKEN}. {text}",
                permanent=True,
            )
        if status == 403:
            raise self.fault(
                "Unauthorized",
                f"the access token may not read Mux Video: {_NEW_TOKEN}. {text}",
                permanent=True,
            )
        if status == 404:
            raise AssetChangedError(redact(f"Mux knows no {path}: {text}", self.secret))
        if status == 429:
            raise self.fault("Throttled", f"Mux asks for fewer requests. {text}")
        if status >= 500:
            raise self.fault("SourceUnavailable", text)
        raise self.fault("SourceRefused", f"{path}: {text}", permanent=status < 300)

    def _no_content(self, answer: httpx2.Response, name: str) -> ProviderError:
        status = answer.status_code
        if status in (404, 410, 412):
            return AssetChangedError(redact(f"{name} is gone or not available yet", self.secret))
        if status in (401, 403):
            return self.fault(
                "AccessDenied",
                f"{name}: {status}; a signed playback id needs signing_key_id and "
                "signing_private_key of the same Mux environment in the Secret",
                asset_only=True,
            )
        reason = "Throttled" if status == 429 else "SourceUnavailable"
        return self.fault(reason, f"{name}: status {status}", asset_only=True)

    def _unreachable(self, error: Exception) -> ProviderError:
        words = str(error) or type(error).__name__
        return self.fault("Unreachable", f"{self.endpoint} cannot be reached: {words}")


def _require_public(request: httpx2.Request) -> None:
    require_public(str(request.url))


def _words(answer: httpx2.Response) -> str:
    """What Mux says: `{"error": {"type", "messages"}}`."""
    try:
        error = answer.json()["error"]
        return f"{error['type']}: {'; '.join(map(str, error.get('messages') or []))}"
    except (ValueError, KeyError, TypeError):
        return answer.text[:200].strip() or answer.reason_phrase


def _pause(attempt: int) -> float:
    """Seconds before the next attempt: 0.25, 0.5, 1, ..."""
    return float(min(0.25 * 2 ** (attempt - 1), 8.0))


def _retry_after(answer: httpx2.Response, attempt: int) -> float:
    try:
        return max(float(answer.headers["retry-after"]), 0.05)
    except (KeyError, ValueError):
        return _pause(attempt)


def _pem(key: str) -> str:
    if key.startswith("-----"):
        return key
    return base64.b64decode(key, validate=True).decode()
