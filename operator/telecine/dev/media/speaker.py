"""One sentence spoken by espeak-ng, in a process of its own: `speaking` runs this file.

espeak-ng keeps the state of its synthesizer from sentence to sentence, so only a fresh process
speaks the same sentence the same way each time. Text comes on stdin, samples go to stdout
(16 bits, little endian, mono, 22050 a second); exit code 3 says that the voice is unknown.

    python -I speaker.py LIBRARY DATA VOICE WORDS_PER_MINUTE
"""

import ctypes
import sys
from typing import Any

# From espeak-ng's speak_lib.h.
OUTPUT_SYNCHRONOUS = 2
CHARACTERS_UTF8 = 1
PARAMETER_RATE = 1

RATE = 22050
UNKNOWN_VOICE = 3


def synthesize(library: ctypes.CDLL, text: bytes) -> bytes:
    pieces: list[bytes] = []

    def take(samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, count * 2))
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(take)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_Synth(text, len(text) + 1, 0, 1, 0, CHARACTERS_UTF8, None, None) != 0:
        sys.exit("espeak-ng refused the text")
    library.espeak_Synchronize()
    return b"".join(pieces)


def main() -> None:
    path, data, voice, words_per_minute = sys.argv[1:]
    library = ctypes.CDLL(path)
    rate = library.espeak_Initialize(OUTPUT_SYNCHRONOUS, 0, data.encode(), 0)
    if rate != RATE:
        sys.exit(f"espeak-ng gave {rate} where {RATE} samples a second are expected")
    # Voices with breath in them are made with noise, seeded with the time otherwise.
    library.espeak_ng_SetRandSeed(1)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        sys.exit(UNKNOWN_VOICE)
    library.espeak_SetParameter(PARAMETER_RATE, int(words_per_minute), 0)
    sys.stdout.buffer.write(synthesize(library, sys.stdin.buffer.read()))


if __name__ == "__main__":
    main()
