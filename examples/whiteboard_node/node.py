"""A whiteboard node: client, server or both. Nodes may be joined to chains, stars and rings.

    python node.py ann --serve 1700
    python node.py bob --serve 1701 --join 1700
    python node.py cat --join 1701 --join 1700         a ring: each stroke still comes once

Type four numbers, `x y x y`, to draw a line; type `show` to see the board. Ctrl-D leaves.
"""

import argparse
import itertools
import re

from hubbub.flow import (
    Backplane,
    Component,
    ConsoleEchoer,
    ConsoleReader,
    Duplex,
    Graphline,
    Join,
    Pipeline,
    SimpleServer,
    TCPClient,
    run,
)

WIDTH, HEIGHT = 48, 14


def are_numbers(words: list[str]) -> bool:
    """Whether ``words`` can be the numbers of a stroke."""
    return len(words) == 4 and all(
        word.isascii() and word.isdecimal() and len(word) <= 3 for word in words
    )


def stroke(line: str) -> str | None:
    """Return what another node sent if it is a stroke, else nothing: who is out there, nobody knows."""
    return line if are_numbers(line.split()[2:]) else None


class Pen(Component):
    """Make strokes of what is typed. A stroke is a line of text: its id, who drew it, and four numbers."""

    outboxes = {
        "outbox": "strokes",
        "asked": "the board is to be shown",
        "wrong": "what is no stroke",
    }

    def __init__(self, name: str) -> None:
        self.name = name
        self.numbers = itertools.count(1)

    async def main(self) -> None:
        async for line in self.inbox:
            words = line.split()
            if words == ["show"]:
                await self.send("show", "asked")
            elif are_numbers(words):
                await self.send(f"{self.name}-{next(self.numbers)} {self.name} {' '.join(words)}")
            elif words:
                await self.send(f"? {line}: type four numbers, or show", "wrong")


class Canvas(Component):
    """Draw strokes, and show the board when asked."""

    inboxes = {"inbox": "strokes", "asked": "when to show the board"}
    outboxes = {"outbox": "lines to print"}

    def __init__(self) -> None:
        self.rows = [[" "] * WIDTH for _ in range(HEIGHT)]

    async def main(self) -> None:
        while True:
            inbox, item = await self.receive()
            if inbox == "asked":
                await self.send("\n".join(f"|{''.join(row)}|" for row in self.rows))
                continue
            _, name, *numbers = item.split()
            x1, y1, x2, y2 = map(int, numbers)
            self.draw(name[0], x1, y1, x2, y2)
            await self.send(f"{name} drew {x1},{y1} - {x2},{y2}")

    def draw(self, letter: str, x1: int, y1: int, x2: int, y2: int) -> None:
        steps = max(abs(x2 - x1), abs(y2 - y1), 1)
        for step in range(steps + 1):
            x, y = round(x1 + (x2 - x1) * step / steps), round(y1 + (y2 - y1) * step / steps)
            if x < WIDTH and y < HEIGHT:
                self.rows[y][x] = letter


def screen(name: str) -> Graphline:
    """What one sees and types: own strokes go out and are drawn, those of others come in and are drawn."""
    return Graphline(
        keys=ConsoleReader(f"{name}> "),
        pen=Pen(name),
        canvas=Canvas(),
        show=ConsoleEchoer(),
        linkages=[
            "keys -> pen -> self.outbox",
            "pen -> canvas -> show",
            "pen.asked -> canvas.asked",
            "pen.wrong -> show",
            "self.inbox -> canvas",
        ],
        name="screen",
    )


def name_of(text: str) -> str:
    """Return who draws: one word, since a stroke is words."""
    if not re.fullmatch(r"[\w-]+", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name: letters, digits, - and _ can be in one"
        )
    return text


def node(name: str, serve: int | None = None, join: list[int] | None = None) -> None:
    # Each node passes a stroke on once, whichever way it comes: that is what ends its way round a ring.
    board = Backplane("board", unique_by=lambda drawn: drawn.split()[0])
    parts: list[Component] = [Duplex(screen(name), Join("board"))]
    if serve:
        parts.append(SimpleServer(lambda: Pipeline(stroke, Join("board")), serve))
    parts += [Duplex(Join("board"), TCPClient("127.0.0.1", port) | stroke) for port in join or ()]
    run(board, *parts, until="first")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A whiteboard node: client, server or both.")
    parser.add_argument("name", type=name_of, help="who draws")
    parser.add_argument("--serve", type=int, metavar="PORT", help="let others join here")
    parser.add_argument(
        "--join", type=int, action="append", metavar="PORT", help="join another node"
    )
    options = parser.parse_args()
    node(options.name, options.serve, options.join)
