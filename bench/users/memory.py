"""What one more session costs the host: resident memory before and after 1,000 of them."""

from __future__ import annotations

import time
from typing import Any

from bench.application import CELLS
from bench.server import Server, hosting, resident_bytes
from bench.users.commands import APPLICATION
from bench.users.raw import Line
from bench.users.reactive import cell
from bench.users.web import Page

SESSIONS = CELLS
WARM = 50


def sessions(_seconds: float) -> dict[str, float]:
    """Sessions over WebSocket and TCP, idle, and then each with a live query of its own; however long it takes."""
    found: dict[str, float] = {}
    for ending, connect in (("", _page), ("-tcp", _line)):
        with hosting(APPLICATION) as server:
            keep = [connect(server, number) for number in range(WARM)]
            for number, member in enumerate(keep):
                _watch(member, number)
            empty = settled(server)
            keep += [connect(server, WARM + number) for number in range(SESSIONS)]
            idle = settled(server)
            found[f"memory-session{ending}"] = (idle - empty) / SESSIONS / 1024
            for number, member in enumerate(keep[WARM:]):
                _watch(member, number)
            live = settled(server)
            found[f"memory-session{ending}-live"] = (live - empty) / SESSIONS / 1024
            for member in keep:
                member.socket.close()
    return found


def settled(server: Server) -> int:
    """Return the resident bytes of a server that has come to rest."""
    time.sleep(0.3)
    return resident_bytes(server.pid)


def _page(server: Server, number: int) -> Any:
    return Page(server.web, f"p{number}")


def _line(server: Server, number: int) -> Any:
    return Line(server.hub, f"l{number}")


def _watch(member: Any, number: int) -> None:
    if isinstance(member, Page):
        member.watch("shown", {}, cell(number))
        member.until("answer")
        member.acknowledge()
        return
    member.watch(1, "shown", target=cell(number))
    member.messages()
    member.acknowledge(late=True)
