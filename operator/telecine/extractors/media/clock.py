"""Timestamps of broadcast streams, which may jump where recordings were joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av.packet import Packet

DISCONTINUOUS = frozenset({"mpegts", "mpeg"})
"""Formats whose clock may start anew in the middle (ISO 13818-1, 2.4.3.5)."""
_AHEAD, _BACK = 10.0, 3.0
"""Seconds by which a packet can honestly be ahead of the one before it, or behind it."""


class Clock:
    """Takes the jumps out, so that a joined recording plays on."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._shift = 0.0

    def mend(self, packet: Packet[Any]) -> None:
        """Moves the packet's timestamps to where its film is."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is None or not packet.time_base:
            return
        unit = float(packet.time_base)
        at = stamp * unit + self._shift
        if self._last is not None and not -_BACK <= at - self._last <= _AHEAD:
            self._shift += self._last - at
            at = self._last
        self._last = at
        if self._shift:
            moved = round(self._shift / unit)
            packet.pts = packet.pts + moved if packet.pts is not None else None
            packet.dts = packet.dts + moved if packet.dts is not None else None
