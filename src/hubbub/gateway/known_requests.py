"""Requests that begin with the very bytes of one that was read before on their connection (sans-I/O).

A client that polls sends the same head again and again, and another body of the same length. Once the library has read
such a request whole, the next one needs no parser: where the head is the same, so is all that it says.
"""

from __future__ import annotations

from typing import NamedTuple

_BLANK_LINE = b"\r\n\r\n"
_MOST_BYTES = 4 << 10


class KnownRequest(NamedTuple):
    """What a request looked like.

    Attributes:
        head: Its request line and headers, with the blank line.
        size: Bytes of head and body together.
        headers: The header lines of an answer to it.
    """

    head: bytes
    size: int
    headers: bytes

    def body_of(self, data: bytes) -> bytes | None:
        """Return the body in ``data``, if that is such a request and nothing else."""
        if len(data) == self.size and data.startswith(self.head):
            return data[len(self.head) :]
        return None


def learned(data: bytes, body: bytes, headers: bytes) -> KnownRequest | None:
    """Return what can be known again of a request.

    Args:
        data: What came together, of which the request's first byte was the first.
        body: Its body, as the library has read it.
        headers: The header lines of an answer to it.

    Returns:
        None if ``data`` is not one request whose length its head tells.
    """
    start = data.find(_BLANK_LINE) + len(_BLANK_LINE)
    head = data[:start]
    if data[start:] != body or len(data) > _MOST_BYTES or b"upgrade" in head.lower():
        return None
    return KnownRequest(head, len(data), headers)
