"""Frames on a TCP or Unix stream: a 4-byte big-endian length, then that many bytes (sans-I/O).

The stream begins with one line that says who is calling, ``hubbub/1 user`` or ``hubbub/1 peer``, so that a browser,
a health check or a mistaken port gets an answer it can read instead of silence.
"""

from __future__ import annotations

import struct

from hubbub.kernel import RemoteProtocolError

PREFACE_USER = b"hubbub/1 user\n"
PREFACE_PEER = b"hubbub/1 peer\n"

_length = struct.Struct(">I")


def frame(payload: bytes) -> bytes:
    """Return ``payload`` as one frame."""
    return _length.pack(len(payload)) + payload


class FrameReader:
    """Cut a byte stream into frames.

    Attributes:
        limit_bytes: The largest payload accepted. It may be changed between two frames.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take in ``data`` and return the payloads of all frames that are now whole.

        Raises:
            RemoteProtocolError: If a frame says that it is larger than the limit; code ``too_large``. The reader
                can't go on.
        """
        # Most often all that comes is whole frames: then they are cut out of ``data`` itself.
        rest = self._buffer
        if rest:
            rest += data
            buffer: bytes | bytearray = rest
        else:
            buffer = data
        frames: list[bytes] = []
        start, end = 0, len(buffer)
        while end - start >= 4:
            (length,) = _length.unpack_from(buffer, start)
            if length > self.limit_bytes:
                raise RemoteProtocolError(
                    f"a message of {length} bytes is over the limit of {self.limit_bytes}; "
                    "or this is not a Hubbub client",
                    code="too_large",
                )
            stop = start + 4 + length
            if stop > end:
                break
            frames.append(bytes(buffer[start + 4 : stop]))
            start = stop
        if buffer is rest:
            del rest[:start]
        elif start < end:
            rest += data[start:]
        return frames

    @property
    def buffered_bytes(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._buffer)
