"""What one asset may cost before it is refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MediaLimits:
    """Bounds on one asset; what goes over one fails that asset and nothing else."""

    max_pixels: int = 100_000_000
    """Width times height of one picture or frame."""
    max_duration: float = 43_200.0
    """Seconds of film or sound, as told by its header and as found while decoding."""
    max_streams: int = 32
    max_seconds: float = 21_600.0
    """Wall clock that the decoder may be waited for, in all. What the caller does with an event
    does not count."""
    max_memory: int = 2 << 30
    """Bytes of address space that decoding may take beyond the bare process (RLIMIT_AS)."""
    max_frames: int = 200_000
    """Frames told of one film."""
    max_silence: float = 120.0
    """Seconds in which a working decoder tells at least how far it is; after that it hangs."""
