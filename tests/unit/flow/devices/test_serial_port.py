"""The serial port, over a pair of pseudo-terminals."""

from __future__ import annotations

import asyncio
import builtins
import os
import tty
from collections.abc import Iterator
from typing import Any

import pytest

from hubbub.flow import Component, Duplex, Pipeline, Restart, Runner, SerialPort
from hubbub.flow.devices.descriptors import Descriptor
from hubbub.kernel import BrokenError, ComponentFailedError, ConfigurationError
from tests.unit.flow.neighbours import Seen, Tracking


class Device:
    """The other end of the wire. `unplug` takes it away."""

    def __init__(self) -> None:
        self.wire, self._secondary = os.openpty()
        tty.setraw(self._secondary)
        self.name = os.ttyname(self._secondary)

    def say(self, data: bytes) -> None:
        os.write(self.wire, data)

    async def hears(self, count: int) -> bytes:
        source, heard = Descriptor(self.wire), b""
        while len(heard) < count:
            heard += await source.read()
        return heard

    def unplug(self) -> None:
        if self.wire >= 0:
            os.close(self.wire)
            os.close(self._secondary)
        self.wire = -1


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device()
    yield device
    device.unplug()


async def opened(port: SerialPort) -> None:
    """Wait until the port is open: what came before is thrown away by the system."""
    while port._wire is None:
        await asyncio.sleep(0)


async def test_lines_come_in(device: Device) -> None:
    seen = Seen()
    port = SerialPort(device.name, 115200)
    async with Runner() as runner:
        running = runner.start(Pipeline(port, seen))
        await opened(port)
        device.say(b"temperature 21\r\nhumi")
        device.say(b"dity 4\xff\n")
        await seen.until(2)
        running.finish()
        await running
    assert seen.items == ["temperature 21", "humidity 4\\xff"]


async def test_bytes_come_in_as_they_are(device: Device) -> None:
    seen = Seen()
    port = SerialPort(device.name, framing="raw")
    async with Runner() as runner:
        runner.start(Pipeline(port, seen))
        await opened(port)
        device.say(bytes(range(256)))
        await seen.until(1)
        while len(b"".join(seen.items)) < 256:
            await seen.until(len(seen.items) + 1)
    assert b"".join(seen.items) == bytes(range(256))


@pytest.mark.rule("FL2")
async def test_where_nobody_listens_it_ends_when_all_is_written(device: Device) -> None:
    hearing = asyncio.ensure_future(device.hears(12))
    await Pipeline(["on", b"raw", "end"], SerialPort(device.name, end="\r\n"))
    assert await hearing == b"on\r\nrawend\r\n"


async def test_it_answers_both_ways(device: Device) -> None:
    seen: list[str] = []

    class Talk(Component):
        async def main(self) -> None:
            await self.send("version?")
            async for item in self.inbox:
                seen.append(item)
                self.running.finish()

    port = SerialPort(device.name)
    async with Runner() as runner:
        running = runner.start(Duplex(Talk(), port))
        assert await device.hears(9) == b"version?\n"
        device.say(b"1.0\n")
        await running
    assert seen == ["1.0"]


@pytest.mark.rule("FL2")
async def test_asked_to_finish_it_writes_what_is_on_its_way(device: Device) -> None:
    source = Tracking(["a", "b"], stay=True)
    async with Runner() as runner:
        running = runner.start(Pipeline(source, SerialPort(device.name)))
        await source.all_sent.wait()
        running.finish()
        await running
    assert await device.hears(4) == b"a\nb\n"
    assert source.handled == ["a", "b"]


@pytest.mark.rule("FL3")
async def test_unplugging_is_a_clear_error(device: Device) -> None:
    seen = Seen()
    port = SerialPort(device.name)
    async with Runner() as runner:
        running = runner.start(Pipeline(port, seen))
        await opened(port)
        device.say(b"one\n")
        await seen.until(1)
        device.unplug()
        with pytest.raises(ComponentFailedError, match="gone: was it unplugged") as caught:
            await running
        assert isinstance(caught.value.__cause__, BrokenError)
        with pytest.raises(ComponentFailedError):
            await runner.wait()
    assert seen.items == ["one"]


@pytest.mark.rule("FL3")
async def test_what_is_not_there_cannot_be_opened() -> None:
    with pytest.raises(
        ComponentFailedError, match=r"can't open the serial port /dev/none: .*dialout"
    ):
        await Pipeline(SerialPort("/dev/none"), Seen())


@pytest.mark.rule("FL3")
async def test_it_can_wait_for_the_device_to_come_back(device: Device, tmp_path) -> None:
    name = tmp_path / "ttyUSB0"
    name.symlink_to(device.name)
    other = Device()
    seen = Seen()
    port = SerialPort(str(name), restart=Restart())
    async with Runner() as runner:
        running = runner.start(Pipeline(port, seen))
        await opened(port)
        device.say(b"one\n")
        await seen.until(1)
        name.unlink()
        name.symlink_to(other.name)
        device.unplug()
        while port._wire is not None:
            await asyncio.sleep(0)
        await opened(port)
        other.say(b"two\n")
        await seen.until(2)
        running.stop()
        await running
    other.unplug()
    assert seen.items == ["one", "two"]


@pytest.mark.rule("FL2")
@pytest.mark.parametrize("end", ["finish", "stop"])
async def test_it_ends_while_it_waits(device: Device, end: str) -> None:
    port = SerialPort(device.name)
    async with Runner() as runner:
        running = runner.start(Pipeline(port, Seen()))
        await opened(port)
        getattr(running, end)()
        await running


@pytest.mark.rule("FL1")
async def test_a_device_that_takes_nothing_makes_the_sender_wait(device: Device) -> None:
    source = Tracking(["x" * 1000] * 1000, stay=True)
    port = SerialPort(device.name)
    async with Runner() as runner:
        running = runner.start(Pipeline(source, port))
        await opened(port)
        for _ in range(500):
            await asyncio.sleep(0)
        assert not source.all_sent.is_set()
        running.stop()
        await running


def test_without_pyserial_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "serial":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=r"pip install 'hubbub\[serial\]'"):
        SerialPort("/dev/ttyUSB0")


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'lines' or 'raw', not 'words'"):
        SerialPort("/dev/ttyUSB0", framing="words")  # type: ignore[arg-type]
