"""A component that sends what is in a file, and perhaps what is added to it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes
from hubbub.flow.devices.descriptors import CHUNK_BYTES, Descriptor
from hubbub.flow.devices.edges import open_in_thread
from hubbub.flow.devices.lines import LINE_BYTES, Lines
from hubbub.flow.pacing import Pace
from hubbub.kernel import ConfigurationError

FileFraming = Literal["lines", "chunks"]


class FileReader(Component):
    """Send the lines of a file, or chunks of its bytes; end with it, or follow what is added.

    Named pipes are read, too. A file that is followed may be replaced by another of its name, or be cut short, as logs
    are: then the new one is read from its beginning.

    Args:
        path: The file.
        framing: ``lines``: each line as text, without its end. ``chunks``: bytes, as many as are there.
        follow: Whether to go on at the file's end, and to send what others add.
        start: With ``follow``, whether what is there already is sent first (``beginning``) or not (``end``).
        rate: How many items a second, at most; None for as fast as they are taken.
        encoding: How text is written in it.
        errors: What to do with bytes that are no text: as for `bytes.decode`. ``strict`` fails.
        chunk_bytes: How many bytes a chunk has at most.
        line_bytes: How long a line may be.
        poll_s: With ``follow``, how often to look for more.

    Raises:
        ConfigurationError: If there is no such framing or start.
        GraphError: If the rate is not more than 0.
    """

    inboxes: Boxes = {}
    outboxes: Boxes = {"outbox": "lines, or chunks of bytes"}

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        framing: FileFraming = "lines",
        follow: bool = False,
        start: Literal["beginning", "end"] = "beginning",
        rate: float | None = None,
        encoding: str = "utf-8",
        errors: str = "strict",
        chunk_bytes: int = CHUNK_BYTES,
        line_bytes: int = LINE_BYTES,
        poll_s: float = 0.2,
    ) -> None:
        if framing not in ("lines", "chunks"):
            raise ConfigurationError(f"framing is 'lines' or 'chunks', not {framing!r}")
        if start not in ("beginning", "end"):
            raise ConfigurationError(f"start is 'beginning' or 'end', not {start!r}")
        self._path = os.fspath(path)
        self._follow = follow
        self._at_end = follow and start == "end"
        self._pace = Pace(rate) if rate is not None else None
        self._chunk_bytes = chunk_bytes
        self._poll_s = poll_s
        self._framing = framing
        self._encoding = encoding
        self._errors = errors
        self._line_bytes = line_bytes

    async def main(self) -> None:
        at_end = self._at_end
        while True:
            source = Descriptor(await open_in_thread(self._open, os.close))
            try:
                if at_end:
                    os.lseek(source.number, 0, os.SEEK_END)
                    at_end = False
                await self._read(source)
            finally:
                source.close()
            if not self._follow:
                return

    def _open(self) -> int:
        # A named pipe to which nobody writes yet would keep a thread waiting.
        return os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)

    async def _read(self, source: Descriptor) -> None:
        """Send what is in the file, until its end; a followed one has that when another takes its name."""
        lines = None
        if self._framing == "lines":
            lines = Lines(
                self._path,
                encoding=self._encoding,
                errors=self._errors,
                limit_bytes=self._line_bytes,
            )
        replaced = False
        while True:
            data = await source.read(self._chunk_bytes)
            if data:
                await self._send_paced(lines.feed(data) if lines is not None else [data])
            elif not self._follow or replaced:
                break
            else:
                await asyncio.sleep(self._poll_s)
                # Between the last read and the change of names something may have been added: read on, once.
                replaced, is_cut = await asyncio.to_thread(self._look, source.number)
                if is_cut:
                    await self._send_paced(lines.end() if lines is not None else [])
                    os.lseek(source.number, 0, os.SEEK_SET)
        await self._send_paced(lines.end() if lines is not None else [])

    async def _send_paced(self, items: Sequence[Any]) -> None:
        if self._pace is None:
            await self.send_all(items)
            return
        for item in items:
            await self._pace.wait()
            await self.send(item)

    def _look(self, number: int) -> tuple[bool, bool]:
        """Return whether another file has the name, and whether this one is shorter than what has been read of it."""
        here = os.fstat(number)
        is_cut = here.st_size < os.lseek(number, 0, os.SEEK_CUR)
        try:
            return not os.path.samestat(Path(self._path).stat(), here), is_cut
        except FileNotFoundError:
            return False, is_cut  # the next one is not there yet
