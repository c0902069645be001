"""What of a mind can be called, and in which order."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from hubbub.kernel import ConfigurationError
from hubbub.perspective.avatar import Mind
from hubbub.perspective.client import mind as minds
from hubbub.perspective.client.events import MindCalled
from hubbub.perspective.client.mind import MindRunner


class Stranger:
    def outside(self) -> None:
        raise AssertionError


class Me(Mind, Stranger):
    attribute = print

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.go = asyncio.Event()

    def plain(self, number: int) -> int:
        self.seen.append(number)
        return number

    async def slow(self, number: int) -> int:
        await self.go.wait()
        self.seen.append(number)
        return number

    def unsendable(self, number: int) -> object:
        return object()

    @staticmethod
    def static(number: int) -> None:
        raise AssertionError

    def _private(self, number: int) -> None:
        raise AssertionError


class Runner:
    def __init__(self) -> None:
        self.me = Me()
        self.replies: list = []
        self.gaps: list[str] = []
        self.runner = MindRunner(self.me, self.reply, self.gaps.append)

    def reply(self, called, value, failure) -> None:
        self.replies.append((called.id, failure.code if failure else msgspec.msgpack.decode(value)))

    def call(self, method: str, number: int) -> None:
        self.runner.take(MindCalled(number, method, [number], {}, "e"))


async def test_calls_keep_their_order_though_some_wait() -> None:
    run = Runner()
    run.call("plain", 1)
    run.call("slow", 2)
    run.call("plain", 3)
    run.call("slow", 4)
    await asyncio.sleep(0)
    assert run.me.seen == [1]
    run.me.go.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert run.me.seen == [1, 2, 3, 4]
    assert run.replies == [(1, 1), (2, 2), (3, 3), (4, 4)]


@pytest.mark.parametrize(
    "name",
    ["_private", "__init__", "outside", "static", "seen", "attribute", "absent", "__class__"],
)
async def test_only_public_methods_of_the_mind_can_be_called(name: str) -> None:
    run = Runner()
    run.call(name, 1)
    assert run.replies == [(1, "no_such_method")]


async def test_an_answer_that_can_t_be_sent_is_a_failure(caplog) -> None:
    run = Runner()
    run.call("unsendable", 1)
    assert run.replies == [(1, "internal")]
    assert "Me.unsendable failed" in caplog.text


@pytest.mark.rule("PE5")
async def test_a_mind_that_hangs_drops_what_waits_and_says_so() -> None:
    run = Runner()
    run.call("slow", 1)
    for number in range(minds.WAITING + 1):
        run.call("plain", number + 2)
    assert run.gaps == ["slow"]
    assert {code for _, code in run.replies} == {"mind_busy"}
    run.runner.close()


def test_a_mind_is_of_its_class() -> None:
    with pytest.raises(ConfigurationError):
        MindRunner(object(), lambda *a: None, lambda r: None)  # type: ignore[arg-type]
