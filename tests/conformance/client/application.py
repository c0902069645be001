"""A small chat, for what is tested over real sockets."""

from __future__ import annotations

import msgspec

import hubbub
from hubbub import (
    Anonymous,
    Avatar,
    Hub,
    Log,
    Map,
    Mind,
    Persistent,
    Realm,
    Refused,
    action,
    command,
    query,
    stream,
    view,
)


class Line(msgspec.Struct, frozen=True):
    author: str
    text: str


class Room(Persistent):
    def __init__(self) -> None:
        self.messages: Log[Line] = Log()
        self.marks: Map[str, int] = Map()

    @view
    def recent(self, limit: int = 50) -> list[Line]:
        return self.messages.last(limit)

    @view
    def all_marks(self) -> Map[str, int]:
        return self.marks

    @command
    def mark(self, who: Member, key: str, value: int) -> None:
        self.marks[key] = value

    @command
    def unmark(self, who: Member, key: str) -> None:
        del self.marks[key]


class Member(Avatar):
    def __init__(self, name: str, room: Room) -> None:
        self.name, self._room = name, room

    @query
    def room(self) -> Room:
        return self._room

    @command
    def say(self, text: str) -> int:
        if not text:
            raise Refused("empty", "Say something.")
        self._room.messages.append(Line(self.name, text))
        hubbub.publish("said", text)
        self.minds.heard(text)
        return len(self._room.messages)

    @stream()
    def said(self):
        return hubbub.subscribe("said")

    @action()
    async def ask(self, number: int) -> list[int]:
        return [await mind.call("double", number) for mind in self.minds]


class Chat(Realm):
    def request_avatar(self, root, who):
        return Member(who.name, root.setdefault("room", Room()))


class Me(Mind):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def heard(self, text: str) -> None:
        self.calls.append(text)

    def double(self, number: int) -> int:
        return number * 2


def make_hub() -> Hub:
    return Hub(Chat(), checkers=[Anonymous()])
