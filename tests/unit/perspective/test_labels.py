"""Each commit says who did it and what it was, with its arguments unless the command keeps them out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hubbub import Anonymous, Avatar, Hub, Identity, Persistent, Realm, Root, command, query
from hubbub.testing import TestHub


class Safe(Persistent):
    def __init__(self) -> None:
        self.opened = 0

    @command
    def open(self, who: Owner, code: int) -> None:
        self.opened = code


class Owner(Avatar):
    def __init__(self, name: str, safe: Safe) -> None:
        self.name, self._safe = name, safe

    @query
    def safe(self) -> Safe:
        return self._safe

    @command
    def put(self, amount: int, note: str = "cash") -> None:
        self._safe.opened = amount

    @command(record=False)
    def set_code(self, code: int) -> None:
        self._safe.opened = code


class SafeRealm(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        return Owner(who.name, root.setdefault("safe", Safe()))


hub = Hub(SafeRealm(), checkers=[Anonymous()])


async def last_label(t: TestHub) -> Any:
    return list(t.hub.host.store.feed())[-1].label


@pytest.mark.parametrize(
    "call, name, args",
    [
        (lambda me: me.put(5), "put", [5, "cash"]),
        (lambda me: me.put(note="coins", amount=6), "put", [6, "coins"]),
        (lambda me: me.set_code(1234), "set_code", None),
        (lambda me: me.safe().open(7), "Safe.open", [7]),
    ],
)
async def test_a_commit_names_identity_avatar_command_and_arguments(
    call: Any, name: str, args: list[Any] | None
) -> None:
    async with TestHub(hub) as t:
        me = await t.login("ann")
        await call(me)
        label = await last_label(t)
        assert label.identity.startswith("anon:")
        assert (label.avatar, label.command) == ("Owner", name)
        assert (msgspec.msgpack.decode(label.args) if label.args else None) == args


async def test_what_the_host_itself_does_has_a_label_too() -> None:
    async with TestHub(hub) as t:

        def tidy(root: Root) -> None:
            root["tidy"] = True

        await t.hub.run(tidy)
        label = await last_label(t)
        assert (label.identity, label.command) == ("", "tidy")
