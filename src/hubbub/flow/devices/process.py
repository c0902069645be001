"""Another program as a component.

Theory of operation
===================

Three things go on at once: what comes in is written to the program's standard input, what it prints is sent on, and
what it says on standard error is kept, and sent on where anybody listens. The end of the inbox closes its standard
input; the end of its output ends the component, and its exit status says whether it failed.

    runs --inbox ends--> input closed --> output ends --> status looked at
     |---finish(), nothing fed------> SIGTERM --> output ends --> its status is our doing
     `---stop(), or a failure here--> SIGTERM --patience--> SIGKILL

It runs in a session of its own: a Ctrl-C at the terminal is for the graph to deal with, and signals reach what the
program has started, too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import signal
from asyncio.subprocess import DEVNULL, PIPE, SubprocessStreamProtocol
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from hubbub.flow.component import Component, path_in
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.devices.descriptors import CHUNK_BYTES
from hubbub.flow.devices.edges import feeds_itself, handling, together
from hubbub.flow.devices.lines import LINE_BYTES, Lines
from hubbub.flow.restarting import Restart
from hubbub.flow.running import ENDED
from hubbub.kernel import GraphError, ProcessFailedError

log = logging.getLogger("hubbub.flow")

SHOWN_LINES = 20
"""How many of the last lines of standard error a failure shows."""

_KILLING_S = 10.0
"""How long the system may take to end a program that is killed."""


class Process(Component):
    """Run a program: items go to its standard input, what it prints comes out line by line.

    An item counts as handled when the program has been given it; what it prints stems from nothing that is tracked. An
    exit status that says failure fails the component with the last lines of standard error.

    Args:
        command: The program and its arguments: ``Process("sort", "-u")``. A single string is split as a shell would,
            but no shell runs it; ``Process("sh", "-c", "...")`` does.
        cwd: The directory to run it in.
        env: Environment variables beside those that are there.
        end: What to write after each item that is text. Bytes are written as they are.
        encoding: How its text is written.
        errors: What to do with output that is no text: as for `bytes.decode`.
        success: Exit statuses that are no failure.
        patience_s: How long it may take to end when it is told to, before it is killed.
        line_bytes: How long a line of its output may be.
        restart: What happens when it fails: None takes its graph down; see `Restart`.

    Raises:
        GraphError: If there is no command.
    """

    inboxes: Boxes = {"inbox": box("lines for its standard input, or bytes", loose=True)}
    outboxes: Boxes = {
        "outbox": box("lines that it prints", loose=True),
        "error": box("lines of its standard error", loose=True),
    }
    independent = True

    def __init__(
        self,
        *command: str | os.PathLike[str],
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        end: str = "\n",
        encoding: str = "utf-8",
        errors: str = "backslashreplace",
        success: Iterable[int] = (0,),
        patience_s: float = 5.0,
        line_bytes: int = LINE_BYTES,
        restart: Restart | None = None,
    ) -> None:
        words = [os.fspath(word) for word in command]
        if len(command) == 1 and isinstance(command[0], str):
            words = shlex.split(words[0])
        if not words:
            raise GraphError("a Process needs a command: Process('sort', '-u')")
        self._command = words
        self._cwd = cwd
        self._env = env
        self._end = end
        self._encoding = encoding
        self._errors = errors
        self._success = frozenset(success)
        self._patience_s = patience_s
        self._line_bytes = line_bytes
        self.restart = restart
        self._process: asyncio.subprocess.Process | None = None
        self._last: deque[str] = deque(maxlen=SHOWN_LINES)
        self._asked = False
        self._killing: asyncio.TimerHandle | None = None

    @property
    def label(self) -> str:
        return os.path.basename(self._command[0])  # noqa: PTH119 - a name, not a file

    async def main(self) -> None:
        if self._asked:
            return  # asked to finish while it waited for its restart
        self._last.clear()
        fed = self.inbox is not ENDED
        loop = asyncio.get_running_loop()
        # What asyncio.create_subprocess_exec does, but for its not letting go of the transport, which has to be closed.
        transport, protocol = await loop.subprocess_exec(
            lambda: SubprocessStreamProtocol(CHUNK_BYTES, loop),
            *self._command,
            stdin=PIPE if fed else DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            cwd=self._cwd,
            env={**os.environ, **self._env} if self._env is not None else None,
            start_new_session=True,
        )
        process = self._process = asyncio.subprocess.Process(transport, protocol, loop)
        ended = False
        try:
            await together(
                *([self._feed(process)] if fed else []),
                self._read(process.stdout, "outbox"),
                self._read(process.stderr, "error"),
            )
            status = await process.wait()
            ended = True
        finally:
            if self._killing is not None:
                self._killing.cancel()
            self._process = None
            try:
                if not ended:
                    await self._end_now(process)
            finally:
                transport.close()
        if status not in self._success and not self._asked:
            raise ProcessFailedError(shlex.join(self._command), status, list(self._last))

    def finish(self) -> None:
        if self.inbox is not ENDED:
            if feeds_itself(self):
                self.inbox.finish()  # its end would wait for ours
            return
        process = self._process
        if self._asked:
            return
        self._asked = True
        if process is None:
            self.running.cancel(self)
        else:
            _signal(process, signal.SIGTERM)
            self._killing = asyncio.get_running_loop().call_later(
                self._patience_s, _signal, process, signal.SIGKILL
            )

    async def _feed(self, process: asyncio.subprocess.Process) -> None:
        """Write what comes in; close the program's standard input when nothing more does."""
        stdin = process.stdin
        assert stdin is not None
        try:
            async for item in self.inbox:
                with handling(self):
                    stdin.write(self._bytes_of(item))
                    await stdin.drain()
            stdin.close()
            await stdin.wait_closed()
        except (BrokenPipeError, ConnectionResetError):
            self.keep()  # what it was not given is not handled
            # It reads nothing more, as `head` does; whether that is a failure says its status.

    async def _read(self, stream: asyncio.StreamReader | None, outbox: str) -> None:
        assert stream is not None
        lines = Lines(
            self.label,
            encoding=self._encoding,
            errors=self._errors,
            limit_bytes=self._line_bytes,
        )
        more = True
        while more:
            data = await stream.read(CHUNK_BYTES)
            more = bool(data)
            items = lines.feed(data) if more else lines.end()
            if outbox == "error":
                self._last += items
            if items:
                await self.send_all(items, outbox)

    async def _end_now(self, process: asyncio.subprocess.Process) -> None:
        """End the program, and all that it has started: ask, then insist."""
        try:
            for number, patience_s in (
                (signal.SIGTERM, self._patience_s),
                (signal.SIGKILL, _KILLING_S),
            ):
                _signal(process, number)
                try:
                    async with asyncio.timeout(patience_s):
                        await together(_drain(process.stdout), _drain(process.stderr))
                        await process.wait()
                    return
                except TimeoutError:
                    pass
            log.warning("%s: process %d does not end", path_in(self), process.pid)
        except asyncio.CancelledError:
            _signal(process, signal.SIGKILL)
            raise

    def _bytes_of(self, item: Any) -> bytes:
        if isinstance(item, bytes | bytearray | memoryview):
            return bytes(item)
        return f"{item}{self._end}".encode(self._encoding)


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    try:
        os.killpg(process.pid, number)  # its session is its own
    except ProcessLookupError:
        pass


async def _drain(stream: asyncio.StreamReader | None) -> None:
    """Read to the end: a program that can't get rid of its output can't end."""
    while stream is not None and await stream.read(CHUNK_BYTES):
        pass
