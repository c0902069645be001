"""Twisted's Perspective Broker: a remote call that echoes its argument, and stores nothing; calls of 200 minds.

As a module: the echoing server; with a port as argument, 200 clients with a mind each.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from typing import Any

from twisted.cred import checkers, credentials, portal
from twisted.internet import defer, reactor
from twisted.spread import pb
from zope.interface import implementer

from bench.harness import ROOT, MissingError
from bench.server import rival, stop

WARM_S = 0.3
BATCH = 100
USERS, EACH = 64, 16
MINDS = 200
LINE = "x" * 40
PAYLOAD = b"m" * 100
LIMIT_S = 40.0

_reactor: Any = reactor
Steps = Generator[Any, Any, Any]


class Echo(pb.Root):
    def remote_echo(self, value: Any) -> Any:
        return value


class Listening(pb.Referenceable):
    """A mind."""

    def remote_notify(self, value: Any) -> None:
        return None


def sequential(seconds: float) -> dict[str, float]:
    """One client, one call at a time."""

    def work(port: int) -> Steps:
        (root,) = yield _roots(port, 1)
        yield _one_by_one(root, WARM_S)
        rate = yield _one_by_one(root, seconds)
        return rate

    return {"command-seq": _with_server(work)}


def many(seconds: float) -> dict[str, float]:
    """100 calls in flight on one connection, or 64 connections with 16 calls each: the better of the two."""

    def work(port: int) -> Steps:
        roots = yield _roots(port, USERS)
        yield _batches(roots[0], WARM_S)
        one = yield _batches(roots[0], seconds / 2)
        yield _in_flight(roots, WARM_S)
        all_of_them = yield _in_flight(roots, seconds / 2)
        return max(one, all_of_them)

    return {"command-64": _with_server(work)}


def minds(seconds: float) -> dict[str, float]:
    """This process is the server: it calls 200 minds of another process and waits for the answers."""
    found: list[Any] = []

    @implementer(portal.IRealm)
    class Realm:
        def requestAvatar(self, name: Any, mind: Any, *interfaces: Any) -> Any:  # noqa: N802
            found.append(mind)
            return pb.IPerspective, pb.Avatar(), lambda: None

    door = portal.Portal(Realm(), [checkers.AllowAnonymousAccess()])
    listening = _reactor.listenTCP(0, pb.PBServerFactory(door), interface="127.0.0.1", backlog=300)
    clients = subprocess.Popen(
        [sys.executable, "-m", "bench.rivals.twisted_pb", str(listening.getHost().port)], cwd=ROOT
    )

    @defer.inlineCallbacks
    def ring(duration: float) -> Steps:
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < duration:
            yield defer.gatherResults([mind.callRemote("notify", PAYLOAD) for mind in found])
            count += len(found)
        return count / (time.perf_counter() - began)

    def work() -> Steps:
        while len(found) < MINDS:
            yield _pause(0.05)
        yield ring(WARM_S)
        rate = yield ring(seconds)
        return rate

    try:
        return {"mind-200": _run(work)}
    finally:
        stop(clients)


def _with_server(work: Callable[[int], Steps]) -> float:
    with rival("bench.rivals.twisted_pb") as server:
        return _run(lambda: work(server.told["port"]))


def _run(work: Callable[[], Steps]) -> float:
    """Run ``work`` in the reactor, which can be run once in a process."""
    outcome: list[Any] = []
    deferred = defer.inlineCallbacks(work)()
    deferred.addBoth(outcome.append)
    deferred.addBoth(lambda _: _reactor.stop())
    _reactor.callLater(LIMIT_S, lambda: deferred.called or _reactor.stop())
    _reactor.run()
    if not outcome or not isinstance(outcome[0], float):
        raise MissingError(f"Twisted PB failed: {outcome or 'out of time'}")
    return outcome[0]


def _pause(seconds: float) -> Any:
    deferred = defer.Deferred()
    _reactor.callLater(seconds, deferred.callback, None)
    return deferred


@defer.inlineCallbacks
def _roots(port: int, count: int) -> Steps:
    roots = []
    for _ in range(count):
        factory = pb.PBClientFactory()
        _reactor.connectTCP("127.0.0.1", port, factory)
        roots.append((yield factory.getRootObject()))
    return roots


@defer.inlineCallbacks
def _one_by_one(root: Any, seconds: float) -> Steps:
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        yield root.callRemote("echo", LINE)
        count += 1
    return count / (time.perf_counter() - began)


@defer.inlineCallbacks
def _batches(root: Any, seconds: float) -> Steps:
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        yield defer.gatherResults([root.callRemote("echo", LINE) for _ in range(BATCH)])
        count += BATCH
    return count / (time.perf_counter() - began)


@defer.inlineCallbacks
def _in_flight(roots: list[Any], seconds: float) -> Steps:
    """Keep 16 calls of each connection in flight: each answer is followed by the next call."""
    began = time.perf_counter()
    end = began + seconds
    count = 0
    running = len(roots) * EACH
    finished = defer.Deferred()

    def call(root: Any) -> None:
        root.callRemote("echo", LINE).addCallbacks(answered, finished.errback, callbackArgs=(root,))

    def answered(_: Any, root: Any) -> None:
        nonlocal count, running
        count += 1
        if time.perf_counter() < end:
            call(root)
            return
        running -= 1
        if not running:
            finished.callback(None)

    for root in roots:
        for _ in range(EACH):
            call(root)
    yield finished
    return count / (time.perf_counter() - began)


def _serve() -> None:
    port = _reactor.listenTCP(0, pb.PBServerFactory(Echo()), interface="127.0.0.1", backlog=100)
    print(json.dumps({"port": port.getHost().port}), flush=True)
    _reactor.run()


def _listen(port: int) -> None:
    keep = []

    @defer.inlineCallbacks
    def enter() -> Steps:
        for _ in range(MINDS):
            factory = pb.PBClientFactory()
            _reactor.connectTCP("127.0.0.1", port, factory)
            keep.append((yield factory.login(credentials.Anonymous(), Listening())))

    enter()
    _reactor.callLater(2 * LIMIT_S, _reactor.stop)
    _reactor.run()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _listen(int(sys.argv[1]))
    else:
        _serve()
