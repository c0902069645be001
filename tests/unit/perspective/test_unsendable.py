"""What can't be sent leaves a gap that its user sees, never a silent hole (PE5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

import hubbub
from hubbub import Anonymous, Avatar, Hub, Identity, Realm, Root, command, stream
from hubbub.store import MemoryStore
from hubbub.wire import session as wire


class Talker(Avatar):
    @command
    def talk(self) -> None:
        for item in ("one", object(), "two"):
            hubbub.publish("talk", item)
            self.minds.told(item)

    @stream()
    def heard(self) -> AsyncIterator[str]:
        return hubbub.subscribe("talk")


class TalkerRealm(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        return Talker()


class Carrier:
    def wake(self) -> None:
        pass

    def close(self, message: Any) -> None:
        pass


@pytest.mark.rule("PE5")
async def test_an_item_or_mind_call_that_can_not_be_sent_leaves_a_gap() -> None:
    form = "msgpack"
    hub = Hub(TalkerRealm(), checkers=[Anonymous()])
    await hub.start(MemoryStore())
    try:
        session, _ = await hub.portal.open(wire.Hello(mind=True), form, "", Carrier())
        session.receive(wire.Watch(id=1, name="heard"))
        await hub.read(lambda root: None)
        session.receive(wire.Call(id=1, name="talk"))
        await hub.run(lambda root: None)
        got = [wire.decode_to_client(data, form) for data in session.take(1 << 20)]
    finally:
        await hub.stop()
    heard = [type(m).__name__ for m in got if isinstance(m, wire.Item | wire.Gap) and m.id == 1]
    told = [
        type(m).__name__
        for m in got
        if isinstance(m, wire.MindCall) or (isinstance(m, wire.Gap) and m.id == 0)
    ]
    assert heard == ["Item", "Gap", "Item"]
    assert told == ["MindCall", "Gap", "MindCall"]
