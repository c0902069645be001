"""The plain frames of a WebSocket (RFC 6455), for a socket that is ours (sans-I/O).

Nearly all that travels is one whole text frame. These are made and read here; everything else, with all the rules there
are about it, is left to the library, which is given whole frames only.
"""

from __future__ import annotations

from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover - no wheel for this machine
    from websockets.utils import apply_mask

_PLAIN: Final = 0x81  # the last frame of a message, of text, without extensions
_MASKED: Final = 0x80
_SHORT_HEAD: Final = 6  # two bytes and the mask
_LONGER: Final = {126: 2, 127: 8}  # so many bytes of length follow


_last: tuple[bytes | None, bytes] = (None, b"")


def text_frame(text: bytes) -> bytes:
    """Return ``text`` as a frame of the server: the same one again for the same object."""
    global _last
    same, frame = _last
    if same is text:
        return frame
    size = len(text)
    if size < 126:
        frame = b"\x81%c%b" % (size, text)
    elif size < 1 << 16:
        frame = b"\x81\x7e" + size.to_bytes(2, "big") + text
    else:
        frame = b"\x81\x7f" + size.to_bytes(8, "big") + text
    _last = (text, frame)
    return frame


def text_of(frame: bytes, start: int) -> bytes:
    """Return what a client's frame says, whose text begins at ``start``."""
    return apply_mask(frame[start:], frame[start - 4 : start])


class FrameCutter:
    """Cut what a client sends at the ends of its frames.

    Args:
        limit_bytes: From a frame that says it is larger on, everything is passed on as it comes.
    """

    __slots__ = ("_broken", "_limit_bytes", "_needed", "_rest")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._rest = bytearray()
        self._needed = 0  # so long has the rest to be before there is anything to cut
        self._broken = False

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take in ``data`` and return the frames that are now whole.

        Returns:
            For each frame its bytes, and where its text begins; 0 for what is not a plain frame.
        """
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._needed:
                return []
            data = bytes(rest)
            rest.clear()
        if self._broken:
            return [(0, data)]
        begin, end = 0, len(data)
        if (
            end > _SHORT_HEAD
            and data[0] == _PLAIN
            and data[1] == end - _SHORT_HEAD + _MASKED < _MASKED + 126
            and end - _SHORT_HEAD <= self._limit_bytes
        ):
            return [(_SHORT_HEAD, data)]  # one short frame, as most often: an acknowledgement
        found: list[tuple[int, bytes]] = []
        while begin < end:
            start, stop = _ends(data, begin, end)
            if stop - start > self._limit_bytes:
                self._broken = True
                found.append((0, data[begin:]))
                return found
            if stop > end:
                rest += data[begin:]
                self._needed = stop - begin
                return found
            is_plain = data[begin] == _PLAIN and data[begin + 1] & _MASKED
            found.append((start - begin if is_plain else 0, data[begin:stop]))
            begin = stop
        return found


def _ends(data: bytes, begin: int, end: int) -> tuple[int, int]:
    """Return where the payload of the frame at ``begin`` starts and stops, or as much of it as can be known."""
    start = begin + 2
    if start > end:
        return start, start
    size = data[begin + 1] & 0x7F
    more = _LONGER.get(size, 0)
    if more:
        start += more
        if start > end:
            return start, start
        size = int.from_bytes(data[start - more : start], "big")
    if data[begin + 1] & _MASKED:
        start += 4
    return start, start + size
