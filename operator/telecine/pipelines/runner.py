"""The process in which the user's `handler(event)` runs, for one asset after another.

Started by the supervisor as `python -m telecine.pipelines.runner FD NAMES`, in the folder of the
bundle: FD is the socket to the host, NAMES the variables that are secret.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import os
import socket
import sys
from array import array
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from telecine.pipelines import filetools, results, sdk
from telecine.pipelines.channel import Channel
from telecine.pipelines.output import Masking
from telecine.pipelines.surroundings import offer_to_be_killed
from telecine.pipelines.traces import user_trace
from telecine.pipelines.wire import Frame
from telecine.providers.redact import forms

_FILE = "handler.py"
_MESSAGE = 2000


class _NotFoundError(Exception):
    """There is no handler."""


class _ImportFailedError(Exception):
    """handler.py cannot be imported; the cause says why."""


class Runner:
    """Calls the handler as the host asks."""

    def __init__(self, channel: Channel, folder: Path, masking: Masking) -> None:
        self._channel, self._folder, self._masking = channel, folder, masking
        self._handler: Callable[[Any], Any] | None = None
        self._loop = asyncio.Runner()

    def run(self) -> None:
        """Until the host is gone."""
        while (frame := self._channel.receive()) is not None:
            if frame.kind == "call":
                self._serve(frame)

    def _serve(self, frame: Frame) -> None:
        self._channel.call = int(frame.fields["call"])
        # What ends this process from now on is the asset's doing.
        self._channel.send("taken", {})
        filetools.give(str(frame.fields["base"]), self._channel.content)
        try:
            count = self._call(frame.fields["event"])
        except _NotFoundError as error:
            self._fail("HandlerNotFound", str(error))
        except _ImportFailedError as error:
            cause = error.__cause__ or error
            self._fail("HandlerImportFailed", str(error), cause)
        except results.RubbishError as error:
            self._fail("HandlerReturnedRubbish", str(error))
        except SystemExit as error:
            self._fail("HandlerExited", f"it called sys.exit({error.code!r})", error)
        except MemoryError as error:
            self._fail("HandlerOutOfMemory", "it asked for more memory than it may have", error)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises
            self._fail("HandlerFailed", _summary(error), error)
        else:
            self._channel.send("done", {"documents": count})

    def _fail(self, reason: str, message: str, error: BaseException | None = None) -> None:
        trace = user_trace(error, self._folder) if error is not None else ""
        told = {
            "reason": reason,
            "message": self._masking.text(message[:_MESSAGE]),
            "trace": self._masking.text(trace),
        }
        self._channel.send("failed", told)

    def _call(self, event: dict[str, Any]) -> int:
        if self._handler is None:
            self._handler = load(self._folder)
        given = self._handler(event)
        if inspect.iscoroutine(given):
            given = self._loop.run(given)
        count = 0
        for value in self._values(given):
            document = results.check(value, count)
            vector = array("d", document.vector or ())
            self._channel.send("document", {"fields": document.fields}, vector.tobytes())
            count += 1
        return count

    def _values(self, given: Any) -> Iterator[Any]:
        """The documents in what a handler returned."""
        if given is None:
            return
        if isinstance(given, Mapping):
            yield given
        elif isinstance(given, list | tuple | Iterator):
            yield from given
        elif isinstance(given, AsyncIterator):
            yield from self._awaited(given)
        else:
            raise results.RubbishError(
                f"the handler returned {results.told(given)}; it returns a dict or a list of "
                "dicts, or yields dicts"
            )

    def _awaited(self, given: AsyncIterator[Any]) -> Iterator[Any]:
        async def following() -> tuple[bool, Any]:
            try:
                return True, await anext(given)
            except StopAsyncIteration:
                return False, None

        while True:
            more, value = self._loop.run(following())
            if not more:
                return
            yield value


def load(folder: Path) -> Callable[[Any], Any]:
    """The function `handler` of handler.py.

    Raises:
        _NotFoundError: there is no such file, or no such function in it.
        _ImportFailedError: importing it raised an exception, which is the cause.
    """
    path = folder / _FILE
    spec = importlib.util.spec_from_file_location("handler", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise _NotFoundError(f"the pipeline's folder has no {_FILE}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["handler"] = module
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        sys.modules.pop("handler", None)
        raise _ImportFailedError(
            f"{_FILE} cannot be imported: {error}; packages that are not installed here come "
            "with an image of your own: spec.image"
        ) from error
    except MemoryError:
        raise
    except BaseException as error:
        sys.modules.pop("handler", None)
        raise _ImportFailedError(f"{_FILE} cannot be imported: {_summary(error)}") from error
    found = getattr(module, "handler", None)
    if not callable(found):
        what = "has no function" if found is None else f"has {results.told(found)} as"
        raise _NotFoundError(f"{_FILE} {what} `handler`: write def handler(event)")
    handler: Callable[[Any], Any] = found
    return handler


def _summary(error: BaseException) -> str:
    try:
        said = str(error).strip()
    except Exception:  # noqa: BLE001 - the user's own __str__
        said = ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def main(arguments: list[str]) -> None:
    offer_to_be_killed()
    connection = socket.socket(fileno=int(arguments[0]))
    connection.set_inheritable(False)
    names = [name for name in arguments[1].split(",") if name]
    secrets = {name: os.environ.get(name, "") for name in names}
    folder = Path.cwd()
    sys.path.insert(0, str(folder))
    sys.argv = [_FILE]
    sys.modules["mixpeek"] = sdk
    channel = Channel(connection)
    sdk.connect(channel)
    Runner(channel, folder, Masking(forms(secrets))).run()


if __name__ == "__main__":
    main(sys.argv[1:])
