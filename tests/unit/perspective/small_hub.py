"""A hub on a store that waits or fails as the test says, and users that speak the session's messages themselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self

import msgspec
from msgspec import UNSET, Raw

from hubbub.app import Hub
from hubbub.kernel import Commit, FakeClock, HubbubError
from hubbub.perspective.alarms import FakeAlarms
from hubbub.perspective.checkers import Anonymous
from hubbub.perspective.realm import Realm
from hubbub.store import MemoryStore
from hubbub.wire import session as wire


class SlowStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.fail: list[Exception] = []

    def write(self, commits: Sequence[Commit]) -> None:
        assert self.gate.wait(10)
        if self.fail:
            raise self.fail.pop(0)
        super().write(commits)


class User:
    """One user and the carrier of its session."""

    session: Any
    welcome: wire.Welcome

    def __init__(self) -> None:
        self.closed: Any = None

    def wake(self) -> None:
        pass

    def close(self, message: Any) -> None:
        self.closed = message

    def call(self, call_id: int, name: str, *args: Any, target: Sequence[str] = ()) -> None:
        steps = [wire.Step(step) for step in target]
        self.session.receive(wire.Call(call_id, name, steps, args=_packed(args)))

    def watch(self, watch_id: int, name: str, *args: Any) -> None:
        self.session.receive(wire.Watch(watch_id, name, args=_packed(args)))

    def taken(self) -> list[Any]:
        taken = []
        while texts := self.session.take(1 << 20):
            taken += [wire.decode_to_client(text, "msgpack") for text in texts]
        return taken

    def values(self) -> list[Any]:
        """Return the values of what has come, or the kind of its error."""
        found: list[Any] = []
        for message in self.taken():
            value = getattr(message, "value", UNSET)
            if value is UNSET:
                found.append(message.error.kind)
            else:
                found.append(wire.plain_value(value, "msgpack"))
        return found


class SmallHub:
    def __init__(self, realm: Realm, checker: Any = None) -> None:
        self.hub = Hub(realm, [checker or Anonymous()])
        self.store = SlowStore()
        self.clock = FakeClock()
        self.alarms = FakeAlarms(self.clock)

    async def __aenter__(self) -> Self:
        await self.hub.start(self.store, clock=self.clock, alarms=self.alarms)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.store.gate.set()
        await self.hub.stop()

    async def login(self, name: str, key: str = "", *, transient: bool = False) -> User:
        user = User()
        credentials = {"name": name, "key": key or f"key of {name}"}
        user.session, user.welcome = await self.hub.portal.open(
            wire.Hello(credentials=credentials), "msgpack", "", user, transient=transient
        )
        await self.rest()
        return user

    async def rest(self) -> None:
        """Wait until all that was begun has come to its end: calls hop between the loop and the serial thread."""
        for _ in range(4):
            with suppress(HubbubError):  # told behind all that waits for the disk
                await self.hub.run(lambda root: None)
            await self.hub.read(lambda root: None)
            for _ in range(5):
                await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        until = self.clock.now() + seconds
        while (alarm := self.alarms.next_due(until)) is not None:
            alarm()
            await self.rest()


def _packed(args: tuple[Any, ...]) -> Raw:
    return Raw(msgspec.msgpack.encode(args))
