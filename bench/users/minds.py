"""The host calls the minds of 200 sessions and waits for the answers. The sessions live in one other process."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.server import hosting
from bench.users.commands import APPLICATION
from bench.users.raw import ACK_S, Call, Line, frame
from bench.users.web import Poll

MINDS = 200


def minds(seconds: float) -> dict[str, float]:
    """An action calls all minds at once, round after round."""
    with hosting(APPLICATION) as server, in_another_process(_answering, server.hub):
        caller = Line(server.hub, "crowd-caller")
        for duration in (0.3, seconds):
            caller.socket.settimeout(duration + 20)
            caller.socket.sendall(caller.calls(Call("ring", duration), 1))
            result: dict[str, Any] = {}
            while result.get("t") != "result":
                result = next((m for m in caller.messages() if m["t"] == "result"), {})
        count, took = result["value"]
    return {"mind-200": count / took}


def _answering(url: str, ready: socket.socket) -> None:
    lines = [Line(url, f"crowd-{number}", mind=True) for number in range(MINDS)]
    poll = Poll(lines)
    ready.sendall(b".")
    swept = time.perf_counter()
    while True:
        for line in poll.ready():
            replies = b"".join(
                frame({"t": "reply", "id": message["id"], "value": None})
                for message in line.messages()
                if message["t"] == "mind"
            )
            line.socket.sendall(replies + line.ack() if line.is_ack_due else replies)
        now = time.perf_counter()
        if now - swept > ACK_S:
            swept = now
            for line in lines:
                line.acknowledge(late=True)


@contextmanager
def in_another_process(function: Callable[[str, socket.socket], None], url: str) -> Iterator[None]:
    """Run ``function(url, ready)`` in a forked process during the block; it begins when ``ready`` has a byte."""
    here, there = socket.socketpair()
    pid = os.fork()
    if not pid:
        try:
            function(url, there)
        finally:
            os._exit(1)
    there.close()
    here.settimeout(30)
    try:
        if here.recv(1) != b".":
            raise RuntimeError("the process with the minds has failed")
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        here.close()
