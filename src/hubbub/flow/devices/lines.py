"""Bytes that come in pieces, and the lines in them."""

from __future__ import annotations

from hubbub.kernel import RemoteProtocolError

LINE_BYTES = 1 << 20
"""How long a line may be unless something else is said."""


class Lines:
    """Cut pieces of bytes into lines of text; their ends, a line feed with or without a carriage return, are cut off.

    Args:
        name: Where the bytes come from, for errors.
        encoding: How text is written in them.
        errors: What to do with bytes that are no text: as for `bytes.decode`.
        limit_bytes: How long a line may be.

    Attributes:
        count: How many lines have been cut off so far.
    """

    def __init__(
        self,
        name: str,
        *,
        encoding: str = "utf-8",
        errors: str = "strict",
        limit_bytes: int = LINE_BYTES,
    ) -> None:
        self._name = name
        self._encoding = encoding
        self._errors = errors
        self._limit_bytes = limit_bytes
        self._rest = b""
        self.count = 0

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that are whole with ``data``.

        Raises:
            RemoteProtocolError: If one is too long, or no text.
        """
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self._limit_bytes:
            raise RemoteProtocolError(
                f"{self._name}: line {self.count + len(whole) + 1} is longer than {self._limit_bytes} bytes; "
                "is this text? Chunks have no such limit"
            )
        return [self._text(line) for line in whole]

    def end(self) -> list[str]:
        """Return the last line, if its end is missing.

        Raises:
            RemoteProtocolError: If it is no text.
        """
        rest, self._rest = self._rest, b""
        return [self._text(rest)] if rest else []

    def _text(self, line: bytes) -> str:
        self.count += 1
        try:
            return line.removesuffix(b"\r").decode(self._encoding, self._errors)
        except UnicodeDecodeError as error:
            raise RemoteProtocolError(
                f"{self._name}: line {self.count} is not {self._encoding}: {error.reason} at byte {error.start}; "
                "name the right encoding, or say errors='backslashreplace'"
            ) from error
