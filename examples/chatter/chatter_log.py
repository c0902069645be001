"""What chatter should be: a Log, read from a position. No clock decides the order, so nothing is ever skipped.

hubbub serve --data chatter.hub
python chatter_log.py
"""

from __future__ import annotations

import contextlib
import sys
import threading

import hubbub
from hubbub import ClosedError, Log, Root

URL = "hub://127.0.0.1:1975"


def say(root: Root, text: str) -> None:
    log: Log[str] = root.setdefault("log", Log())
    log.append(text)  # appends of several processes never conflict


def since(root: Root, position: int) -> tuple[list[str], int]:
    """Return what came after ``position``, and the new position."""
    log: Log[str] | None = root.get("log")
    return log.since(position) if log is not None else ([], 0)


def listen(space: hubbub.Space) -> None:
    position = 0
    with contextlib.suppress(ClosedError):
        for _ in space.changes():  # 'now' at once, then each commit
            lines, position = space.read(since, position)
            for line in lines:
                print(line, flush=True)


def main(url: str = URL) -> None:
    with hubbub.open(url) as space:
        threading.Thread(target=listen, args=(space,), daemon=True).start()
        for line in sys.stdin:
            space.run(say, line.rstrip("\n"))  # tried again by itself where it has to be


if __name__ == "__main__":
    main(*sys.argv[1:])
