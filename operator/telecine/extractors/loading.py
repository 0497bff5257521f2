"""Models loaded once a process, and files that several processes make once a machine."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

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
        self._models: dict[tuple[str, str], T] = {}
        self._unavailable: dict[tuple[str, str], str] = {}
        self._mutex = threading.Lock()

    def get(self, name: str, device: str, load: Callable[[], T]) -> T:
        """Raises ModelUnavailableError, with the same words each time."""
        key = (name, device)
        with self._mutex:
            if key in self._unavailable:
                # A new error each time: one that is raised again keeps every frame it went through.
                raise ModelUnavailableError(self._unavailable[key])
            if key not in self._models:
                try:
                    self._models[key] = load()
                except ModelUnavailableError as error:
                    self._unavailable[key] = str(error)
                    raise
            return self._models[key]


def made_once(
    name: str,
    size: int,
    make: Callable[[Path], None],
    whole: Callable[[Path], bool] = Path.exists,
) -> Path:
    """A file or folder in the cache, made by `make` into a temporary place and then moved there.

    Of processes that want it at once one makes it and the others wait. `size` in bytes tells it
    from one of an older version. One that is not `whole` is made again: a machine that lost its
    power may have kept the name and not the bytes.

    Raises:
        OSError: the cache cannot be written, or has no space left.
    """
    folder = cache_dir() / "models"
    target = folder / f"{name}-{size}"
    if whole(target):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with (
        _alone(folder / f".{target.name}.lock"),
        tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-") as temporary,
    ):
        if not whole(target):
            made = Path(temporary) / "made"
            make(made)
            if target.is_dir():
                shutil.rmtree(target)
            os.replace(made, target)
    return target


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let go of with the process, however it ends."""
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@cache
def hub_is_reachable() -> bool:
    """Whether the model hub answers, asked once a process: its own library tries for half a minute
    before it gives up, for every file.

    Any answer will do, also a refusal; it is asked the way the library asks, through its proxy.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=_HUB_SECONDS)
    except Exception:  # noqa: BLE001 - each version of the library has another HTTP client
        return False
    return True


def require_within_reach(what: str, name: str, parameter: str, otherwise: str = "") -> None:
    """Asks for the smallest file first: importing torch to learn that there is no hub takes 15 s.

    Args:
        what: the model, as messages call it.
        name: its name on the hub.
        parameter: which names it.
        otherwise: what else would help.

    Raises:
        ModelUnavailableError: it is neither in the cache nor can it be had from the hub.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    reachable = hub_is_reachable()
    try:
        try:
            hf_hub_download(name, "modules.json", local_files_only=not reachable)
        except EntryNotFoundError:
            # A model of transformers, which sentence-transformers wraps.
            hf_hub_download(name, "config.json", local_files_only=not reachable)
    except Exception as error:  # the HTTP client's, the hub's and the file system's
        why = (
            f"the model hub does not have it ({told(error)}); check the name"
            if reachable
            else "not found in the local cache and the model hub is out of reach; check the network"
        )
        raise ModelUnavailableError(
            f"{what}: {why}, or give parameter {parameter} the path of a directory with the model"
            f"{otherwise}"
        ) from error


def no_gpu(what: str) -> ModelUnavailableError:
    """Says that parameter `device` asks for a GPU that is not there."""
    return ModelUnavailableError(
        f"{what}: no CUDA device is available here; set parameter device to cpu or auto, or give "
        "the worker a GPU"
    )


def cores() -> int:
    """Processors that this process may use: as many threads as a model takes."""
    return len(os.sched_getaffinity(0))


def is_path(name: str) -> bool:
    """Whether a model's name is meant as a directory."""
    return name.startswith(("/", "./", "../", "~"))


def told(error: Exception) -> str:
    """The first line of what a library said, with its type."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line[:300]}"
