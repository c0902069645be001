"""One source publishes on a backplane; 100 subscribers, each a pipeline of its own, count what they get."""

from __future__ import annotations

import time

from bench.flow.pipeline import Counting, numbers
from hubbub.flow import Backplane, Component, Pipeline, PublishTo, SubscribeTo, run

SUBSCRIBERS = 100
MESSAGES = 3000


def functions(seconds: float) -> dict[str, float]:
    """Each subscriber is a function."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        counted = [Counting() for _ in range(SUBSCRIBERS)]
        publish([Pipeline(SubscribeTo("news"), one) for one in counted])
        assert {one.count for one in counted} == {MESSAGES}
        count += MESSAGES * SUBSCRIBERS
    return {"backplane-100": count / (time.perf_counter() - began)}


def components(seconds: float) -> dict[str, float]:
    """Each subscriber is a component that reads one message at a time."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        counted = [Counted() for _ in range(SUBSCRIBERS)]
        publish([Pipeline(SubscribeTo("news"), one) for one in counted])
        assert {one.count for one in counted} == {MESSAGES}
        count += MESSAGES * SUBSCRIBERS
    return {"backplane-100": count / (time.perf_counter() - began)}


def publish(subscribers: list[Pipeline]) -> None:
    """Run a source, a backplane and ``subscribers`` until the source has ended and all have read all of it."""
    source = Pipeline(numbers(MESSAGES), PublishTo("news"))
    run(Backplane("news"), source, *subscribers, until="first")


class Counted(Component):
    outboxes = {}

    def __init__(self) -> None:
        self.count = 0

    async def main(self) -> None:
        async for _ in self.inbox:
            self.count += 1
