"""The console: lines from standard input, items to standard output."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from typing import Any, TextIO

from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.devices.descriptors import Descriptor
from hubbub.flow.devices.lines import Lines
from hubbub.flow.threaded import ThreadedComponent


class ConsoleReader(Component):
    """Send each line of standard input, without its end. The end of input (Ctrl-D) ends it, and so its graph.

    Where standard input is a terminal, ``prompt`` stands before each line. What `input` has read ahead comes first.

    Args:
        prompt: What to show when a line is waited for, where somebody sits there to read it.
    """

    inboxes: Boxes = {}
    outboxes: Boxes = {"outbox": "lines of standard input"}

    def __init__(self, prompt: str = "") -> None:
        self._prompt = prompt

    async def main(self) -> None:
        stdin = sys.stdin
        number = _number_of(stdin)
        if number is None:
            await self._read_object(stdin)
            return
        lines = Lines("standard input", encoding=stdin.encoding, errors=stdin.errors or "strict")
        prompt = self._prompt if os.isatty(number) else ""
        source = Descriptor(number)
        data = _read_ahead(stdin, number).encode(stdin.encoding, "surrogateescape")
        await self.send_all(lines.feed(data))
        while True:
            if prompt:
                await asyncio.to_thread(_show, prompt)
            try:
                data = await source.read()
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                data = b""  # the terminal has gone away
            if not data:
                await self.send_all(lines.end())
                return
            await self.send_all(lines.feed(data))

    async def _read_object(self, stdin: TextIO | None) -> None:
        """Read what stands in for standard input, in a notebook or a test: it has no descriptor."""
        while stdin is not None:
            line = await asyncio.to_thread(stdin.readline)
            if not line:
                return
            await self.send(line.removesuffix("\n"))


class ConsoleEchoer(ThreadedComponent):
    """Print each item; send it on, where anybody listens. It prints in a thread: a console can stand still.

    Args:
        end: What to print after each item.
    """

    outboxes: Boxes = {"outbox": box("what has been printed", loose=True)}

    def __init__(self, end: str = "\n") -> None:
        self._end = end

    def main(self) -> None:
        listened_to = bool(self.outlets())
        for item in self.inbox:
            _show(_text_of(item) + self._end)
            if listened_to:
                self.send(item)


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _text_of(item: Any) -> str:
    if isinstance(item, bytes | bytearray):
        return item.decode("utf-8", "backslashreplace")
    return str(item)


def _number_of(stdin: TextIO | None) -> int | None:
    """Return the descriptor behind ``stdin``, or None where there is none."""
    try:
        return stdin.fileno() if stdin is not None else None
    except (OSError, ValueError):  # io.UnsupportedOperation is both
        return None


def _read_ahead(stdin: TextIO, number: int) -> str:
    """Return what Python has read ahead for ``stdin``: for a moment its descriptor is one that is at its end."""
    if os.isatty(number):
        return ""  # a terminal gives a line at a time
    inherited = os.get_inheritable(number)
    before, empty = os.dup(number), os.open(os.devnull, os.O_RDONLY)
    try:
        os.dup2(empty, number, inherited)
        try:
            return stdin.read()
        finally:
            os.dup2(before, number, inherited)
    finally:
        os.close(empty)
        os.close(before)
