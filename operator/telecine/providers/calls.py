"""How often a source was called, and how that went. One counter a provider instance."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from telecine.api.sync import ProviderCalls

if TYPE_CHECKING:
    import httpx2

THROTTLED = 429


class Calls:
    """Counts requests as they go out: one that is tried three times counts three times.

    Thread-safe. A provider without a network has one that stays at zero.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._total = self._errors = self._throttled = 0

    def began(self) -> None:
        """A request goes out."""
        with self._mutex:
            self._total += 1

    def failed(self, *, throttled: bool = False) -> None:
        """The answer to it was a refusal, or there was none."""
        with self._mutex:
            self._errors += 1
            self._throttled += throttled

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Counts what is raised instead of an answer, or in the midst of one."""
        try:
            yield
        except Exception:
            self.failed()
            raise

    def told(self) -> ProviderCalls:
        """The counts until now."""
        with self._mutex:
            return ProviderCalls(total=self._total, errors=self._errors, throttled=self._throttled)

    def hooks(self) -> dict[str, list[Any]]:
        """`event_hooks` of an httpx2 client; they see each hop of a redirect, and no exceptions."""

        def request(_: httpx2.Request) -> None:
            self.began()

        def response(answer: httpx2.Response) -> None:
            if answer.is_error:
                self.failed(throttled=answer.status_code == THROTTLED)

        return {"request": [request], "response": [response]}

    def watch(self, client: Any, throttled: frozenset[str] = frozenset()) -> None:
        """Counts what a client of boto3 sends; `throttled` are error codes that ask for less."""

        def sent(**_: Any) -> None:
            self.began()

        def received(
            response_dict: Mapping[str, Any] | None = None,
            parsed_response: Mapping[str, Any] | None = None,
            **_: Any,
        ) -> None:
            status = int((response_dict or {}).get("status_code", 0))
            error = (parsed_response or {}).get("Error")
            if error or not 200 <= status < 300:
                code = str((error or {}).get("Code", ""))
                self.failed(throttled=code in throttled or status in (THROTTLED, 503))

        # Before whoever may refuse to send it: what failed was begun.
        client.meta.events.register_first("before-send", sent)
        client.meta.events.register("response-received", received)
