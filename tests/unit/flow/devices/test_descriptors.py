"""Descriptors that are waited for by the loop, and those that threads read."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from hubbub.flow.devices.descriptors import Descriptor


async def test_a_pipe_is_waited_for_and_keeps_its_blocking_mode() -> None:
    read, write = os.pipe()
    source = Descriptor(read)
    reading = asyncio.ensure_future(source.read())
    await asyncio.sleep(0)
    os.write(write, b"data")
    assert await reading == b"data"
    assert os.get_blocking(read)
    os.close(write)
    assert await source.read() == b""
    source.close()


async def test_being_cancelled_while_it_waits_has_read_nothing() -> None:
    read, write = os.pipe()
    source = Descriptor(read)
    reading = asyncio.ensure_future(source.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    os.write(write, b"data")
    assert await source.read(2) == b"da"
    assert await source.read() == b"ta"
    os.close(write)
    source.close()


async def test_somebody_else_may_be_quicker() -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    source = Descriptor(read)
    reading = asyncio.ensure_future(source.read())
    await asyncio.sleep(0)
    os.write(write, b"gone")
    os.read(read, 100)
    for _ in range(3):
        await asyncio.sleep(0)
    os.write(write, b"here")
    assert await reading == b"here"
    os.close(write)
    source.close()


async def test_writing_waits_for_room() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    data = os.urandom(300_000)
    writing = asyncio.ensure_future(Descriptor(write).write(data))
    source, seen = Descriptor(read), b""
    while len(seen) < len(data):
        seen += await source.read()
    await writing
    assert seen == data
    os.close(write)
    source.close()


async def test_a_file_is_not_closed_while_a_thread_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    number = os.open(path, os.O_RDONLY)
    source = Descriptor(number)
    begun, go_on = threading.Event(), threading.Event()
    read_now = os.read

    def slow_read(*args: int) -> bytes:
        begun.set()
        go_on.wait(20)
        return read_now(*args)

    monkeypatch.setattr(os, "read", slow_read)
    reading = asyncio.ensure_future(source.read())
    await asyncio.to_thread(begun.wait, 20)
    reading.cancel()
    await asyncio.wait([reading])
    source.close()
    os.fstat(number)  # still open
    closed = asyncio.Event()
    close_now = os.close

    def closing(number: int) -> None:
        close_now(number)
        closed.set()

    monkeypatch.setattr(os, "close", closing)
    go_on.set()
    await closed.wait()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
