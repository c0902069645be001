"""A deploy with new classes, and its roll-back: a host is stopped, other code starts on the same data."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

import hubbub
from hubbub import RemoteError
from tests.e2e.conftest import Login
from tests.e2e.hosts import Host, Hosts

FIRST = """
import msgspec
from hubbub import Avatar, Hub, Anonymous, Log, Map, Persistent, Realm, command, query

class Line(msgspec.Struct, frozen=True):
    text: str

class Room(Persistent):
    def __init__(self, title):
        self.title, self.lines, self.marks = title, Log(), []

class Member(Avatar):
    def __init__(self, rooms):
        self._rooms = rooms

    @command
    def open(self, name: str) -> None:
        self._rooms[name] = Room(name.title())

    @command
    def say(self, name: str, text: str) -> None:
        self._rooms[name].lines.append(Line(text))

    @command
    def mark(self, name: str) -> None:
        self._rooms[name].marks.append(1)

    @query
    def show(self, name: str) -> list[str]:
        room = self._rooms[name]
        return [room.title, *(line.text for line in room.lines), str(len(room.marks))]

class Everyone(Realm):
    def request_avatar(self, root, who):
        return Member(root.setdefault("rooms", Map()))

hub = Hub(Everyone(), checkers=[Anonymous()])
"""

SECOND = (
    FIRST.replace("import msgspec", "import msgspec, hubbub")
    .replace("class Line(msgspec.Struct, frozen=True):", "class Said(msgspec.Struct, frozen=True):")
    .replace("    text: str\n\nclass Room", "    text: str\n    stars: int = 0\n\nclass Room", 1)
    .replace("Line(text)", "Said(text, 1)")
    .replace("class Said", '@hubbub.register(formerly="rooms:Line")\nclass Said')
    .replace(
        """class Room(Persistent):
    def __init__(self, title):
        self.title, self""",
        """class Room(Persistent, version=2):
    @hubbub.upgrade(from_version=1)
    @staticmethod
    def title_becomes_names(state):
        state["names"] = (state.pop("title"), "old")
        return state

    def __init__(self, title):
        self.names, self""",
    )
    .replace("title, Log(), []", "(title, 'new'), Log(), []")
    .replace("[room.title, *(line.text for", "[*room.names, *(f'{line.text}{line.stars}' for")
)


@pytest.fixture
def rooms(hosts: Hosts, tmp_path: Path) -> Host:
    (tmp_path / "rooms.py").write_text(FIRST)
    return hosts.host("rooms:hub", tmp_path).start()


def deploy(host: Host, code: str) -> None:
    assert host.terminate() == 0
    (host.directory / "rooms.py").write_text(code)
    host.start()


def records(host: Host) -> dict[str, int]:
    """Return how many records of each kind of object the space has, old ones included."""
    found: dict[str, int] = {}
    with hubbub.open(host.data, read_only=True) as space:
        for entry in space.feed():
            for oid in entry.oids:
                found[str(oid)] = found.get(str(oid), 0) + 1
    return found


@pytest.mark.rule("SP7")
@pytest.mark.rule("LV1")
async def test_new_code_reads_what_old_code_wrote_and_rewrites_what_it_changes(
    rooms: Host, login: Login
) -> None:
    me = await login(rooms, "ann")
    for name in ("lobby", "attic"):
        await me.open(name)
        await me.say(name, "hello")
        await me.mark(name)
    assert await me.show("lobby") == ["Lobby", "hello", "1"]
    await me.close()
    assert rooms.terminate() == 0
    before = records(rooms)
    (rooms.directory / "rooms.py").write_text(SECOND)
    rooms.start()
    me = await login(rooms, "bob")
    # A query reads objects of an older shape, with a list in them.
    for name in ("lobby", "attic"):
        assert await me.show(name) == [name.title(), "old", "hello0", "1"]
    shown = me.show.watch("lobby")
    async with asyncio.timeout(20), aclosing(shown):
        assert await anext(shown) == ["Lobby", "old", "hello0", "1"]
        await me.say("lobby", "again")
        assert await anext(shown) == ["Lobby", "old", "hello0", "again1", "1"]
        await me.mark("lobby")
        assert await anext(shown) == ["Lobby", "old", "hello0", "again1", "2"]
    await me.close()
    assert rooms.terminate() == 0
    after = records(rooms)
    changed = {oid for oid, count in after.items() if count != before.get(oid, 0)}
    assert len(changed & before.keys()) == 2, "the lobby, and its log's head"


@pytest.mark.rule("SP7")
async def test_after_a_roll_back_what_is_newer_is_a_clear_error_and_all_else_goes_on(
    rooms: Host, login: Login
) -> None:
    me = await login(rooms, "ann")
    await me.open("lobby")
    await me.open("attic")
    await me.close()
    deploy(rooms, SECOND)
    me = await login(rooms, "bob")
    await me.mark("attic")
    await me.close()
    deploy(rooms, FIRST)
    me = await login(rooms, "carl")
    assert await me.show("lobby") == ["Lobby", "0"]
    await me.mark("lobby")
    for ask in (me.show, me.mark):
        with pytest.raises(RemoteError):
            await ask("attic")
    await me.close()
    assert (
        "a state of rooms:Room is of version 2, and the class is at version 1 here" in rooms.logged
    )
    deploy(rooms, SECOND)
    me = await login(rooms, "dora")
    assert await me.show("attic") == ["Attic", "old", "1"]
    assert await me.show("lobby") == ["Lobby", "old", "1"]
    await me.close()
