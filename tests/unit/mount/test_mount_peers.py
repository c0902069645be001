"""The host's side of a mount (`hubbub.gateway.peers`), message by message."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from hubbub.gateway import outlet
from hubbub.gateway.peers import PeerConnection, PeerOptions
from hubbub.kernel import Label, Record
from hubbub.perspective.host import Host
from hubbub.space.containers import SortedMap
from hubbub.space.context import running
from hubbub.store import MemoryStore
from hubbub.wire import peer
from hubbub.wire.frames import FrameReader, frame
from tests.property.space.test_rebase import Adder


class FakePeer:
    """One peer of ``host``: says messages, keeps the answers."""

    def __init__(self, host: Host, options: PeerOptions | None = None) -> None:
        self.buffered = 0
        self.is_closed = False
        self.messages: list[peer.ToPeer] = []
        self.writes = 0
        self._reader = FrameReader(1 << 30)
        self._arrived = asyncio.Event()
        self.connection = PeerConnection(
            host, self._write, self._close, lambda: self.buffered, options
        )

    def _write(self, data: bytes) -> None:
        self.writes += 1
        self.messages += [peer.decode_to_peer(part) for part in self._reader.feed(data)]
        self._arrived.set()

    def _close(self) -> None:
        self.is_closed = True

    def say(self, *messages: Any) -> None:
        self.connection.received(b"".join(frame(peer.encode(message)) for message in messages))

    def mount(self, **fields: Any) -> peer.Mounted:
        given = {"token": "", "space": "", "known_tid": 0, "read_only": False, **fields}
        self.say(peer.Mount(peer.PROTOCOL, **given))
        answer = self.messages.pop()
        assert isinstance(answer, peer.Mounted)
        return answer

    async def until(self, kind: type) -> list[peer.ToPeer]:
        """Wait for a message of ``kind``; return all up to it."""
        while not any(isinstance(message, kind) for message in self.messages):
            self._arrived.clear()
            await asyncio.wait_for(self._arrived.wait(), 10)
        place = next(i for i, message in enumerate(self.messages) if isinstance(message, kind))
        taken, self.messages = self.messages[: place + 1], self.messages[place + 1 :]
        return taken


@pytest_asyncio.fixture
async def host() -> AsyncIterator[Host]:
    made = Host(MemoryStore())
    made.start()
    yield made
    await made.close()


def commit(
    call_id: int, *writes: tuple[int, int], key: bytes = b"", payload: bytes = b"x", base: int = 0
) -> peer.Commit:
    fields: list[Any] = [(oid, tid, "test:Thing", (), payload) for oid, tid in writes]
    return peer.Commit(
        call_id, key or b"mount-000000" + b"%08d" % call_id, base, fields, [], {}, Label()
    )


@pytest.mark.rule("ST2")
async def test_invalidations_go_out_before_the_answer_and_leave_own_writes_out(host: Host) -> None:
    one, two = FakePeer(host), FakePeer(host)
    one.mount()
    two.mount()
    one.say(commit(1, (11, 0), (12, 0)))
    invalidation, answer = await one.until(peer.Committed)
    assert isinstance(answer, peer.Committed)
    assert invalidation == peer.Invalidate(answer.tid, [])
    assert await two.until(peer.Invalidate) == [peer.Invalidate(answer.tid, [11, 12])]


@pytest.mark.rule("ST2")
async def test_own_writes_that_others_wrote_over_in_the_same_group_are_told(host: Host) -> None:
    one, two = FakePeer(host), FakePeer(host)
    one.mount()
    two.mount()
    one.say(commit(1, (11, 0), key=b"m" * 12 + b"1"))
    (first,) = [m for m in await one.until(peer.Committed) if isinstance(m, peer.Committed)]
    two.messages.clear()
    # One group: the listener hears of both commits at once.
    settled: list[Any] = []
    host.on_settled(settled.append)
    peers = one.connection._peers
    from hubbub.kernel import Commit, Record, Tid

    writers = peers.writers
    writers[b"a"], writers[b"b"] = (
        (one.connection.outlet, {11, 12}),
        (two.connection.outlet, {11, 13}),
    )
    tids = [Tid(first.tid + 1), Tid(first.tid + 2)]
    rows = [[("peer-commit", key, b"")] for key in (b"a", b"b")]
    commits = [
        Commit(tids[0], Label(), [Record(o, tids[0], "t", (), b"") for o in (11, 12)], rows[0]),
        Commit(tids[1], Label(), [Record(o, tids[1], "t", (), b"") for o in (11, 13)], rows[1]),
    ]
    peers._settled(commits)
    (to_one,) = await one.until(peer.Invalidate)
    (to_two,) = await two.until(peer.Invalidate)
    assert to_one == peer.Invalidate(tids[1], [11, 13])
    assert to_two == peer.Invalidate(tids[1], [12])


def oids_of(message: Any) -> tuple[list[int], bool]:
    assert isinstance(message, peer.Loaded)
    return [record.oid for record in message.records], message.goes_on


async def test_a_load_brings_neighbours_once(host: Host) -> None:
    fake = FakePeer(host)
    fake.mount()
    many = list(range(100, 200))
    writes = [Record(oid, 0, "test:Thing", (), b"n" * 10) for oid in many]
    owner = Record(50, 0, "test:Owner", tuple(many), b"o")
    written = peer.written([owner, *writes])
    fake.say(peer.Commit(1, b"k" * 13, 0, written, [], {}, Label()))
    await fake.until(peer.Committed)
    tid = host.ledger.settled_tid
    room = 32 * (10 + 64)
    fake.say(peer.Load(2, 50, tid, room), peer.Load(3, 50, tid, room), peer.Load(4, 100, tid))
    first, second, third = fake.messages
    assert oids_of(first) == ([50, *many[:32]], True)
    assert oids_of(second) == ([50, *many[32:64]], True)
    assert oids_of(third) == ([100], False)
    # It goes on where the last piece ended.
    fake.messages.clear()
    fake.say(peer.More(5, tid, 10 * (10 + 64)))
    (more,) = fake.messages
    assert oids_of(more) == (many[64:74], True)
    # What stands behind an object where it is referred to is likely, too.
    fake.messages.clear()
    fake.say(peer.Load(5, 163, tid, room), peer.Load(6, 180, tid, 2 * room))
    behind, further = fake.messages
    assert oids_of(behind) == ([163, *many[74:96]], False)
    assert oids_of(further) == ([180, *many[96:]], False)
    fake.messages.clear()
    # Who has forgotten what it was sent gets it once more.
    fake.say(peer.Load(7, 50, tid, 2 * (10 + 64), forget=True))
    assert oids_of(fake.messages[0]) == ([50, *many[:2]], True)
    fake.messages.clear()
    fake.say(peer.Load(5, 50, tid - 1), peer.Load(6, 4, tid))
    assert fake.messages == [peer.Loaded(5, []), peer.Loaded(6, [])]


@pytest.mark.rule("ST2")
async def test_a_load_of_the_future_ends_the_peer_and_nobody_else(host: Host) -> None:
    one, two = FakePeer(host), FakePeer(host)
    one.mount()
    two.mount()
    one.say(peer.Load(1, 0, host.ledger.settled_tid + 1))
    assert one.is_closed
    assert [type(message) for message in one.messages] == [peer.Fault]
    two.say(peer.Ping(1))
    assert two.messages == [peer.Pong(1, 0)]
    assert not two.is_closed


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        frame(b"\xc1\xc1"),
        frame(peer.encode(peer.Ping(1))),
        frame(b"\x93\x01\x02\x03"),
    ],
)
async def test_garbage_ends_the_peer(host: Host, data: bytes) -> None:
    fake = FakePeer(host)
    fake.connection.received(data)
    assert fake.is_closed
    assert isinstance(fake.messages[-1], peer.Fault)
    fake.connection.received(data)
    fake.connection.lost()
    assert len(fake.messages) == 1


@pytest.mark.parametrize(
    "fields",
    [
        [(1, 0), (1, 0)],
        [(-1, 0)],
        [(1 << 62, 0)],
        [(1 << 64, 0)],
        [(1, -1)],
        [(1, 1 << 61)],
    ],
)
async def test_a_commit_that_would_hurt_others_is_a_fault(host: Host, fields: list[Any]) -> None:
    one, two = FakePeer(host), FakePeer(host)
    one.mount()
    two.mount()
    data = commit(1, *fields) if max(map(abs, sum(fields, ()))) < 1 << 64 else None
    if data is None:
        one.connection.received(frame(b"\x99"))
    else:
        one.say(data)
    assert one.is_closed
    two.say(commit(1, (1, 0)))
    await two.until(peer.Committed)


async def test_a_repeat_is_answered_with_the_first_outcome(host: Host) -> None:
    one = FakePeer(host)
    one.mount()
    one.say(commit(1, (11, 0), key=b"m" * 12 + b"1"))
    first = (await one.until(peer.Committed))[-1]
    two = FakePeer(host)
    two.mount()
    two.say(commit(9, (11, 0), key=b"m" * 12 + b"1"))
    again = (await two.until(peer.Committed))[-1]
    assert isinstance(first, peer.Committed)
    assert isinstance(again, peer.Committed)
    assert (again.id, again.tid) == (9, first.tid)
    # The connection that was replaced says it once more, after all was acknowledged: it must not run.
    two.say(
        peer.Commit(
            10,
            b"m" * 12 + b"2",
            0,
            [Record(12, 0, "t", (), b"")],
            [],
            {},
            Label(),
            [b"m" * 12 + b"1"],
        )
    )
    await two.until(peer.Committed)
    one.say(commit(1, (99, 0), key=b"m" * 12 + b"1"))
    assert one.is_closed


@pytest.mark.rule("PE5")
async def test_a_peer_that_does_not_read_is_told_to_drop_its_cache(host: Host) -> None:
    slow, other = FakePeer(host, PeerOptions(buffer_limit_bytes=1000)), FakePeer(host)
    slow.mount()
    other.mount()
    slow.buffered = 999
    tid = 0
    for number in range(50):
        other.say(commit(number, (11, tid)))
        answer = (await other.until(peer.Committed))[-1]
        assert isinstance(answer, peer.Committed)
        tid = answer.tid
    assert slow.messages == []
    slow.buffered = 0
    (dropped,) = await slow.until(peer.DropCache)
    assert dropped == peer.DropCache(tid)
    other.say(commit(100, (11, tid)))
    answer = (await other.until(peer.Committed))[-1]
    assert isinstance(answer, peer.Committed)
    assert await slow.until(peer.Invalidate) == [peer.Invalidate(answer.tid, [11])]


@pytest.mark.rule("PE5", "ST2")
async def test_a_peer_that_is_behind_hears_of_it_before_an_answer(host: Host) -> None:
    slow, other = FakePeer(host, PeerOptions(buffer_limit_bytes=1000)), FakePeer(host)
    slow.mount()
    other.mount()
    slow.buffered = 2000
    other.say(commit(1, (11, 0)))
    answer = (await other.until(peer.Committed))[-1]
    assert isinstance(answer, peer.Committed)
    slow.say(peer.Ping(5))
    assert slow.messages == [peer.DropCache(answer.tid), peer.Pong(5, answer.tid)]
    slow.messages.clear()
    slow.buffered = 5000
    for number in range(20):
        slow.say(peer.Ping(number))
    assert slow.is_closed


async def test_closing_lets_commits_end_first(host: Host) -> None:
    busy, idle = FakePeer(host), FakePeer(host)
    busy.mount()
    idle.mount()
    busy.say(commit(1, (11, 0)))
    busy.connection.closing("drain")
    idle.connection.closing("drain")
    assert (busy.is_closed, idle.is_closed) == (False, True)
    assert isinstance(idle.messages[-1], peer.Closing)
    await busy.until(peer.Committed)
    assert busy.is_closed
    busy.connection.closing("drain")


async def test_commits_that_wait_are_bounded(host: Host) -> None:
    fake = FakePeer(host, PeerOptions(max_commits=2))
    fake.mount()
    fake.say(*(commit(number, (number, 0)) for number in (1, 2, 3)))
    (failed,) = await fake.until(peer.Failed)
    assert isinstance(failed, peer.Failed)
    assert (failed.id, failed.kind) == (3, "limit")
    await fake.until(peer.Committed)


@pytest.mark.rule("ST2")
async def test_what_is_asked_for_again_comes_along_with_its_next_change(host: Host) -> None:
    one, two = FakePeer(host), FakePeer(host)
    one.mount()
    two.mount()

    async def write(call_id: int, tid: int) -> tuple[int, Any]:
        one.say(commit(call_id, (11, tid), payload=b"%d" % call_id))
        answer = (await one.until(peer.Committed))[-1]
        assert isinstance(answer, peer.Committed)
        (told,) = await two.until(peer.Invalidate)
        return answer.tid, told

    tid, told = await write(1, 0)
    for call_id in (2, 3):
        two.say(peer.Load(1, 11, tid))
        await two.until(peer.Loaded)
        assert told.records == []
        tid, told = await write(call_id, tid)
    assert [(r.oid, r.tid, r.payload) for r in told.records] == [(11, tid, b"3")]
    # Who does not read what it is sent gets no more than the news.
    two.buffered = 1 << 20
    _, told = await write(4, tid)
    assert (told.oids, told.records) == ([11], [])


async def test_who_waits_for_a_commit_hears_of_others_with_its_answer_or_a_moment_later(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "_HOLD_S", 0.3)
    one, two, three = FakePeer(host), FakePeer(host), FakePeer(host)
    for fake in (one, two, three):
        fake.mount()
    held_up = threading.Event()
    one.say(commit(1, (11, 0), key=b"mount-000001" + b"1" * 8))

    def hold_up() -> None:
        held_up.wait(10)

    host.serial.submit(hold_up)
    two.say(commit(1, (12, 0), key=b"mount-000002" + b"1" * 8))
    await one.until(peer.Committed)
    assert [type(message) for message in three.messages] == [peer.Invalidate]
    assert two.messages == []
    (told,) = await two.until(peer.Invalidate)
    assert isinstance(told, peer.Invalidate)
    assert told.oids == [11]
    held_up.set()
    await two.until(peer.Committed)


async def test_who_commits_again_is_woken_once_for_the_answer_and_for_what_others_did_meanwhile(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "_HOLD_S", 60)
    monkeypatch.setattr(outlet, "_COMMITS_AGAIN_S", 60)
    one, two = FakePeer(host), FakePeer(host)
    one.mount()
    two.mount()
    one.say(commit(1, (11, 0), key=b"mount-000001" + b"1" * 8))
    await one.until(peer.Committed)
    await two.until(peer.Invalidate)
    one.writes = 0
    again = [commit(2, (13, 0), key=b"mount-000001" + b"2" * 8)]

    def say_again(_: object) -> None:
        if again:  # it is read behind the news of two's commit, which has not gone out yet
            one.say(again.pop())

    host.on_settled(say_again)
    two.say(commit(1, (12, 0), key=b"mount-000002" + b"1" * 8))
    answered = await one.until(peer.Committed)
    told, answer = answered
    assert isinstance(answer, peer.Committed)
    assert told == peer.Invalidate(answer.tid, [12])
    assert one.writes == 1


@pytest.mark.rule("ST2")
async def test_news_that_wait_for_an_answer_which_does_not_come_go_out_all_the_same(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = FakePeer(host), FakePeer(host)
    one.mount()
    two.mount()

    def fail(*_: object) -> None:
        raise RuntimeError("the answer fails")

    monkeypatch.setattr(one.connection._writing, "_merged", fail)
    one.say(commit(1, (11, 0), key=b"mount-000001" + b"1" * 8))
    (told,) = await one.until(peer.Invalidate)
    assert isinstance(told, peer.Invalidate)
    (told_two,) = await two.until(peer.Invalidate)
    assert told_two == peer.Invalidate(told.tid, [11])
    one.connection.outlet.answer(peer.Pong(7, told.tid))  # as what comes from another thread
    await one.until(peer.Pong)


@pytest.mark.rule("ST1")
async def test_what_goes_wrong_with_one_peer_is_told_to_all_others_and_ends_its_connection(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, two, three = FakePeer(host), FakePeer(host), FakePeer(host)
    for fake in (one, two, three):
        fake.mount()

    def tell(*_: object, **__: object) -> None:
        raise ValueError("no words for it")

    monkeypatch.setattr(two.connection.outlet, "tell", tell)
    one.say(commit(1, (11, 0), key=b"mount-000001" + b"1" * 8))
    await one.until(peer.Committed)
    (told,) = await three.until(peer.Invalidate)
    assert isinstance(told, peer.Invalidate)
    assert told.oids == [11]
    assert (two.is_closed, two.messages) == (True, [])
    assert "no words for it" in caplog.text


@pytest.mark.rule("ST1", "ST2")
async def test_the_feed_is_told_piece_by_piece_up_to_what_the_peer_knows(host: Host) -> None:
    one = FakePeer(host)
    one.mount()
    tids = []
    for number in range(3):
        one.say(commit(number + 1, (50 + number, 0)))
        tids.append((await one.until(peer.Committed))[-1].tid)  # type: ignore[union-attr]
    one.say(peer.Feed(10, 0, 2))
    first = (await one.until(peer.Fed))[-1]
    assert isinstance(first, peer.Fed)
    assert [(entry.tid, entry.oids) for entry in first.commits] == [
        (tids[0], (50,)),
        (tids[1], (51,)),
    ]
    one.say(peer.Feed(11, tids[1], 1000), peer.Feed(12, tids[2], 0), peer.Feed(13, tids[2] + 1, 1))
    rest = await one.until(peer.Failed)
    told = [message for message in one.messages + rest if isinstance(message, peer.Fed)]
    while len(told) < 2:
        told += [m for m in await one.until(peer.Fed) if isinstance(m, peer.Fed)]
    assert {message.id: [entry.tid for entry in message.commits] for message in told} == {
        11: [tids[2]],
        12: [],
    }
    failed = rest[-1]
    assert isinstance(failed, peer.Failed)
    assert (failed.id, failed.kind) == (13, "feed_gap")


async def test_pieces_of_the_feed_that_wait_are_bounded(host: Host) -> None:
    one = FakePeer(host)
    one.mount()
    one.say(*(peer.Feed(number, 0, 1) for number in range(1, 10)))
    failed = (await one.until(peer.Failed))[-1]
    assert isinstance(failed, peer.Failed)
    assert (failed.id, failed.kind) == (9, "limit")
    one.connection.lost()


@pytest.mark.parametrize("protocol", [4, 99])
async def test_a_peer_of_another_version_is_told_which_side_to_upgrade(
    host: Host, protocol: int
) -> None:
    fake = FakePeer(host)
    # As that version may say it: not as this one does.
    fake.connection.received(frame(msgspec.msgpack.encode([1, protocol, ["another", "form"]])))
    (fault,) = await fake.until(peer.Fault)
    assert isinstance(fault, peer.Fault)
    assert f"version {protocol}" in fault.message
    assert "upgrade the" in fault.message
    assert fake.is_closed


@pytest.mark.rule("SP6")
async def test_a_peer_hears_which_of_its_writes_were_left_out(host: Host) -> None:
    one = FakePeer(host)
    one.mount()

    async def say(number: int, adder: Adder) -> peer.Committed:
        made = adder.changeset()
        one.say(peer.Commit(number, b"", made.base, made.writes, made.current, {}, Label(), []))
        (answer,) = [m for m in await one.until(peer.Committed) if isinstance(m, peer.Committed)]
        return answer

    space = SimpleNamespace(ledger=host.ledger)
    first = Adder(space)
    with running(first.transaction):
        first.connection.root["held"] = SortedMap({f"{n:04}": "x" for n in range(40)})
    assert (await say(1, first)).kept == []
    adders = [Adder(space), Adder(space)]
    for adder in adders:  # both split the last leaf
        for number in range(30):
            adder.add(f"{1000 + number}{adders.index(adder)}", "y")
    assert (await say(2, adders[0])).kept == []
    answer = await say(3, adders[1])
    written = {record.oid for record in host.ledger.records_of(answer.tid)}
    assert answer.kept
    assert set(answer.kept) == set(answer.merged) - written
    assert {record.oid for record in answer.records} == set(answer.merged) & written
