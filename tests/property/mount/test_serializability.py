"""Random histories of peers over sockets and of commands between them, and a search for what no order explains (SP6).

Each history is made from a seed by one thread that lets one of several peers do its next step: so the transactions
overlap in a way that comes back with the seed. Some answers are lost on the way, so that their outcome is unknown.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import hubbub
from hubbub.kernel import BrokenError, ConflictError, OutcomeUnknownError, ReservedError
from hubbub.mount import RemoteMount, Space
from hubbub.space.containers import SortedMap
from hubbub.space.persistent import Persistent
from hubbub.store import MemoryStore
from tests.conformance.mount.serving import HostThread
from tests.faults.mount.proxy import Proxy
from tests.property.mount.histories import Anomaly, Done, check, is_cell, replay

CELLS = ("cell0", "cell1", "cell2")
SETS = ("set0", "set1")
PLACES = (*CELLS, *SETS)
SEEDS = range(40)
SEEDS_WITH_LOST_ANSWERS = (101, 103, 104)
SKEWED = range(12)


class Cell(Persistent, name="tests.serializability.Cell"):
    def __init__(self) -> None:
        self.values: tuple[str, ...] = ()


def fill(root: Any) -> None:
    for cell in CELLS:
        root[cell] = Cell()
    for name in SETS:
        root[name] = SortedMap()


def look(root: Any, place: str) -> tuple[str, ...]:
    return root[place].values if is_cell(place) else tuple(root[place])


def add(root: Any, place: str, value: str) -> None:
    if is_cell(place):
        root[place].values += (value,)
    else:
        root[place][value] = None


class Peer:
    """One peer, in the middle of a transaction or not."""

    def __init__(self, url: str, *, serializable: bool) -> None:
        self.proxy = Proxy(int(url.rpartition(":")[2]))
        self.mount = RemoteMount(self.proxy.url, wait_timeout_s=0.3)
        self.space = Space(self.mount)
        self.connection = self.space.connect(serializable=serializable)
        self.done: Done | None = None
        self.left = 0

    def find_host_again(self) -> None:
        self.proxy.flow()
        self.proxy.cut()
        for _ in range(50):
            try:
                self.mount.sync()
                return
            except BrokenError:
                continue  # it dials again, less often the longer it was in vain
        raise AssertionError("the peer does not find its host again")

    def close(self) -> None:
        self.space.close()
        self.proxy.close()


class World:
    def __init__(self, seed: int, *, serializable: bool, loses: bool) -> None:
        self.random = random.Random(seed)
        self.loses = loses
        self.server = HostThread(MemoryStore())
        self.server.command(fill)
        self.peers = [Peer(self.server.url, serializable=serializable) for _ in range(4)]
        self.history: list[Done] = []
        self.clock = 0

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
        self.server.close()

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    def new(self, kind: str) -> Done:
        done = Done(f"{kind}{len(self.history)}", kind, asked=self.tick())
        self.history.append(done)
        return done

    # --- steps ---

    def step(self) -> None:
        peer = self.random.choice([*self.peers, None])
        if peer is None:
            self.command()
        elif peer.done is None:
            peer.connection.sync()
            peer.done, peer.left = self.new("peer"), self.random.randint(1, 4)
        elif peer.left:
            peer.left -= 1
            self.touch(peer.connection.root, peer.done)
        else:
            self.end(peer, peer.done)
            peer.done = None

    def touch(self, root: Any, done: Done) -> None:
        """Look at a place or add something to one, at random."""
        place = self.random.choice(PLACES)
        if self.random.random() < 0.55:
            own = {value for _, value in done.added}
            seen = tuple(value for value in look(root, place) if value not in own)
            if place in done.seen and done.seen[place] != seen:
                raise Anomaly(f"{done.name} saw {place} change")  # SP1
            done.seen[place] = seen
        else:
            value = f"{self.random.randrange(100):02}/{done.name}/{len(done.added)}"
            add(root, place, value)
            done.added.append((place, value))

    def command(self) -> None:
        done = self.new("command")
        steps = self.random.randint(1, 3)

        def body(root: Any) -> None:
            hubbub.note(done.name)
            for _ in range(steps):
                self.touch(root, done)

        self.server.command(body)
        done.outcome = "stored" if done.added else "read"
        done.answered = self.tick()

    def end(self, peer: Peer, done: Done) -> None:
        if self.random.random() < 0.1:
            peer.connection.abort()
            done.outcome = "failed"
            return
        is_first = not any(d.outcome == "unknown" for d in self.history[:-1] if d.answered)
        lost = self.loses and bool(done.added) and (is_first or self.random.random() < 0.2)
        if lost:
            self.lose(peer, is_first or self.random.random() < 0.8)
        try:
            peer.connection.commit(done.name)
            done.outcome = "stored" if done.added else "read"
        except (ConflictError, ReservedError):
            done.outcome = "failed"
        except OutcomeUnknownError:
            done.outcome = "unknown"
        except BrokenError:
            done.outcome = "failed"
        finally:
            if lost:
                self.server.call(self.server.host.remove_listener, self.swallow)
                peer.find_host_again()
        done.answered = self.tick()

    def lose(self, peer: Peer, behind: bool) -> None:
        """Let the network swallow the next commit of ``peer``, or its answer."""
        is_due = threading.Event()

        def swallow(_commits: Any) -> None:
            if behind and not is_due.is_set():
                is_due.set()
                peer.proxy.stall()
                peer.proxy.cut()

        self.swallow = swallow
        self.server.call(self.server.host.on_settled, swallow)
        if not behind:
            peer.proxy.stall()
            peer.proxy.cut()

    # --- the end ---

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
        for peer in self.peers:
            if peer.done is not None:
                self.end(peer, peer.done)
        self.final = self.server.command(lambda root: {p: look(root, p) for p in PLACES})
        with Space(RemoteMount(self.server.url)) as space:
            tids = {entry.label.note: entry.tid for entry in space.transactions()}
        for done in self.history:
            done.tid = tids.get(done.name, 0)


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    made: list[World] = []
    yield made
    for world in made:
        world.close()


@pytest.mark.rule("SP6")
@pytest.mark.parametrize("seed", SEEDS)
def test_serializable_transactions_and_commands_have_a_serial_order(
    worlds: list[World], seed: int
) -> None:
    world = World(seed, serializable=True, loses=False)
    worlds.append(world)
    world.run(120)
    check(world.history, world.final)
    replay(world.history, world.final, {"peer", "command"})
    outcomes = {done.outcome for done in world.history}
    assert {"stored", "failed"} <= outcomes


@pytest.mark.rule("SP6")
@pytest.mark.parametrize("seed", SEEDS_WITH_LOST_ANSWERS)
def test_so_they_have_where_answers_are_lost(worlds: list[World], seed: int) -> None:
    world = World(seed, serializable=True, loses=True)
    worlds.append(world)
    world.run(100)
    check(world.history, world.final)
    replay(world.history, world.final, {"peer", "command"})
    assert any(done.outcome == "unknown" and done.tid for done in world.history)


@pytest.mark.rule("SP6")
def test_without_it_the_search_finds_what_no_order_explains(worlds: list[World]) -> None:
    """Snapshot isolation lets two transactions each rely on what the other changes; commands never do."""
    found = 0
    for seed in SKEWED:
        world = World(seed, serializable=False, loses=False)
        worlds.append(world)
        world.run(120)
        replay(world.history, world.final, {"command"})
        try:
            check(world.history, world.final)
        except Anomaly:
            found += 1
    assert found


# --- the search itself ------------------------------------------------------------------------------------------------


def stored(
    name: str, seen: dict[str, tuple[str, ...]], *added: tuple[str, str], **more: Any
) -> Done:
    return Done(name, outcome="stored", seen=seen, added=list(added), **more)


def test_the_search_finds_a_write_skew() -> None:
    one = stored("one", {"cell0": (), "cell1": ()}, ("cell0", "a"))
    two = stored("two", {"cell0": (), "cell1": ()}, ("cell1", "b"))
    with pytest.raises(Anomaly, match="no serial order"):
        check([one, two], {"cell0": ("a",), "cell1": ("b",)})
    two.seen["cell0"] = ("a",)
    check([one, two], {"cell0": ("a",), "cell1": ("b",)})


def test_the_search_finds_a_phantom() -> None:
    one = stored("one", {"set0": ()}, ("set0", "a"))
    two = stored("two", {"set0": ()}, ("set0", "b"))
    with pytest.raises(Anomaly, match="no serial order"):
        check([one, two], {"set0": ("a", "b")})


@pytest.mark.parametrize(
    "history, final, what",
    [
        ([stored("one", {}, ("cell0", "a"))], {}, "acknowledged and is not there"),
        ([Done("one", outcome="failed", added=[("cell0", "a")])], {"cell0": ("a",)}, "failed, and"),
        ([Done("one", added=[("cell0", "a"), ("cell1", "b")])], {"cell0": ("a",)}, "only a part"),
        ([], {"cell0": ("a",)}, "nobody wrote it"),
        (
            [
                stored("one", {}, ("cell0", "a")),
                Done("two", outcome="read", seen={"cell0": ("b",)}),
            ],
            {"cell0": ("a",)},
            "which became",
        ),
    ],
)
def test_the_search_finds_what_is_lost_or_half(history: Any, final: Any, what: str) -> None:
    with pytest.raises(Anomaly, match=what):
        check(history, final)


def test_the_search_holds_commands_to_the_order_of_their_answers() -> None:
    one = stored("one", {"cell0": ()}, ("cell0", "a"), kind="command", asked=1, answered=2, tid=1)
    two = stored("two", {"cell0": ()}, kind="command", asked=3, answered=4)
    two.outcome = "read"
    with pytest.raises(Anomaly, match="no serial order"):
        check([one, two], {"cell0": ("a",)})
    late = stored("late", {"cell0": ("b",)}, ("cell0", "a"), kind="command", tid=1)
    first = stored("first", {}, ("cell0", "b"), kind="command", tid=2)
    with pytest.raises(Anomaly):
        check([late, first], {"cell0": ("b", "a")})
    with pytest.raises(Anomaly):
        replay([late, first], {"cell0": ("b", "a")}, {"command"})
