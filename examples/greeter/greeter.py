"""Greeter: one stored avatar for each user, and one session at most. It counts its greetings for ever.

hubbub user add ann --data greeter.hub
hubbub serve greeter:hub --data greeter.hub
hubbub call greet --name ann --password
"""

from __future__ import annotations

from hubbub import Avatar, Hub, Identity, Map, Passwords, Persistent, Realm, Root, command


class Greeter(Avatar, Persistent):  # stored: the same one, whatever connection its user comes by
    max_sessions = 1  # a second one is refused; on_limit = "replace" would take over

    def __init__(self, name: str) -> None:
        self.name = name
        self.greetings = 0

    @command
    def greet(self) -> str:
        self.greetings += 1
        return f"<{self.greetings}>hello {self.name}"


class GreeterRealm(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        avatars: Map[str, Greeter] = root.setdefault("avatars", Map())
        if who.id not in avatars:
            avatars[who.id] = Greeter(who.name)
        return avatars[who.id]


hub = Hub(GreeterRealm(), checkers=[Passwords()])
