"""A remote clock: the host calls its users, as often as each of them likes.

hubbub serve clock:hub --data memory:
python clock.py [period in seconds]      Ctrl-C logs out, and the host's timer is gone with the session
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Annotated

from msgspec import Meta

import hubbub.sync
from hubbub import Anonymous, Avatar, Hub, Identity, LiveSession, Mind, Realm, Root, command

URL = "hub://127.0.0.1:1975"

Seconds = Annotated[float, Meta(ge=0.05, le=3600)]


class ClockUser(Avatar):  # in memory, and gone with its last session
    def connected(self, session: LiveSession) -> None:
        self.timer = session.every(1.0, self.tell)  # ends with the session

    def tell(self) -> None:
        self.minds.notify_time(hubbub.now())  # to all who have a mind; the others lose nothing

    @command
    def set_period(self, period: Seconds) -> None:
        self.timer.period = period


class ClockRealm(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        return ClockUser()


hub = Hub(ClockRealm(), checkers=[Anonymous()])


class Me(Mind):  # the user's side: the host can call these methods and nothing else
    def notify_time(self, t: float) -> None:
        print(time.strftime("%H:%M:%S", time.localtime(t)), f"{t % 1:.3f}"[1:], sep="", flush=True)


def main(period: str = "1", url: str = URL) -> None:
    with contextlib.suppress(KeyboardInterrupt), hubbub.sync.login(url, mind=Me()) as me:
        me.set_period(float(period))
        me.wait_closed()


if __name__ == "__main__":
    main(*sys.argv[1:])
