"""Tells a person that a long step is still going: a spinner on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from rich.console import Console

Say = Callable[[str], None]
INTERVAL_SECONDS = 15.0


def say(text: str) -> None:
    """One line on stderr, which leaves stdout to results."""
    print(text, file=sys.stderr, flush=True)


class Stage:
    """A step that is under way; `detail` may change while it lasts."""

    def __init__(self, what: str) -> None:
        self.what, self.detail = what, ""
        self._began = time.monotonic()

    def __str__(self) -> str:
        detail = f", {self.detail}" if self.detail else ""
        return f"{self.what}: {time.monotonic() - self._began:.0f} s{detail}"


@contextlib.contextmanager
def stage(what: str, say: Say = say, every: float = INTERVAL_SECONDS) -> Iterator[Stage]:
    """Shows what is done and for how long already, until the block ends.

    On a terminal that is a line of its own that changes each second; elsewhere `say` gets a line
    every `every` seconds.
    """
    step = Stage(what)
    console = Console(stderr=True, highlight=False)
    done = threading.Event()
    with contextlib.ExitStack() as stack:
        if console.is_terminal:
            status = stack.enter_context(console.status(str(step)))
            every = 1.0

            def show() -> None:
                status.update(str(step))
        else:

            def show() -> None:
                say(str(step))

        def tell() -> None:
            while not done.wait(every):
                show()

        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        try:
            yield step
        finally:
            done.set()
            thread.join()
