from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

import hubbub
from hubbub import (
    Anonymous,
    Avatar,
    Hub,
    Identity,
    Limits,
    NoTransactionError,
    Persistent,
    Realm,
    RemoteError,
    Root,
    action,
    command,
)
from hubbub.testing import TestHub


class Party(Avatar, Persistent):
    """One avatar for everybody, so that it has many minds."""

    @action()
    async def ask_all(self, method: str, what: Any, timeout_s: float = 5.0) -> list[Any]:
        answers = await self.minds.call_all(method, what, timeout_s=timeout_s, loud=True)
        return [shown(answer) for answer in answers]

    @action()
    async def ask_one(self, method: str, what: Any, timeout_s: float = 5.0) -> Any:
        (mind, *_) = self.minds
        try:
            return await mind.call(method, what, timeout_s=timeout_s, loud=True)
        except (hubbub.HubbubError, TimeoutError) as error:
            return shown(error)

    @action(timeout_s=0.05)
    async def give_up(self) -> None:
        await self.minds.call_all("never", 1, loud=True)

    @command
    def too_early(self) -> None:
        self.minds.call_all("double", 1).send(None)


def shown(answer: Any) -> Any:
    return type(answer).__name__ if isinstance(answer, Exception) else answer


class House(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        found: Avatar = root.setdefault("party", Party())
        return found


class Guest(hubbub.Mind):
    def __init__(self, factor: int) -> None:
        self.factor = factor
        self.calls = 0

    def double(self, number: int, loud: bool) -> int:
        self.calls += 1
        return number * self.factor

    async def never(self, number: int, loud: bool) -> None:
        self.calls += 1
        await asyncio.Event().wait()

    def fails(self, number: int, loud: bool) -> None:
        raise ValueError(number)


class Lame(Guest):
    def double(self, number: int, loud: bool) -> int:
        raise ValueError(number)


@asynccontextmanager
async def party(*minds: Guest, **limits: Any) -> AsyncIterator[tuple[TestHub, list[Any]]]:
    hub = Hub(House(), checkers=[Anonymous()], limits=Limits(**limits))
    async with TestHub(hub) as t:
        yield t, [await t.login(f"u{number}", mind=mind) for number, mind in enumerate(minds)]


async def test_all_minds_are_asked_and_answer_in_their_order():
    async with party(Guest(2), Guest(3), Lame(0), Guest(5)) as (_, people):
        assert await people[0].ask_all("double", 7) == [14, 21, "RemoteError", 35]
        assert await people[0].ask_one("double", 7) == 14
        assert await people[0].ask_one("fails", 7) == "RemoteError"


async def test_there_may_be_nobody_to_ask():
    async with party() as (t, _):
        me = await t.login("u")
        assert await me.ask_all("double", 1) == []


async def test_an_answer_that_does_not_come_in_time():
    async with party(Guest(1), Guest(1)) as (t, people):
        assert await people[0].ask_all("never", 1, 0.01) == ["TimeoutError", "TimeoutError"]
        assert await people[0].ask_one("never", 1, 0.01) == "TimeoutError"
        assert all(not seat.mind_calls for seat in t.hub.portal._seats.values())


async def test_who_leaves_meanwhile_does_not_answer():
    late = Guest(1)
    async with party(Guest(1), late) as (_, people):
        asking = asyncio.ensure_future(people[0].ask_all("never", 1, 0.5))
        while not late.calls:
            await asyncio.sleep(0.001)
        await people[1].close()
        assert await asking == ["TimeoutError", "BrokenError"]


@pytest.mark.rule("PE7")
async def test_a_mind_with_too_many_calls_does_not_stop_the_others():
    async with party(Guest(2), Guest(3), max_mind_calls=1) as (t, people):
        asking = asyncio.ensure_future(people[0].ask_one("never", 1))
        (first, _) = t.hub.portal._seats.values()
        while not first.mind_calls:
            await asyncio.sleep(0.001)
        asking.cancel()
        assert await people[0].ask_all("double", 7) == ["LimitError", 21]


async def test_whoever_gives_up_leaves_nothing_behind():
    async with party(Guest(1), Guest(1)) as (t, people):
        with pytest.raises(RemoteError):
            await people[0].give_up()
        calls = [c for seat in t.hub.portal._seats.values() for c in seat.mind_calls.values()]
        assert all(future.done() for future, _ in calls)
        for person in people:
            await person.close()
        assert len(t.hub.portal.desk.minds._deadlines) == 0


async def test_what_can_not_be_sent_is_said_for_each():
    async with party(Guest(1), Guest(1)) as (t, _):
        seats = list(t.hub.portal._seats.values())
        minds = t.hub.portal.desk.minds
        calls = minds.call_all([*seats, None], "double", (object(),), {}, 1.0)
        assert [shown(call) for call in calls] == [
            "UnstorableError",
            "UnstorableError",
            "BrokenError",
        ]
        assert all(not seat.mind_calls for seat in seats)


async def test_garbage_for_an_answer_is_an_error_of_the_caller():
    async with party(Guest(1)) as (t, _):
        (seat,) = t.hub.portal._seats.values()
        minds = t.hub.portal.desk.minds
        future = minds.call(seat, "never", (1,), {"loud": True}, None)
        minds.answered(seat, seat.next_mind_call - 1, msgspec.Raw(b"\xc1"), None)
        with pytest.raises(hubbub.ProtocolError):
            await future


async def test_a_command_can_not_wait_for_minds():
    async with party(Guest(1)) as (_, people):
        with pytest.raises(RemoteError):
            await people[0].too_early()
    with pytest.raises(NoTransactionError):
        await Party().minds.call_all("double", 1)
