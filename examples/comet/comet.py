"""Comet chat: ten messages wait for each, polls last ten seconds, who is too slow is dropped and told so.

hubbub serve comet:hub --data memory:
curl -d '{"text":"hi"}' :8000/api/say   and   curl ':8000/api/lines?wait=10'   work without our client.
"""

import os
from collections.abc import AsyncIterator

import hubbub
from hubbub import Anonymous, Avatar, Gateway, Hub, Identity, Realm, Root, command, stream

POLL_S = float(os.environ.get("COMET_POLL_S", "10"))


class Chatter(Avatar):
    def __init__(self, name: str) -> None:
        self.name = name

    @command
    def say(self, text: str) -> None:  # stores nothing: no fsync, but in order behind those who do
        hubbub.publish("chat", f"{self.name}: {text}")

    @stream(items=10, when_full="disconnect")
    def lines(self) -> AsyncIterator[str]:
        return hubbub.subscribe("chat")


class ChatRealm(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        return Chatter(who.name)


hub = Hub(
    ChatRealm(),
    checkers=[Anonymous()],
    pages="web/",
    gateway=Gateway(transports=["poll"], poll_s=POLL_S),
)
