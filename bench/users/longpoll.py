"""500 parked polls, answered by one publish, again and again, on connections that are kept alive."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import msgspec

from bench.harness import MissingError
from bench.server import hosting
from bench.users.commands import APPLICATION
from bench.users.fanout import ITEM
from bench.users.raw import Call, Line
from bench.users.web import Http, polling

CLIENTS = 500
ONE = Call("burst", 1)
_decode = msgspec.json.Decoder().decode


class Poller(Http):
    """One session over long-poll. Its cursor goes with each request: that is its acknowledgement."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url)
        self.post("/_hub/open", json.dumps({"t": "hello", "credentials": {"name": name}}).encode())
        (welcome,) = _decode(self.whole())
        if welcome["t"] != "welcome":
            raise MissingError(f"not welcome: {welcome}")
        epoch, _, seq = welcome["cursor"].rpartition(".")
        self._seq = int(seq)
        session = {"session": welcome["session"], "secret": welcome["secret"]}
        whole = json.dumps({**session, "wait_s": 20, "cursor": f"{epoch}."}).encode()
        self._start = whole.removesuffix(b'"}')
        watch = {"t": "watch", "id": 1, "name": "news"}
        self.post("/_hub/send", json.dumps({**session, "messages": [watch]}).encode())
        self.whole()

    def park(self) -> None:
        """Ask for what comes after all that has come."""
        self.post("/_hub/poll", b'%s%d"}' % (self._start, self._seq))

    def items(self) -> int:
        """Read what there is and return how many items it brought; -1 if the answer is not whole."""
        body = self.response()
        if body is None:
            return -1
        found = body.count(ITEM)
        if body != b"[]" and (not found or b'"t":"gap"' in body or b'"t":"end"' in body):
            raise MissingError(f"the host says {body[:200]!r}")
        self._seq += found
        return found


def rate(one_round: Callable[[], None], seconds: float) -> dict[str, float]:
    """Return deliveries/s of whole rounds."""
    for _ in range(2):
        one_round()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        one_round()
        count += CLIENTS
    return {"longpoll-500": count / (time.perf_counter() - began)}


def longpoll(seconds: float) -> dict[str, float]:
    """A command publishes when all have asked; each of 500 sessions gets one item."""
    with hosting(APPLICATION) as server:
        pollers = [Poller(server.web, f"p{number}") for number in range(CLIENTS)]
        publisher = Line(server.hub, "publisher")
        with polling([*pollers, publisher]) as poll:

            def one_round() -> None:
                for poller in pollers:
                    poller.park()
                publisher.socket.sendall(publisher.calls(ONE, 1))
                need = CLIENTS
                while need or publisher.in_flight:
                    for member in poll.ready():
                        if member is publisher:
                            publisher.results()
                        elif member.items() > 0:
                            need -= 1

            return rate(one_round, seconds)


def bare(url: str, seconds: float) -> dict[str, float]:
    """The same with a bare server that answers all when 500 have asked."""
    clients = [Http(url) for _ in range(CLIENTS)]
    with polling(clients) as poll:

        def one_round() -> None:
            for client in clients:
                client.get("/pull")
            need = CLIENTS
            while need:
                for client in poll.ready():
                    if client.response() is not None:
                        need -= 1

        return rate(one_round, seconds)
