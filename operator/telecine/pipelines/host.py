"""The worker's side: calls a user's handler on one asset after another, and believes it nothing."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from telecine.extractors.loading import ModelUnavailableError
from telecine.pipelines import embedding
from telecine.pipelines.bundle import Bundle
from telecine.pipelines.embedding import AskedNonsenseError, Embedder
from telecine.pipelines.faults import HandlerError, RuntimeUnavailableError
from telecine.pipelines.judging import checked, ending, failure, meddled, own_url
from telecine.pipelines.link import Clock, Link, OwnSupervisor, connected, opened, pair, readable
from telecine.pipelines.output import Masking
from telecine.pipelines.serving import AssetServer
from telecine.pipelines.surroundings import HandlerLimits
from telecine.pipelines.wire import Frame, WireError
from telecine.providers.redact import forms

_SETTLE_SECONDS = 40.0
"""For the supervisor to end everything of a runner."""
_GRACE_SECONDS = 2.0
"""For the news of a runner's end after its connection closed."""
_MESSAGE = 2000
_ATTEMPTS = 3
_QUESTIONS = frozenset({"embed", "file_url"})


class Handler:
    """One bundle's handler, ready for one asset after another. A context manager.

    Processes start with the first call. The runner keeps the user's imports and state from asset
    to asset; after one that it did not survive, the next gets a new one.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        environment: Mapping[str, str],
        limits: HandlerLimits | None = None,
        embedder: Embedder | None = None,
        socket: Path | None = None,
        log: Callable[[str, str], None] = lambda _asset, _line: None,
    ) -> None:
        """
        Args:
            environment: of the handler, all of it secret; for a supervisor that is started here.
            socket: of a supervisor in another container; None to start one.
            log: takes an asset's name and a line that its handler printed.
        """
        self._bundle, self._environment = bundle, environment
        self._limits = limits or HandlerLimits()
        self._embedder = embedder or Embedder()
        self._socket, self._log = socket, log
        self._masking = Masking(forms(environment))
        self._own: OwnSupervisor | None = None
        self._control: Link | None = None
        self._runner: Link | None = None
        self._number = 0
        self._call = 0
        self._ended: Frame | None = None
        self._settled = False
        self._failure: HandlerError | None = None
        self._assets: AssetServer | None = None

    def __enter__(self) -> Handler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process of it."""
        self._forget()
        if self._assets is not None:
            self._assets.close()
            self._assets = None

    def call(
        self, event: Mapping[str, Any], content: Path, name: str, mime_type: str
    ) -> Iterator[dict[str, Any]]:
        """The documents that the handler makes of one asset, as it makes them, checked; a vector
        is under `embedding`. Closing the iterator early ends the handler's process.

        Args:
            event: what `handler` gets; JSON values, with `bucket` and `key`.
            content: of the asset.
            name: the asset's, for messages, the log and its URL.

        Raises:
            HandlerError: it failed on this asset; the next can be tried.
            RuntimeUnavailableError: no process can be started, or no supervisor is there.
            OSError: the content cannot be opened.
        """
        self._assets = self._assets or AssetServer()
        clock = Clock(self._limits.seconds)
        settled = False
        with (
            opened(content) as descriptor,
            self._assets.serving(content, name, mime_type) as url,
        ):
            try:
                runner = self._begin(event, name, descriptor, url, clock)
                settled = yield from self._documents(runner, event, url, clock)
                self._settle("finish", name)
            finally:
                if not settled:
                    self._end("abandoned")
        failed, self._failure = self._failure, None
        if failed is not None:
            raise failed

    def _begin(
        self, event: Mapping[str, Any], name: str, descriptor: int, url: str, clock: Clock
    ) -> Link:
        """A runner that has taken the asset. One that ends before has not failed on it."""
        self._call += 1
        plain = json.loads(json.dumps(dict(event), default=str))
        base = url.rpartition("/")[0] + "/"
        fields = {"call": self._call, "event": plain, "base": base}
        left = _ATTEMPTS
        while True:
            runner = self._at_work(name, clock)
            left -= 1
            with self._overdue_is_a_fault():
                runner.send("call", fields, fds=[descriptor], until=clock.until)
            try:
                frame = self._next(runner, clock)
            except HandlerError:
                if left and runner.closed:
                    continue
                raise
            if frame.kind != "taken":
                raise meddled(f"a frame {frame.kind[:40]!r}")
            return runner

    def _at_work(self, name: str, clock: Clock) -> Link:
        """A runner whose output is from now on the asset's."""
        for _ in range(_ATTEMPTS):
            runner = self._ready(clock)
            # What the last asset left behind may have ended it, or its supervisor, only now.
            if self._settle("asset", name) and self._ended is None:
                return runner
        raise RuntimeUnavailableError(
            f"the supervisor of handlers did not answer {_ATTEMPTS} times; what it printed is in "
            "the worker's log"
        )

    def _ready(self, clock: Clock) -> Link:
        """The runner that is at work, or a new one."""
        control = self._connected()
        # One that ended since the last asset has told so by now.
        while not control.closed and readable([control], 0):
            self._hear(control)
        if control.closed:
            self._forget()
            control = self._connected()
        if self._runner is None or self._ended is not None or self._runner.closed:
            if self._runner is not None:
                self._end("broken")
                control = self._connected()
            self._number += 1
            self._runner, theirs = pair()
            self._ended = None
            with theirs:
                control.send(
                    "start", {"number": self._number}, fds=[theirs.fileno()], until=_soon()
                )
            # What it took to have a supervisor is not the asset's time.
            clock.until = time.monotonic() + self._limits.seconds
        return self._runner

    def _connected(self) -> Link:
        if self._control is not None and not self._control.closed:
            return self._control
        self._forget()
        if self._socket is None:
            self._own = OwnSupervisor(self._environment)
        path = self._own.socket if self._own is not None else self._socket
        assert path is not None
        try:
            self._control = connected(path, self._limits.connect_seconds, self._own)
            fields = {"commit": self._bundle.commit, "limits": self._limits.wire()}
            self._control.send("bundle", fields, self._bundle.pack(), until=_soon())
        except BaseException:
            self._forget()
            raise
        return self._control

    def _forget(self) -> None:
        """Gives up the supervisor, which ends everything of it."""
        for link in (self._runner, self._control):
            if link is not None:
                link.close()
        self._runner = self._control = self._ended = None
        if self._own is not None:
            self._own.close()
            self._own = None

    def _documents(
        self, runner: Link, event: Mapping[str, Any], url: str, clock: Clock
    ) -> Generator[dict[str, Any], None, bool]:
        """Returns True when the runner has settled the asset and can go on to the next."""
        count = 0
        while True:
            frame = self._next(runner, clock)
            match frame.kind:
                case "document":
                    if count >= self._limits.documents:
                        raise HandlerError(
                            "HandlerReturnedRubbish",
                            f"it gave more than {self._limits.documents:,} documents for one asset",
                        )
                    document = checked(frame, count)
                    count += 1
                    with clock.paused():
                        yield document
                case kind if kind in _QUESTIONS:
                    self._answer(runner, frame, event, url, clock)
                case "failed":
                    self._failure = self._told(frame)
                    return True
                case "done":
                    return True
                case other:
                    raise meddled(f"a frame {other[:40]!r}")

    def _next(self, runner: Link, clock: Clock) -> Frame:
        """The runner's next frame; what it prints meanwhile is logged."""
        while True:
            if clock.left() <= 0:
                raise self._overdue()
            try:
                if (frame := runner.pop()) is not None:
                    if frame.fields.get("call") == self._call:
                        return frame
                    self._late(runner, frame, clock)
                    continue
                if runner.closed:
                    raise self._death()
                control = self._control
                if control is None or control.closed:
                    raise self._orphaned()
                ready = readable([runner, control], clock.left())
                if control in ready:
                    self._hear(control)
                if runner in ready:
                    runner.receive()
            except WireError as error:
                raise meddled(str(error)) from None

    def _late(self, runner: Link, frame: Frame, clock: Clock) -> None:
        """A frame of an asset that is settled, by a thread or a process that went on: of no
        effect on this one."""
        if frame.kind in _QUESTIONS:
            with self._overdue_is_a_fault():
                words = {"message": "the asset for which this was asked is done"}
                runner.send("refused", words, until=clock.until)

    def _answer(
        self, runner: Link, frame: Frame, event: Mapping[str, Any], url: str, clock: Clock
    ) -> None:
        try:
            if frame.kind == "file_url":
                fields, blob = {"url": own_url(frame, event, url)}, b""
            else:
                dimensions, blob = embedding.answer(self._embedder, frame)
                fields = {"dimensions": dimensions}  # type: ignore[dict-item]
        except (ModelUnavailableError, LookupError) as error:
            words = str(error.args[0]) if error.args else type(error).__name__
            fields, blob = {"message": words}, b""
            with self._overdue_is_a_fault():
                runner.send("refused", fields, until=clock.until)
            return
        except AskedNonsenseError as error:
            raise meddled(str(error)) from None
        with self._overdue_is_a_fault():
            runner.send("answer", fields, blob, until=clock.until)

    def _hear(self, control: Link) -> None:
        """Takes the supervisor's news."""
        try:
            control.receive()
        except WireError:
            control.close()
            return
        while (frame := control.pop()) is not None:
            match frame.kind:
                case "log":
                    for line in frame.fields.get("lines") or ():
                        self._log(str(frame.fields.get("asset")), self._masking.text(str(line)))
                case "ended" if frame.fields.get("number") == self._number:
                    self._ended = frame
                case "begun" | "finished":
                    self._settled = True
                case "failed":
                    said = str(frame.fields.get("message", ""))[:_MESSAGE]
                    self._forget()
                    raise RuntimeUnavailableError(said)

    def _await(self, done: Callable[[], bool], seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not done():
            control = self._control
            left = until - time.monotonic()
            if control is None or control.closed or left <= 0:
                return False
            if readable([control], left):
                self._hear(control)
        return True

    def _tell(self, kind: str, fields: Mapping[str, Any]) -> None:
        if self._control is not None and not self._control.closed:
            with contextlib.suppress(TimeoutError):
                self._control.send(kind, fields, until=_soon())

    def _settle(self, what: str, name: str) -> bool:
        """Tells the supervisor that an asset begins or is finished, and waits for its word: all
        printed before is logged then, and nothing that was left behind runs on."""
        self._settled = False
        self._tell(what, {"asset": name})
        if not self._await(lambda: self._settled, _SETTLE_SECONDS):
            self._forget()
        return self._settled

    def _end(self, reason: str) -> None:
        """Ends the runner, and waits until everything of it is gone."""
        if self._runner is None:
            return
        if self._ended is None:
            self._tell("kill", {"reason": reason})
        if not self._await(lambda: self._ended is not None, _SETTLE_SECONDS):
            self._forget()
            return
        self._runner.close()
        self._runner = self._ended = None

    def _death(self) -> HandlerError:
        """Why a runner closed its connection."""
        if not self._await(lambda: self._ended is not None, _GRACE_SECONDS):
            if self._control is None or self._control.closed:
                return self._orphaned()
            return HandlerError(
                "HandlerCrashed", "it closed the connection to its worker and went on by itself"
            )
        ended = self._ended
        assert ended is not None
        return ending(ended.fields, self._limits)

    def _orphaned(self) -> HandlerError:
        self._forget()
        return HandlerError(
            "HandlerCrashed", "the process that supervises it was ended while it was at work"
        )

    def _overdue(self) -> HandlerError:
        return HandlerError(
            "HandlerTimeout",
            f"it was at work for more than {self._limits.seconds:g} s and was ended; cut the "
            "asset's work, or give its worker more of a processor",
        )

    @contextlib.contextmanager
    def _overdue_is_a_fault(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise self._overdue() from None

    def _told(self, frame: Frame) -> HandlerError:
        told = failure(frame)
        masked = self._masking.text
        return HandlerError(told.reason, masked(told.message), masked(told.trace))


def _soon() -> float:
    return time.monotonic() + _SETTLE_SECONDS
