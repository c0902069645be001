"""Dev mode finds what blocks in components of the loop (FL4)."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from hubbub.flow import Component, Pipeline, Runner, Threaded, run
from hubbub.kernel import BlockingError, ComponentFailedError
from tests.unit.flow.stand_ins import Pass, Seen


def connect(listening: socket.socket) -> None:
    socket.create_connection(listening.getsockname()).close()


@pytest.fixture
def listening() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.rule("FL4")
@pytest.mark.parametrize(
    "blocks, event",
    [
        (lambda _: time.sleep(0), "time.sleep"),
        (connect, "socket.(getaddrinfo|connect)"),
        (lambda _: socket.getaddrinfo("127.0.0.1", 1), "socket.getaddrinfo"),
        (lambda _: subprocess.run(["true"], check=True), "subprocess.Popen"),
        (lambda _: os.system("true"), "os.system"),
        (lambda _: urllib.request.urlopen("http://127.0.0.1:1/"), "urllib.Request"),
    ],
)
async def test_what_blocks_in_a_component_of_the_loop_is_an_error(
    blocks: Callable[[Any], Any], event: str, listening: socket.socket
) -> None:
    graph = Pipeline([listening], blocks, Seen())
    with pytest.raises(ComponentFailedError, match=event) as caught:
        async with Runner(dev=True) as runner:
            await runner.start(graph)
    assert isinstance(caught.value.__cause__, BlockingError)
    assert str(caught.value.__cause__).endswith(
        "in component <lambda> would hold up all others of its loop; use a ThreadedComponent for it"
    ) or "component connect" in str(caught.value.__cause__)


@pytest.mark.rule("FL4")
async def test_a_thread_may_block_and_so_may_whoever_is_no_component(
    listening: socket.socket,
) -> None:
    async with Runner(dev=True) as runner:
        await runner.start(Pipeline([0], Threaded(time.sleep), Seen()))
        await runner.start(Pipeline([listening], Threaded(connect)))
        time.sleep(0)
    async with Runner() as runner:
        await runner.start(Pipeline([0], time.sleep, Seen()))


async def test_what_asyncio_does_without_waiting_is_allowed(listening: socket.socket) -> None:
    class Uses(Component):
        inboxes = {}
        outboxes = {}

        async def main(self) -> None:
            _, writer = await asyncio.open_connection(*listening.getsockname())
            writer.close()
            await writer.wait_closed()
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
            await process.wait()
            await asyncio.to_thread(time.sleep, 0)
            await asyncio.sleep(0)

    async with Runner(dev=True) as runner:
        await runner.start(Uses())


@pytest.mark.rule("FL4")
def test_what_holds_up_the_loop_is_told_of_with_its_stack() -> None:
    told = threading.Event()
    texts: list[str] = []

    class Tells(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())
            told.set()

    def holds_up(item: int) -> int:
        told.wait()
        return item

    handler = Tells()
    log = logging.getLogger("hubbub.flow")
    log.addHandler(handler)
    try:
        run(Pipeline([1], Pass(), holds_up, Seen()), dev=True)
    finally:
        log.removeHandler(handler)
    (text,) = texts
    assert text.startswith(
        "holds_up has held up its loop for more than 100 ms, and all other components with it; "
        "use a ThreadedComponent for what blocks. Its stack now:\n"
    )
    assert "in holds_up" in text
