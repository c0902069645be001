"""The notification system: machine A with a serial port, machine B, clients; in processes of their own."""

from __future__ import annotations

import os
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.flow_programs import LineClient, ports_in_a_row
from tests.e2e.hosts import EXAMPLES, Hosts, Program, until

DIRECTORY = EXAMPLES / "notification"


class Wire:
    """The far end of a serial port: what is written here, machine A reads."""

    def __init__(self) -> None:
        self._here, self._there = os.openpty()
        tty.setraw(self._there)
        self.device = os.ttyname(self._there)

    def say(self, *lines: str) -> None:
        os.write(self._here, "".join(f"{line}\r\n" for line in lines).encode())

    def close(self) -> None:
        os.close(self._here)
        os.close(self._there)


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


class System:
    """Both machines, and a client for each priority."""

    def __init__(self, hosts: Hosts, directory: Path, device: str) -> None:
        self._hosts = hosts
        self._directory = directory
        self.port = ports_in_a_row(4)
        self.b = self.start_b()
        self.a = self._run("machine_a.py", device, "127.0.0.1", str(self.port))
        self.clients = [
            self._run("client.py", "127.0.0.1", str(self.port + 1 + number)) for number in range(3)
        ]

    def start_b(self) -> Program:
        self.b = self._run("machine_b.py", str(self.port), str(self.port + 1))
        for number in range(1, 4):
            LineClient(self.port + number).close()
        return self.b

    def _run(self, name: str, *words: str) -> Program:
        return self._hosts.run(str(DIRECTORY / name), *words, directory=self._directory)

    @property
    def programs(self) -> list[Program]:
        return [self.a, self.b, *self.clients]

    def until_subscribed(self, wire: Wire) -> None:
        """Cause events until each client has heard one: only then is it known to be there."""

        def all_have_heard() -> bool:
            wire.say("!door test", "!heat test", "!fire test")
            return all("test" in client.printed for client in self.clients)

        until(all_have_heard, "a notification at each client", 30.0)


@pytest.fixture
def system(hosts: Hosts, tmp_path: Path, wire: Wire) -> System:
    return System(hosts, tmp_path, wire.device)


@pytest.mark.timeout(100)
@pytest.mark.rule("FL2", "FL4")
def test_each_client_gets_its_priority_and_errors_go_aside(system: System, wire: Wire) -> None:
    system.until_subscribed(wire)
    wire.say("no event", "!door hall 3", "!heat oven", "garbage", "!fire hall 3", "!what is this")
    normal, important, critical = system.clients
    normal.until_printed(r"A door was opened: hall 3\n")
    important.until_printed(r"It is too hot: oven\n")
    critical.until_printed(r"FIRE hall 3\n")
    system.b.until_printed(r"what is this\n")
    for client in system.clients:
        rest = [line for line in client.printed.splitlines() if "test" not in line]
        assert len(rest) == 1, rest
    assert "no event" not in system.b.printed
    for program in system.programs:
        assert program.terminate() == 0, program.logged


@pytest.mark.timeout(100)
def test_b_is_killed_and_no_event_is_lost(system: System, wire: Wire) -> None:
    system.until_subscribed(wire)
    wire.say(*(f"!odd {number}." for number in range(20)))
    system.b.until_printed(r"odd 7\.")
    system.b.kill()
    first = system.b.printed
    wire.say(*(f"!odd {number}." for number in range(20, 40)))
    system.start_b()
    system.b.until_printed(r"odd 39\.", 30.0)
    heard = first + system.b.printed
    missing = [number for number in range(40) if f"odd {number}." not in heard]
    assert missing == []

    # The clients come back by themselves.
    def is_heard_again() -> bool:
        wire.say("!fire again")
        return "FIRE again" in system.clients[2].printed

    until(
        is_heard_again,
        "a notification after the restart",
        40.0,
    )


@pytest.mark.timeout(100)
def test_a_client_that_leaves_is_not_missed(system: System, wire: Wire) -> None:
    system.until_subscribed(wire)
    with LineClient(system.port + 3) as other:

        def is_heard() -> bool:
            wire.say("!fire other")
            return not other.hears_nothing(0.05)

        until(
            is_heard,
            "a notification",
            20.0,
        )
    system.clients[0].kill()
    wire.say("!door gone", "!fire last")
    system.clients[2].until_printed(r"FIRE last\n")
