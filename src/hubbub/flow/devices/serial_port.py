"""A serial port as a component. Needs `pyserial`, the extra ``serial``."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import termios
from typing import TYPE_CHECKING, Any, Literal

from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.devices.descriptors import Descriptor
from hubbub.flow.devices.edges import feeds_itself, handling, open_in_thread, together
from hubbub.flow.devices.lines import LINE_BYTES, Lines
from hubbub.flow.restarting import Restart
from hubbub.flow.running import ENDED
from hubbub.kernel import BrokenError, ConfigurationError

if TYPE_CHECKING:
    import serial

SerialFraming = Literal["lines", "raw"]

_GONE = (errno.EIO, errno.ENXIO, errno.ENODEV, errno.EBADF)
"""What the system says of a device that is not there any more."""

_LOOK_S = 0.01
"""How often to look whether all has been sent."""


class SerialPort(Component):
    """Send what comes in by a serial port; write what comes to the inbox out by it.

    It ends when it is asked to finish. Where nobody listens to it, it ends with its inbox. A device that goes away is a
    failure, a `BrokenError`; ``restart=Restart(limit=1000)`` waits for it to come back.

    Args:
        device: Its name, such as ``/dev/ttyUSB0``.
        baudrate: Bits a second.
        framing: ``lines``: text, line by line, without its end. ``raw``: bytes as they come.
        end: What to write after each item that is text. Bytes are written as they are.
        encoding: How text is written.
        errors: What to do with bytes that are no text, such as noise while a device starts: as for `bytes.decode`.
        line_bytes: How long a line may be.
        restart: What happens when it fails: None takes its graph down; see `Restart`.
        options: What else `serial.Serial` takes, such as ``parity`` and ``rtscts``.

    Raises:
        ConfigurationError: If there is no such framing, or `pyserial` is not installed.
    """

    inboxes: Boxes = {"inbox": box("what to write to it: text or bytes", loose=True)}
    outboxes: Boxes = {"outbox": box("what it sends", loose=True)}
    independent = True

    def __init__(
        self,
        device: str,
        baudrate: int = 9600,
        *,
        framing: SerialFraming = "lines",
        end: str = "\n",
        encoding: str = "utf-8",
        errors: str = "backslashreplace",
        line_bytes: int = LINE_BYTES,
        restart: Restart | None = None,
        **options: Any,
    ) -> None:
        if framing not in ("lines", "raw"):
            raise ConfigurationError(f"framing is 'lines' or 'raw', not {framing!r}")
        try:
            import serial  # noqa: F401 - said now rather than when it runs
        except ImportError:
            raise ConfigurationError(
                "SerialPort needs pyserial: pip install 'hubbub[serial]'"
            ) from None
        self._device = device
        self._baudrate = baudrate
        self._framing = framing
        self._end = end
        self._encoding = encoding
        self._errors = errors
        self._line_bytes = line_bytes
        self._options = options
        self.restart = restart
        self._asked = asyncio.Event()
        self._wire: Descriptor | None = None

    async def main(self) -> None:
        if self._asked.is_set():
            return
        port = await open_in_thread(self._open, _close)
        try:
            wire = self._wire = Descriptor(port.fileno())
            await together(self._write(wire), self._read_until_asked(wire))
            while port.out_waiting:  # noqa: ASYNC110 - the system has no event for this
                await asyncio.sleep(_LOOK_S)
            port.close()
        except OSError as error:
            if error.errno not in _GONE:
                raise
            raise self._gone() from error
        finally:
            self._wire = None
            if port.is_open:
                _close(port)

    def finish(self) -> None:
        self._asked.set()
        if feeds_itself(self):
            self.inbox.finish()  # its end would wait for ours

    async def _write(self, wire: Descriptor) -> None:
        async for item in self.inbox:
            with handling(self):
                await wire.write(self._bytes_of(item))
        if self.inbox is not ENDED and not self.outlets():
            self._asked.set()  # written to its end, and nobody listens

    async def _read_until_asked(self, wire: Descriptor) -> None:
        reading = asyncio.ensure_future(self._read(wire))
        asked = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait([reading, asked], return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
        finally:
            asked.cancel()
            reading.cancel()
            await asyncio.wait([reading])

    async def _read(self, wire: Descriptor) -> None:
        lines = None
        if self._framing == "lines":
            lines = Lines(
                self._device,
                encoding=self._encoding,
                errors=self._errors,
                limit_bytes=self._line_bytes,
            )
        while True:
            data = await wire.read()
            if not data:
                raise self._gone()
            await self.send_all(lines.feed(data) if lines is not None else [data])

    def _open(self) -> serial.Serial:
        import serial

        try:
            return serial.Serial(self._device, self._baudrate, timeout=0, **self._options)
        except serial.SerialException as error:
            raise BrokenError(
                f"can't open the serial port {self._device}: {error}; "
                "is it plugged in, and may this user open it (often: the group 'dialout')?"
            ) from error

    def _gone(self) -> BrokenError:
        return BrokenError(f"the serial port {self._device} is gone: was it unplugged?")

    def _bytes_of(self, item: Any) -> bytes:
        if isinstance(item, bytes | bytearray | memoryview):
            return bytes(item)
        return f"{item}{self._end}".encode(self._encoding)


def _close(port: serial.Serial) -> None:
    """Close it now, whatever it has not taken: the system would wait half a minute for it."""
    with contextlib.suppress(OSError, termios.error):
        port.reset_output_buffer()
    port.close()
