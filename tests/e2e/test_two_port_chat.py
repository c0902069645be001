"""The chat on two ports: real sockets, console clients, the Ticker."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.flow_programs import LineClient, ports_in_a_row
from tests.e2e.hosts import EXAMPLES, Hosts, Program, environment

DIRECTORY = EXAMPLES / "two_port_chat"


@pytest.fixture
def port(hosts: Hosts, tmp_path: Path) -> int:
    """The first port of a chat that runs."""
    first = ports_in_a_row(3)
    hosts.run(str(DIRECTORY / "chat.py"), str(first))
    for number in range(3):
        LineClient(first + number).close()
    return first


def heard_by(port: int, *listeners: LineClient) -> None:
    """Talk until all ``listeners`` are known to be subscribed: connecting says nothing of that."""
    with LineClient(port + 1) as talker:
        waiting = list(listeners)
        number = 0
        while waiting:
            number += 1
            talker.say(f"are you there? {number}")
            waiting = [one for one in waiting if one.hears_nothing(0.05)]
        talker.say("now")
    for one in listeners:
        while one.hear() != ["now"]:
            pass


@pytest.mark.rule("FL2")
def test_what_a_talker_says_reaches_all_listeners_and_one_that_leaves_is_not_missed(
    port: int,
) -> None:
    with LineClient(port) as ann, LineClient(port + 1) as talker:
        with LineClient(port) as bob:
            heard_by(port, ann, bob)
            talker.say("hello", "grüezi mitenand")
            assert ann.hear(2) == bob.hear(2) == ["hello", "grüezi mitenand"]
        talker.say("bob is gone")
        assert ann.hear() == ["bob is gone"]


def test_whoever_joins_hears_everybody_but_itself(port: int) -> None:
    with LineClient(port) as ann, LineClient(port + 2) as bob, LineClient(port + 2) as cat:
        heard_by(port, ann, bob, cat)
        bob.say("from bob")
        assert ann.hear() == cat.hear() == ["from bob"]
        cat.say("from cat")
        assert bob.hear() == ["from cat"]


def console(hosts: Hosts, port: int, directory: Path) -> Program:
    return hosts.run(str(DIRECTORY / "console.py"), "127.0.0.1", str(port), directory=directory)


def test_console_clients_talk_and_the_end_of_input_ends_both_halves(
    hosts: Hosts, port: int, tmp_path: Path
) -> None:
    ann, bob = console(hosts, port, tmp_path), console(hosts, port, tmp_path)
    with LineClient(port) as listener:
        heard_by(port, listener)
        number = 0
        while "ping" not in bob.printed or "ping" not in ann.printed:
            number += 1
            ann.type(f"ping {number}\n")
            listener.hear()
        bob.type("so long\n")
        assert bob.process.stdin is not None
        bob.process.stdin.close()
        assert bob.wait() == 0
        while listener.hear() != ["so long"]:
            pass
        ann.until_printed("so long")


def test_a_ticker_shows_what_is_said_and_a_key_ends_it(port: int) -> None:
    here, terminal = os.openpty()
    ticker = subprocess.Popen(
        [sys.executable, str(DIRECTORY / "ticker.py"), "127.0.0.1", str(port)],
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        env=environment(TERM="xterm-256color", COLUMNS="80", LINES="24"),
    )  # fmt: skip
    os.close(terminal)
    try:
        shown = b""
        with LineClient(port + 1) as talker:
            while b"ding" not in shown:  # it says to nobody that it listens
                talker.say("ding")
                if select.select([here], [], [], 0.1)[0]:
                    shown += os.read(here, 10_000)
        os.write(here, b"q")
        while select.select([here], [], [], 20.0)[0] and ticker.poll() is None:
            try:
                os.read(here, 10_000)
            except OSError:  # the terminal's other end is closed
                break
        assert ticker.wait(20) == 0
    finally:
        ticker.kill()
        ticker.wait()
        os.close(here)


def test_ctrl_c_ends_the_server_and_a_second_one_finds_the_ports_free(
    hosts: Hosts, tmp_path: Path
) -> None:
    first = ports_in_a_row(3)
    words = [str(DIRECTORY / "chat.py"), str(first)]
    for _ in range(2):
        server = hosts.run(*words)
        with LineClient(first) as listener:
            heard_by(first, listener)
            server.send(signal.SIGINT)
            assert server.wait() == 0
            assert listener.rest() == []


def test_a_taken_port_is_one_clear_error(hosts: Hosts, port: int, tmp_path: Path) -> None:
    second = hosts.run(str(DIRECTORY / "chat.py"), str(port))
    assert second.wait() != 0
    assert f"{port}" in second.logged
    assert "AddressInUseError" in second.logged
