"""Machine B of the notification system: looks each event up, and notifies everybody who has subscribed to its priority.

python machine_b.py [PORT [FIRST_CLIENT_PORT]]       events come in on 1500; clients connect to 1600, 1601 and 1602

What can't be classified is printed.
"""

import sqlite3
import sys
from pathlib import Path

from hubbub.flow import (
    Backplane,
    ConsoleEchoer,
    Graphline,
    PublishTo,
    SimpleServer,
    SingleServer,
    SubscribeTo,
    ThreadedComponent,
    run,
)

KINDS = ("normal", "important", "critical")
DATABASE = Path("events.db")


class EventFilter(ThreadedComponent):
    """Looks events up in a database. That blocks, so it has a thread."""

    outboxes = {**{kind: f"{kind} events" for kind in KINDS}, "error": "what can't be classified"}

    def main(self) -> None:
        db = sqlite3.connect(DATABASE)
        try:
            for event in self.inbox:  # ends when the producer has finished and all is read
                code, _, rest = event.partition(" ")
                row = db.execute("select kind, text from kinds where code = ?", (code,)).fetchone()
                kind, text = row or ("error", event)
                self.send(
                    f"{text} {rest}".strip() if row else event, kind if kind in KINDS else "error"
                )
        finally:
            db.close()


def make_database() -> None:
    """Make the table of kinds, if there is none yet."""
    db = sqlite3.connect(DATABASE)
    with db:
        db.execute("create table if not exists kinds (code text primary key, kind text, text text)")
        db.executemany(
            "insert or ignore into kinds values (?, ?, ?)",
            [
                ("door", "normal", "A door was opened:"),
                ("heat", "important", "It is too hot:"),
                ("fire", "critical", "FIRE"),
            ],
        )
    db.close()


def demux(port: int = 1500) -> Graphline:
    """From the events that machine A sends to a backplane for each priority."""
    return Graphline(
        events=SingleServer(port, acked=True),
        filter=EventFilter(),
        errors=ConsoleEchoer(),
        **{kind: PublishTo(kind) for kind in KINDS},
        linkages=[
            "events -> filter",
            "filter.error -> errors",
            *(f"filter.{kind} -> {kind}" for kind in KINDS),
        ],
        name="demux",
    )  # events.inbox and errors.outbox stay loose: stock parts declare boxes that may


def notify(port: int = 1500, first_client_port: int = 1600) -> None:
    make_database()
    run(
        *(Backplane(kind) for kind in KINDS),
        demux(port),
        *(
            SimpleServer(
                lambda kind=kind: SubscribeTo(kind, items=100, when_full="disconnect"),
                first_client_port + number,
            )
            for number, kind in enumerate(KINDS)
        ),
    )


if __name__ == "__main__":
    notify(*map(int, sys.argv[1:]))
