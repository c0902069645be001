"""Kamaelia's Axon: the same pipeline and backplane, by its own components and chassis."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from Axon.Component import component
from Axon.Ipc import producerFinished
from Axon.Scheduler import scheduler
from Kamaelia.Chassis.Pipeline import Pipeline
from Kamaelia.Util.Backplane import Backplane, PublishTo, SubscribeTo

MESSAGES = 15_000


class Source(component):
    def __init__(self, count: int, together: int) -> None:
        super().__init__()
        self.count, self.together = count, together

    def main(self) -> Iterator[Any]:
        for number in range(self.count):
            self.send(number, "outbox")
            if number % self.together == 0:
                yield 1
        self.send(producerFinished(self), "signal")
        yield 1


class Changed(component):
    def main(self) -> Iterator[Any]:
        while True:
            while self.dataReady("inbox"):
                self.send(self.recv("inbox") + 1, "outbox")
            if self.dataReady("control"):
                self.send(self.recv("control"), "signal")
                return
            if not self.anyReady():
                self.pause()
            yield 1


class Counted(component):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def main(self) -> Iterator[Any]:
        while True:
            while self.dataReady("inbox"):
                self.recv("inbox")
                self.count += 1
            if self.dataReady("control"):
                return
            if not self.anyReady():
                self.pause()
            yield 1


def pipeline(seconds: float) -> dict[str, float]:
    """One message in each of the source's turns, as its documentation shows it."""
    return {"pipeline-3": _rate(seconds, together=1)}


def pipeline_in_hundreds(seconds: float) -> dict[str, float]:
    """A hundred messages in each of the source's turns."""
    return {"pipeline-3": _rate(seconds, together=100)}


def _rate(seconds: float, together: int) -> float:
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        fresh_scheduler()
        last = Counted()
        Pipeline(Source(MESSAGES, together), Changed(), last).run()
        assert last.count == MESSAGES
        count += MESSAGES
    return count / (time.perf_counter() - began)


def fresh_scheduler() -> None:
    """Forget the process's scheduler and make another: it is one for all, and ends with its first run."""
    scheduler.run = None
    scheduler.run = scheduler()


SUBSCRIBERS = 100
PUBLISHED = 60
IDLE_TURNS = 300
"""So many turns before the first message: what is published before a subscriber is wired is lost."""


class Publisher(component):
    began = 0.0

    def main(self) -> Iterator[Any]:
        for _ in range(IDLE_TURNS):
            yield 1
        Publisher.began = time.perf_counter()
        for number in range(PUBLISHED):
            self.send(number, "outbox")
            yield 1


class Subscriber(component):
    total = 0

    def main(self) -> Iterator[Any]:
        while True:
            while self.dataReady("inbox"):
                self.recv("inbox")
                Subscriber.total += 1
            if Subscriber.total >= PUBLISHED * SUBSCRIBERS:
                raise EveryoneHasAllError
            self.pause()
            yield 1


class EveryoneHasAllError(Exception):
    """Raised to leave the scheduler, which otherwise runs for ever."""


def backplane(_seconds: float) -> dict[str, float]:
    """Kamaelia's Backplane, from the first message to the last delivery."""
    fresh_scheduler()
    Backplane("news").activate()
    for _ in range(SUBSCRIBERS):
        Pipeline(SubscribeTo("news"), Subscriber()).activate()
    Pipeline(Publisher(), PublishTo("news")).activate()
    with contextlib.suppress(EveryoneHasAllError):
        scheduler.run.runThreads()
    took = time.perf_counter() - Publisher.began
    return {"backplane-100": PUBLISHED * SUBSCRIBERS / took}
