"""100 bytes to 500 WebSocket clients: one message at a time, and bursts of 20.

The next round begins when all have all; in the end each client must have got exactly what was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.harness import MissingError
from bench.server import hosting
from bench.users.commands import APPLICATION
from bench.users.raw import Call, Line
from bench.users.web import Acknowledging, Page, Socket, polling

CLIENTS = 500
BURST = 20
ITEM = b'"t":"item"'
MESSAGE = b"m" * 100
FRAME = b"\x82\x64" + MESSAGE


def rates(one_round: Callable[[int], None], seconds: float) -> dict[str, float]:
    """Return deliveries/s of rounds of one message and of a burst, each for half of ``seconds``."""
    found = {}
    for name, burst in (("single", 1), ("burst", BURST)):
        one_round(burst)
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds / 2:
            one_round(burst)
            count += burst * CLIENTS
        found[f"fanout-500-{name}"] = count / (time.perf_counter() - began)
    return found


def counted(one_round: Callable[[int], None], asked: list[int]) -> Callable[[int], None]:
    """Return ``one_round`` that adds to ``asked`` how many messages each client is to get."""

    def more(burst: int) -> None:
        asked[0] += burst
        one_round(burst)

    return more


def check(taken: list[int], asked: int) -> None:
    """Raise `MissingError` unless each client has got each message once."""
    if set(taken) != {asked}:
        raise MissingError(f"{asked} messages to each, but they got {min(taken)} to {max(taken)}")


def fanout(seconds: float) -> dict[str, float]:
    """A command publishes; 500 sessions that are subscribed get it, and acknowledge."""
    with hosting(APPLICATION) as server:
        pages = [Page(server.web, f"p{number}") for number in range(CLIENTS)]
        for page in pages:
            page.watch("news", {})
        publisher = Line(server.hub, "publisher")
        _settle(publisher, pages)
        acknowledging = Acknowledging(pages)
        calls = {burst: Call("burst", burst) for burst in (1, BURST)}
        with polling([*pages, publisher]) as poll:

            def one_round(burst: int) -> None:
                publisher.socket.sendall(publisher.calls(calls[burst], 1))
                need = burst * CLIENTS
                while need or publisher.in_flight:
                    for member in poll.ready():
                        if member is publisher:
                            publisher.results()
                        else:
                            need -= member.deliveries(ITEM)
                if need < 0:
                    raise MissingError("more came than was published")
                acknowledging.look()

            asked = [0]
            before = {page: page.taken for page in pages}
            found = rates(counted(one_round, asked), seconds)
            check([page.taken - before[page] for page in pages], asked[0])
            return found


def _settle(publisher: Line, pages: list[Page]) -> None:
    """Wait until all streams are open: publish until each has got something, and then read what else has come."""
    nobody_yet = set(pages)
    while nobody_yet:
        publisher.socket.sendall(publisher.calls(Call("burst", 1), 1))
        while publisher.in_flight:
            publisher.results()
        time.sleep(0.2)
        for page in pages:
            page.socket.setblocking(False)
            try:
                if page.deliveries(ITEM):
                    nobody_yet.discard(page)
            except BlockingIOError:
                pass
            finally:
                page.socket.settimeout(10)


def bare(url: str, seconds: float) -> dict[str, float]:
    """The same with a bare server that broadcasts as many messages as a text frame asks for."""
    clients = [Socket(url) for _ in range(CLIENTS)]
    with polling(clients) as poll:

        def one_round(burst: int) -> None:
            clients[-1].send(b"%d" % burst)
            need = burst * CLIENTS
            while need:
                for client in poll.ready():
                    need -= client.count(FRAME)
            if need < 0:
                raise MissingError("more came than was asked for")

        asked = [0]
        one_round_more = counted(one_round, asked)
        one_round_more(1)
        found = rates(one_round_more, seconds)
        check([client.taken for client in clients], asked[0])
        return found
