"""Webhooks as Mux sends them: signed, in their own time, again when they are not taken."""

from __future__ import annotations

import hashlib
import hmac
import json
import queue
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2

JSON = dict[str, Any]
ANSWER_SECONDS = 5.0


def signature(secret: str, body: bytes, timestamp: int | None = None, *more: str) -> str:
    """The header `Mux-Signature`; `more` are further secrets, while one takes another's place."""
    at = int(time.time()) if timestamp is None else timestamp
    signed = f"{at}.".encode() + body
    hashes = (hmac.new(s.encode(), signed, hashlib.sha256).hexdigest() for s in (secret, *more))
    return ",".join([f"t={at}", *(f"v1={value}" for value in hashes)])


def event(kind: str, data: JSON) -> JSON:
    """A webhook's body. `created_at` of the asset is a number here, and text in the API."""
    inside = {**data, "created_at": int(data["created_at"])} if "created_at" in data else data
    about = inside.get("asset_id") or inside.get("id")
    return {
        "type": kind,
        "id": secrets.token_hex(16),
        "created_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "object": {"type": "asset", "id": about},
        "environment": {"name": "Test", "id": "env-test"},
        "data": inside,
        "request_id": None,
        "accessor": None,
        "accessor_source": None,
        "attempts": [],
    }


@dataclass
class Delivery:
    """One attempt at delivering."""

    url: str
    event: JSON
    status: int
    """HTTP status; 0: no answer."""
    answer: Any
    seconds: float


@dataclass
class Webhooks:
    """Sends events to those who asked for them, one after the other, from a thread of its own."""

    pauses: tuple[float, ...] = (0.05, 0.2, 0.5, 1.0, 2.0)
    """Seconds before each further attempt. Mux goes on for 24 hours."""
    sent: list[Delivery] = field(default_factory=list)
    _subscribers: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    _queue: queue.Queue[JSON | None] = field(default_factory=queue.Queue)
    _thread: threading.Thread | None = None
    _ending: threading.Event = field(default_factory=threading.Event)

    def subscribe(self, url: str, secret: str, *more: str) -> None:
        """`more` are further secrets that sign, while one takes another's place."""
        self._subscribers.append((url, (secret, *more)))

    def start(self) -> None:
        self._ending.clear()
        self._thread = threading.Thread(target=self._run, name="mux-webhooks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends within the seconds of one attempt; what was not taken by then is not sent again."""
        if self._thread is not None:
            self._ending.set()
            self._queue.put(None)
            self._thread.join(2 * ANSWER_SECONDS)

    def tell(self, kind: str, data: JSON) -> None:
        """Sends an event soon."""
        if self._subscribers:
            self._queue.put(event(kind, data))

    def flush(self) -> None:
        """Returns when all that was told has been delivered, or given up."""
        self._queue.join()

    def deliver(self, told: JSON, times: int = 1) -> list[Delivery]:
        """Delivers one event by hand, so often; for repeats, and for a wrong order."""
        return [
            self._post(url, of, told) for _ in range(times) for url, of in list(self._subscribers)
        ]

    def _run(self) -> None:
        while (told := self._queue.get()) is not None:
            try:
                for url, of in list(self._subscribers):
                    self._insist(url, of, told)
            finally:
                self._queue.task_done()
        self._queue.task_done()

    def _insist(self, url: str, of: tuple[str, ...], told: JSON) -> None:
        for pause in (*self.pauses, None):
            if self._ending.is_set() or 200 <= self._post(url, of, told).status < 300:
                return
            if pause is not None:
                self._ending.wait(pause)

    def _post(self, url: str, signing_secrets: tuple[str, ...], told: JSON) -> Delivery:
        body = json.dumps(told).encode()
        headers = {
            "Content-Type": "application/json",
            "Mux-Signature": signature(signing_secrets[0], body, None, *signing_secrets[1:]),
        }
        started = time.monotonic()
        status, answer = 0, None
        try:
            reply = httpx2.post(
                url, content=body, headers=headers, timeout=ANSWER_SECONDS, trust_env=False
            )
            status = reply.status_code
            answer = reply.json()
        except (httpx2.HTTPError, ValueError) as error:
            answer = answer if status else repr(error)
        made = Delivery(url, told, status, answer, time.monotonic() - started)
        self.sent.append(made)
        return made
