"""Chatter: several processes share one object that holds messages; no line here deals with the network.

hubbub serve --data chatter.hub      in one terminal
python chatter.py                    in as many others as you like: what one types, all print
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time

import hubbub
from hubbub import ClosedError, ConflictError, Persistent, Root, SortedMap

URL = "hub://127.0.0.1:1975"
PAUSE_S = 0.2


class ChatSession(Persistent):
    """Messages by time, and where this process has read up to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._messages: SortedMap[str, str] = SortedMap()

    def add_message(self, text: str) -> None:
        # A time with a tie-break: two messages of one moment do not overwrite each other.
        self._messages[hubbub.unique()] = text

    def new_messages(self) -> list[str]:
        """Return what has come since the last call in this connection."""
        # Volatile: never stored, so that each process has a position of its own.
        last = getattr(self, "_v_last_time", None)
        new = list(self._messages.items(after=last))
        if new:
            self._v_last_time = new[-1][0]
        return [text for _, text in new]


def begin(root: Root) -> None:
    root.setdefault("chat", ChatSession("chat"))


def say(space: hubbub.Space, text: str) -> None:
    """Add a message. Whoever commits first wins; we pause a little and try again."""
    while True:
        try:
            with space.transaction() as root:
                root["chat"].add_message(text)
        except ConflictError:
            time.sleep(PAUSE_S)
        else:
            return


def listen(space: hubbub.Space) -> None:
    """Print what is new, now and after every commit of anybody, until the space is closed."""
    with contextlib.suppress(ClosedError), space.connect() as connection:
        for _ in space.changes():  # waits; nobody asks again and again
            connection.sync()
            for text in connection.root["chat"].new_messages():
                print(text, flush=True)


def main(url: str = URL) -> None:
    with hubbub.open(url) as space:
        space.run(begin)
        threading.Thread(target=listen, args=(space,), daemon=True).start()
        for line in sys.stdin:
            say(space, line.rstrip("\n"))


if __name__ == "__main__":
    main(*sys.argv[1:])
