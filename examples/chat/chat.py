"""A chat that survives kill -9.      hubbub serve chat:hub --data chat.hub"""

from typing import Annotated

import msgspec

import hubbub
from hubbub import Avatar, Hub, Identity, Persistent, Realm, Root, command, query, view

Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]


class Line(msgspec.Struct, frozen=True):  # a plain value
    author: str
    text: str
    at: float


class Room(Persistent):
    def __init__(self) -> None:
        self.messages: hubbub.Log[Line] = hubbub.Log()  # append-only: cheap at any length
        self.here: hubbub.Presence[bool] = hubbub.Presence()  # in memory, gone with the session

    @view
    def recent(self, limit: Limit = 50) -> list[Line]:  # live, and run once for all who watch
        return self.messages.last(limit)

    @view
    def people(self) -> list[str]:
        return sorted(self.here, key=str.casefold)


class Member(Avatar):  # what one logged-in user may do
    def __init__(self, name: str, room: Room) -> None:
        self.name, self._room = name, room

    def connected(self, session: hubbub.LiveSession) -> None:
        self._room.here[self] = True

    @query
    def room(self) -> Room:  # hands out a reference: its views can be watched
        return self._room

    @command
    def say(self, text: str) -> None:  # a transaction, durable before it answers
        text = text.strip()
        if not text:
            raise hubbub.Refused("empty", "Say something.")
        if len(text) > 2000:
            raise hubbub.Refused("too_long", "That is more than 2,000 characters.")
        self._room.messages.append(Line(self.name, text, hubbub.now()))


class ChatRealm(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        return Member(who.name, root.setdefault("room", Room()))


hub = Hub(ChatRealm(), checkers=[hubbub.Anonymous()], pages="web/")
