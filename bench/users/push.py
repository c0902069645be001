"""From sending a durable command to the new answer of a live view in the last of 200 WebSocket clients."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

from bench.server import hosting
from bench.users.commands import APPLICATION
from bench.users.raw import Call, Line
from bench.users.web import Acknowledging, Page, Poll, Socket, polling
from bench.work import percentile

CLIENTS = 200
ANSWER = b'"t":"answer"'
MESSAGE = (
    b'{"t":"answer","n":1000,"id":1,"tid":"285000000000000000",'
    b'"patch":[["s",0,1,[]],["s",4,0,["xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]]]}'
)
"""What one client of Hubbub gets: the bare server broadcasts the same bytes."""


def latencies(one_round: Callable[[], None], seconds: float) -> dict[str, float]:
    """Return the median and the 99th percentile of rounds, in ms."""
    for _ in range(20):
        one_round()
    took: list[float] = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        one_round()
        took.append((time.perf_counter() - began) * 1000)
    return {"push-p50": percentile(took, 50), "push-p99": percentile(took, 99)}


def push(seconds: float) -> dict[str, float]:
    """One user adds a line; 200 pages watch the last five lines."""
    with hosting(APPLICATION) as server:
        writer = Line(server.hub, "writer")
        pages = watching(server.web, CLIENTS)
        with polling([*pages, writer]) as poll:
            return latencies(pushing(writer, pages, poll), seconds)


def pushing(writer: Line, pages: Sequence[Page], poll: Poll) -> Callable[[], None]:
    """Return a function that adds a line and waits until all ``pages`` have the new answer."""
    acknowledging = Acknowledging(pages)
    # Each line is another text: an answer that is as it was is sent to nobody.
    numbers = itertools.count()

    def one_round() -> None:
        writer.socket.sendall(writer.calls(Call("add", f"{next(numbers):040d}"), 1))
        need = len(pages)
        while need or writer.in_flight:
            for member in poll.ready():
                if member is writer:
                    writer.results()
                else:
                    need -= member.deliveries(ANSWER)
        acknowledging.look()

    return one_round


def watching(url: str, count: int) -> list[Page]:
    """Return ``count`` pages that watch the shared log, each with its first answer."""
    pages = [Page(url, f"p{number}") for number in range(count)]
    for page in pages:
        page.watch("recent", {"limit": 5}, [{"name": "board"}])
    for page in pages:
        page.until("answer")
    return pages


def bare(url: str, seconds: float) -> dict[str, float]:
    """One client sends a message; a bare server sends the same bytes to all, and stores nothing."""
    clients = [Socket(url) for _ in range(CLIENTS)]
    head = b"\x81\x7e" + len(MESSAGE).to_bytes(2, "big") if len(MESSAGE) > 125 else b""
    whole = head + MESSAGE
    with polling(clients) as poll:

        def one_round() -> None:
            clients[-1].send(MESSAGE)
            need = CLIENTS
            while need:
                for client in poll.ready():
                    need -= client.count(whole)

        return latencies(one_round, seconds)
