"""A hub for the tests of faults: what goes wrong in it goes wrong on purpose."""

from __future__ import annotations

import time

import hubbub
from hubbub import (
    Anonymous,
    Avatar,
    Hub,
    Identity,
    Log,
    Passwords,
    Persistent,
    Realm,
    Root,
    command,
    query,
    view,
)


class Desk(Persistent):
    def __init__(self) -> None:
        self.notes: Log[str] = Log()

    @view
    def recent(self, limit: int = 100) -> list[str]:
        return self.notes.last(limit)


class Clerk(Avatar):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @query
    def desk(self) -> Desk:
        return self._desk

    @query
    def count(self) -> int:
        return len(self._desk.notes)

    @command
    def add(self, text: str, copies: int = 1) -> int:
        for _ in range(copies):
            self._desk.notes.append(text)
        return len(self._desk.notes)

    @command
    def hold(self, seconds: float) -> str:
        time.sleep(seconds)
        self._desk.notes.append(f"held {seconds}")
        return "done"

    @command
    def fail(self) -> None:
        self._desk.notes.append("never stored")
        raise ValueError("the combination of the safe is 1234")

    def hidden(self) -> str:
        return "not declared"


class DeskRealm(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        return Clerk(root.setdefault("desk", Desk()))


hub = Hub(
    DeskRealm(),
    checkers=[Passwords(), Anonymous()],
    limits=hubbub.Limits(max_message_bytes=100_000),
)
