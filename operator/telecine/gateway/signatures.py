"""Mux's signatures of webhooks: `Mux-Signature: t=<unix seconds>,v1=<hex>[,v1=<hex>...]`.

The HMAC-SHA256 of `{t}.{raw body}` under the webhook's signing secret ("Verify webhook
signatures" in Mux's guides). Several `v1` are there while a secret rotates; one must hold.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import NamedTuple

_LONGEST = 4096
_HEX = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_TIME = re.compile(r"[0-9]{1,12}", re.ASCII)


REASONS = ("missing", "malformed", "expired", "wrong")


class SignatureError(Exception):
    """`reason` is one of REASONS; `str()` says more, and nothing of the secret."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Signature(NamedTuple):
    time: int
    """Seconds since the epoch."""
    hashes: tuple[str, ...]


def parse(header: str | None) -> Signature:
    """Raises SignatureError."""
    if not header:
        raise SignatureError("missing", "the header Mux-Signature is missing")
    if len(header) > _LONGEST:
        raise SignatureError("malformed", "the header Mux-Signature is too long")
    parts = [part.strip().partition("=")[::2] for part in header.split(",")]
    times = [value for name, value in parts if name == "t"]
    hashes = tuple(value for name, value in parts if name == "v1" and _HEX.fullmatch(value))
    if len(times) != 1 or not _TIME.fullmatch(times[0]) or not hashes:
        raise SignatureError(
            "malformed", "the header Mux-Signature is not of the form t=...,v1=..."
        )
    return Signature(int(times[0]), hashes)


def require_recent(signature: Signature, now: float, tolerance: float) -> None:
    """Refuses what may have been recorded and sent again; `tolerance` in seconds.

    Raises:
        SignatureError: it was made too long ago, or in the future.
    """
    off = now - signature.time
    if abs(off) > tolerance:
        raise SignatureError(
            "expired",
            f"the signature was made {abs(off):.0f} s {'ago' if off > 0 else 'in the future'} and "
            f"{tolerance:.0f} s are allowed; check the clocks of both sides",
        )


def holds(signature: Signature, body: bytes, secret: str) -> bool:
    """Whether one of its hashes is that of the raw body. Wrong ones all take the same time."""
    signed = b"%d." % signature.time + body
    wanted = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return any(hmac.compare_digest(wanted, given.lower()) for given in signature.hashes)
