"""Whiteboard nodes: client, server or both; in a ring each stroke comes once."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.e2e.flow_programs import LineClient, ports_in_a_row
from tests.e2e.hosts import EXAMPLES, Hosts, Program, until

NODE = EXAMPLES / "whiteboard_node" / "node.py"


def node(hosts: Hosts, directory: Path, *words: str) -> Program:
    return hosts.run(str(NODE), *words, directory=directory)


def ring_of_three(hosts: Hosts, directory: Path) -> tuple[list[Program], int]:
    first = ports_in_a_row(3)
    programs = []
    for number, name in enumerate(("ann", "bob", "cat")):
        to = first + (number + 1) % 3
        programs.append(
            node(hosts, directory, name, "--serve", str(first + number), "--join", str(to))
        )
    for number in range(3):
        LineClient(first + number).close()
    return programs, first


def joined(programs: list[Program]) -> None:
    """Draw until every node has seen a stroke of every other: only then is the ring closed."""
    for number, drawer in enumerate(programs):
        name = ("ann", "bob", "cat")[number]

        def all_have_seen(drawer: Program = drawer, name: str = name) -> bool:
            drawer.type("0 0 0 0\n")
            return all(f"{name} drew 0,0" in program.printed for program in programs)

        until(all_have_seen, f"what {name} draws in all three", 30.0)


def has_twice(program: Program, text: str) -> bool:
    return program.printed.count(text) >= 2


def test_in_a_ring_of_three_each_stroke_comes_to_everybody_once(
    hosts: Hosts, tmp_path: Path
) -> None:
    programs, _ = ring_of_three(hosts, tmp_path)
    joined(programs)
    for number, program in enumerate(programs):
        for stroke in range(20):
            program.type(f"{10 + number} {stroke % 14} 40 {stroke % 14}\n")
    last = [f"drew {10 + number},5 - 40,5" for number in range(3)]
    for program in programs:
        for number, text in enumerate(last):
            # stroke 5 and stroke 19 both end on line 5
            until(partial(has_twice, program, text), f"{text} twice", 20.0)
            assert program.printed.count(text) == 2, number
    for number, name in enumerate(("ann", "bob", "cat")):
        for other in programs:
            lines = [
                line for line in other.printed.splitlines() if f"{name} drew {10 + number}," in line
            ]
            assert len(lines) == 20, (name, lines)


def test_the_board_shows_what_all_have_drawn(hosts: Hosts, tmp_path: Path) -> None:
    programs, _ = ring_of_three(hosts, tmp_path)
    joined(programs)
    ann, bob, _ = programs
    ann.type("2 3 6 3\n")
    bob.until_printed("ann drew 2,3")
    bob.type("2 4 6 4\n")
    ann.until_printed("bob drew 2,4")
    ann.type("show\n")
    ann.until_printed(r"\|  aaaaa +\|")
    ann.until_printed(r"\|  bbbbb +\|")


def test_the_end_of_input_ends_a_node_and_the_others_go_on(hosts: Hosts, tmp_path: Path) -> None:
    programs, _ = ring_of_three(hosts, tmp_path)
    joined(programs)
    ann, bob, cat = programs
    assert ann.process.stdin is not None
    ann.process.stdin.close()
    assert ann.wait() == 0
    bob.type("7 7 9 9\n")
    cat.until_printed("bob drew 7,7 - 9,9", 20.0)


def test_what_is_no_stroke_is_told(hosts: Hosts, tmp_path: Path) -> None:
    alone = node(hosts, tmp_path, "ann", "--serve", str(ports_in_a_row(1)))
    alone.type("hello\n")
    alone.until_printed(r"\? hello: type four numbers, or show")


def test_what_is_no_stroke_harms_nobody(hosts: Hosts, tmp_path: Path) -> None:
    port = ports_in_a_row(1)
    program = node(hosts, tmp_path, "ann", "--serve", str(port))
    # Each on a connection of its own: a node that takes one of them wrongly may end it.
    for line in (
        "",
        "x",
        "hello there",
        "x-1 x 0 0 a b",
        "x-2 x 0 0 \u00b2 1",
        "x-3 x 0 0 99999 1",
    ):
        with LineClient(port) as talker:
            talker.say(line)
    with LineClient(port) as talker:
        talker.say("x-4 x 1 1 2 2")
        until(lambda: "x drew 1,1 - 2,2" in program.printed, "the stroke", 20.0)
    assert "99999" not in program.printed
