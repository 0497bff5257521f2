"""Sentences spoken by espeak-ng, out of the espeakng-loader package: no system package is needed.

espeak-ng is GPL-3.0: only development tools use it, as a program of its own, and it is never
shipped with Telecine. The same text, voice and speed give the same samples, whatever was spoken
before.
"""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from telecine.dev.media import speaker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATE = speaker.RATE
"""Samples a second that espeak-ng gives."""

VOICES = ("en-us", "en-gb-x-rp", "en-us+m3", "en-us+m7")
"""Voices that a speech recognizer understands well; any other of espeak-ng may be named too."""

WORDS_PER_MINUTE = 150
TIMEOUT_SECONDS = 60

_QUIET = 64
"""Samples below this, of 32768, are the silence that espeak-ng puts around a sentence."""


class SpeakingError(Exception):
    """espeak-ng is missing, or refused the voice or the text."""


@lru_cache(maxsize=256)
def _raw(text: str, voice: str, words_per_minute: int) -> bytes:
    try:
        import espeakng_loader
    except ImportError as error:
        raise SpeakingError("espeakng-loader is not installed; run: make setup") from error
    parts = espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    done = subprocess.run(
        [sys.executable, "-I", str(Path(speaker.__file__)), *map(str, parts), voice,
         str(words_per_minute)],
        input=text.encode(), capture_output=True, timeout=TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode == speaker.UNKNOWN_VOICE:
        raise SpeakingError(f"espeak-ng has no voice {voice!r}")
    if done.returncode != 0:
        raise SpeakingError(f"could not speak {text!r}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def speak(
    text: str, voice: str = VOICES[0], words_per_minute: int = WORDS_PER_MINUTE
) -> NDArray[np.int16]:
    """The spoken text: mono, `RATE` samples a second, without silence before and after.

    Raises:
        SpeakingError: espeak-ng is not installed, does not know the voice, or made no sound.
    """
    import numpy as np

    samples = np.frombuffer(_raw(text, voice, words_per_minute), dtype="<i2").astype(np.int16)
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) >= _QUIET)
    if not len(loud):
        raise SpeakingError(f"espeak-ng made no sound of {text!r}")
    return samples[loud[0] : loud[-1] + 1]
