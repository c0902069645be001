"""Peers in processes of their own, on one SortedMap, one Log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import hubbub
from hubbub import SortedMap
from tests.e2e.hosts import EXAMPLES, Host, Hosts, Program, until

PEER = str(Path(__file__).with_name("peer_program.py"))


class Peer:
    """One peer process, told what to do."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._answers = 0
        self.answer(timeout_s=20)

    def tell(self, command: str) -> None:
        self.program.type(f"{command}\n")

    def answer(self, timeout_s: float = 20) -> str:
        """Return the next line that it prints."""

        def line() -> str | None:
            lines = self.program.printed.split("\n")
            if len(lines) > self._answers + 1:
                return lines[self._answers]
            assert self.program.is_running, self.program.logged
            return None

        found = until(line, f"an answer of the peer ({self.program.logged})", timeout_s)
        assert found is not None
        self._answers += 1
        return found

    def ask(self, command: str) -> str:
        self.tell(command)
        return self.answer()


@pytest.fixture
def bare(hosts: Hosts) -> Host:
    """A bare space, with a map of eight words in it."""

    def begin(root: Any) -> None:
        root["words"] = SortedMap({f"word{n}": "old" for n in range(8)})

    host = hosts.serve(None, hosts.directory)
    with hubbub.open(host.hub) as space:
        space.run(begin)
    return host


def peer(hosts: Hosts, host: Host) -> Peer:
    return Peer(hosts.run(PEER, host.hub))


@pytest.mark.rule("ST4", "SP1")
def test_the_first_to_commit_wins_and_disjoint_keys_merge(hosts: Hosts, bare: Host) -> None:
    one, two = peer(hosts, bare), peer(hosts, bare)
    # Disjoint keys: both get in.
    assert one.ask("set apple 1") == "set"
    assert two.ask("set zebra 2") == "set"
    assert one.ask("commit") == "committed"
    assert two.ask("commit") == "committed"
    for peer_ in (one, two):
        words = json.loads(peer_.ask("look"))
        assert (words["apple"], words["zebra"], len(words)) == ("1", "2", 10)

    # The same key: the second is told, and nothing of its transaction is stored.
    one.ask("set apple first")
    two.ask("set apple second")
    two.ask("set mango second")
    assert one.ask("commit") == "committed"
    refusal = two.ask("commit")
    assert refusal.startswith("conflict object 0x")
    assert "of class" in refusal
    assert "was read at tid" in refusal
    words = json.loads(two.ask("look"))
    assert words["apple"] == "first"
    assert "mango" not in words

    # And again, as the message says: it works.
    two.ask("set apple second")
    assert two.ask("commit") == "committed"
    assert json.loads(one.ask("look"))["apple"] == "second"


@pytest.mark.rule("ST4")
def test_the_retry_loop_loses_nothing_and_a_third_peer_sees_every_commit(
    hosts: Hosts, bare: Host
) -> None:
    each = 150
    one, two, three = (peer(hosts, bare) for _ in range(3))
    three.tell(f"hear {2 * each}")
    assert three.answer() == "listening"
    one.tell(f"add {each}")
    two.tell(f"add {each}")
    tried_again = [int(p.answer(60).removeprefix("added ")) for p in (one, two)]
    assert sum(tried_again) > 0, "they did not meet; the test shows nothing"
    assert json.loads(one.ask("look"))["count"] == 2 * each
    # It got there by being told: the number of its requests has to do with what it read, not with time.
    seen, requests = map(int, three.answer().removeprefix("heard ").split())
    assert 1 < seen <= 2 * each + 1
    assert requests <= 4 * seen + 20


@pytest.mark.rule("ST2")
def test_a_peer_is_told_of_each_commit_and_asks_nothing_meanwhile(bare: Host) -> None:
    with hubbub.open(bare.hub) as listener, hubbub.open(bare.hub) as writer:
        changes = listener.changes()
        next(changes)
        asked = listener.stats.requests
        for number in range(20):
            writer.run(lambda root, n=number: root["words"].__setitem__("n", n))
            change = next(changes)
            assert change.tid >= writer.tid
            assert change.oids
        assert listener.stats.requests == asked
        assert listener.read(lambda root: root["words"]["n"]) == 19


def chatter(hosts: Hosts, host: Host, file: str) -> Program:
    return hosts.run(str(EXAMPLES / "chatter" / file), host.hub)


@pytest.mark.rule("SP4")
def test_what_one_chatter_types_all_print_once(hosts: Hosts) -> None:
    host = hosts.serve(None, hosts.directory)
    one, two = chatter(hosts, host, "chatter.py"), chatter(hosts, host, "chatter.py")
    one.type("hello\n")
    two.until_printed("hello\n")
    one.until_printed("hello\n")
    two.type("hello yourself\n")
    for program in (one, two):
        program.until_printed("hello yourself\n")
    # Who comes later reads all of it; each has a position of its own.
    three = chatter(hosts, host, "chatter.py")
    three.until_printed("hello\nhello yourself\n")
    three.type("three\n")
    for program in (one, two, three):
        program.until_printed("three\n")
        assert program.printed == "hello\nhello yourself\nthree\n"


@pytest.mark.rule("ST4")
def test_a_log_read_from_a_position_skips_nothing(hosts: Hosts) -> None:
    host = hosts.serve(None, hosts.directory)
    talkers = [chatter(hosts, host, "chatter_log.py") for _ in range(3)]
    lines = [[f"{n} says {i}" for i in range(60)] for n in range(3)]
    for talker, said in zip(talkers, lines, strict=True):
        talker.type("\n".join(said) + "\n")
    everything = sorted(line for said in lines for line in said)
    for talker in talkers:
        until(
            lambda t=talker: len(t.printed.splitlines()) == len(everything),  # type: ignore[misc]
            f"all lines ({talker.logged})",
            30,
        )
        assert sorted(talker.printed.splitlines()) == everything
    assert talkers[0].printed == talkers[1].printed == talkers[2].printed
    # Each one's own lines are in the order in which they were typed.
    for n, said in enumerate(lines):
        own = [line for line in talkers[0].printed.splitlines() if line.startswith(f"{n} ")]
        assert own == said


@pytest.mark.rule("ST2")
def test_chatters_go_on_when_the_host_was_killed(hosts: Hosts) -> None:
    host = hosts.serve(None, hosts.directory)
    one, two = chatter(hosts, host, "chatter.py"), chatter(hosts, host, "chatter.py")
    one.type("before\n")
    two.until_printed("before\n")
    host.kill()
    host.start()
    two.type("after\n")
    for program in (one, two):
        program.until_printed("after\n", 20)
        assert program.printed == "before\nafter\n"
