"""Models loaded once a process, and files that several processes make once a machine."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

from telecine.settings import cache_dir

T = TypeVar("T")
_HUB_SECONDS = 3.0


class ModelUnavailableError(Exception):
    """A model cannot be loaded here. No fault of any object; `str()` tells reason and remedy."""

    reason = "ModelUnavailable"


class Loaded(Generic[T]):
    """Models by name and device. One that cannot be had is not asked for again: a hub that is
    out of reach would otherwise cost its time-out for every asset."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], T | ModelUnavailableError] = {}
        self._mutex = threading.Lock()

    def get(self, name: str, device: str, load: Callable[[], T]) -> T:
        """Raises ModelUnavailableError, the same one each time."""
        key = (name, device)
        with self._mutex:
            if key not in self._models:
                try:
                    self._models[key] = load()
                except ModelUnavailableError as error:
                    self._models[key] = error
            found = self._models[key]
        if isinstance(found, ModelUnavailableError):
            raise found
        return found


def made_once(name: str, size: int, make: Callable[[Path], None]) -> Path:
    """A file or folder in the cache, made by `make` into a temporary place and then moved there.

    Two processes may make it at once; the last one's stays. `size` in bytes tells it from one of
    an older version.
    """
    folder = cache_dir() / "models"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}-{size}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-") as temporary:
        made = Path(temporary) / "made"
        make(made)
        try:
            os.rename(made, target)
        except OSError:
            if not target.exists():
                raise
    return target


@cache
def hub_is_reachable() -> bool:
    """Whether the model hub answers, asked once a process: its own library tries for half a minute
    before it gives up, for every file."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies():
        return True
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), _HUB_SECONDS).close()
    except OSError:
        return False
    return True


def is_path(name: str) -> bool:
    """Whether a model's name is meant as a directory."""
    return name.startswith(("/", "./", "../", "~"))


def told(error: Exception) -> str:
    """The first line of what a library said, with its type."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line[:300]}"
