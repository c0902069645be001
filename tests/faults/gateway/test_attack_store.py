"""Peers that want the host to store, keep or read what would hurt it or others."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from hubbub.gateway.peers import PeerOptions
from hubbub.kernel import ROOT_OID, Label, tid_at
from hubbub.mount.asking import QUESTIONS
from hubbub.perspective.host import Host
from hubbub.store import SQLiteStore
from hubbub.wire import peer
from hubbub.wire.peer_asking import PIECE_BYTES
from tests.unit.mount.test_mount_peers import FakePeer

HUGE = 2**64 - 1
LOWEST = -(2**63)


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    made = Host(SQLiteStore(tmp_path / "a.hub"))
    made.start()
    await made.call(lambda c: c.root.update(n=1), Label())
    yield made
    await made.close()


async def is_well(host: Host) -> bool:
    """Tell whether commands run, are stored and are read."""
    before = host.ledger.settled_tid
    await host.call(lambda c: c.root.update(after=True), Label())
    stored = await host.read(lambda c: (c.root["n"], c.root["after"])) == (1, True)
    return stored and before < host.ledger.settled_tid <= tid_at(time.time() + 60)


def commit(mounted: peer.Mounted, **fields: Any) -> peer.Commit:
    writes: list[Any] = fields.pop("writes", [(mounted.first_oid, 0, "test:Thing", (), b"")])
    label = fields.pop("label", Label())
    return peer.Commit(1, b"attackers-key-000001", 0, writes, [], {}, label, **fields)


def ask(method: str, *args: Any) -> peer.Ask:
    return peer.Ask(1, method, msgspec.Raw(msgspec.msgpack.encode(args)))


async def answer_to(one: FakePeer, message: Any) -> peer.ToPeer:
    one.messages.clear()
    one.say(message)
    while True:
        (got,) = await one.until(object)
        if isinstance(got, peer.Fault):
            return got
        if getattr(got, "id", None) == 1 and not isinstance(got, peer.Progress):
            return got


@pytest.mark.rule("ST1")
@pytest.mark.parametrize("tid", [HUGE, 2**63 - 1, 2**63 - 3, tid_at(3e10)])
async def test_a_restored_commit_can_not_use_up_all_tids(host: Host, tid: int) -> None:
    """The last tid of all was taken: no commit could ever follow it."""
    one = FakePeer(host)
    failed = await answer_to(one, commit(one.mount(), restored_tid=tid))
    assert isinstance(failed, peer.Failed)
    assert "ahead of this machine's clock" in failed.message
    assert await is_well(host)


async def test_nor_can_one_that_votes(host: Host) -> None:
    one = FakePeer(host)
    mounted = one.mount()
    write: Any = (mounted.first_oid, 0, "test:Thing", (), b"")
    vote = peer.Vote(1, 0, [write], [], {}, Label(), restored_tid=2**63 - 1)
    failed = await answer_to(one, vote)
    assert isinstance(failed, peer.Failed)
    assert "ahead of this machine's clock" in failed.message
    assert await is_well(host)


async def test_nobody_can_say_that_the_root_is_gone(host: Host) -> None:
    one = FakePeer(host)
    mounted = one.mount()
    write = (ROOT_OID, host.ledger.load(ROOT_OID).tid, "", (), b"")
    assert isinstance(await answer_to(one, commit(mounted, writes=[write])), peer.Fault)
    assert await is_well(host)


async def test_a_huge_label_is_refused(host: Host) -> None:
    """Whoever follows the commits would be sent hundreds of them at a time."""
    one = FakePeer(host)
    failed = await answer_to(one, commit(one.mount(), label=Label(note="x" * (1 << 20))))
    assert isinstance(failed, peer.Failed)
    assert failed.kind == "limit"
    assert "256 KiB" in failed.message
    assert await is_well(host)


async def test_a_commit_can_not_take_back_keys_without_end(host: Host) -> None:
    one = FakePeer(host)
    done = [b"%d" % number for number in range(20_000)]
    assert isinstance(await answer_to(one, commit(one.mount(), done=done)), peer.Fault)
    assert await is_well(host)


@pytest.mark.parametrize(
    "message",
    [
        peer.GetPiece(1, HUGE, 1, 0, 5),
        peer.GetPiece(1, -1, 1, 0, 5),
        peer.GetPiece(1, 0, LOWEST, 0, 5),
        peer.GetPiece(1, 0, 1, HUGE, 5),
        peer.PutPiece(1, "a", HUGE, b"x"),
    ],
)
async def test_pieces_of_no_blob_are_answered(host: Host, message: Any) -> None:
    """Negative numbers were not answered at all, and the host's log told of a task."""
    one = FakePeer(host)
    one.mount()
    one.say(peer.PutPiece(0, "a", 0, b"x"))
    await one.until(peer.Put)
    assert isinstance(await answer_to(one, message), peer.Failed | peer.Fault)
    assert await is_well(host)


async def test_an_upload_has_no_hole_that_others_wait_for(host: Host) -> None:
    """A byte at a terabyte cost nothing; the commit read the terabyte, and all others waited behind it."""
    one = FakePeer(host)
    one.mount()
    assert isinstance(await answer_to(one, peer.PutPiece(1, "a", 0, b"x")), peer.Put)
    failed = await answer_to(one, peer.PutPiece(1, "a", 1 << 40, b"x"))
    assert isinstance(failed, peer.Failed)
    assert failed.kind == "limit"
    near = peer.PutPiece(1, "a", 2 * PIECE_BYTES, b"x")
    assert isinstance(await answer_to(one, near), peer.Put)


@pytest.mark.parametrize("number", [HUGE, 2**63, LOWEST, -1, 0])
@pytest.mark.parametrize("options", [PeerOptions(), PeerOptions(read_only=True)])
async def test_questions_with_any_numbers_are_answered_in_our_words(
    host: Host, number: int, options: PeerOptions, caplog: pytest.LogCaptureFixture
) -> None:
    one = FakePeer(host, options)
    one.mount()
    for message in (
        ask("history", number, None, 5),
        ask("history", 0, number, number),
        ask("revision", number, number),
        ask("successor", number, number),
        ask("transaction", number),
        ask("records_of", number),
        ask("current", number, number, number),
        ask("load_many", [number], number),
        ask("commits", number, number, number),
        ask("pack", number, True, False),
        ask("declare_retention", float(number)),
    ):
        got = await answer_to(one, message)
        assert isinstance(got, peer.Answer | peer.Failed), message
        assert not isinstance(got, peer.Failed) or got.kind != "internal", (message, got)
    assert not caplog.records
    assert await is_well(host)


@pytest.mark.rule("PE5")
async def test_one_question_does_not_ask_for_more_than_the_host_has_memory_for(host: Host) -> None:
    """A million times the same large record would have been sent in one message."""
    one = FakePeer(host, PeerOptions(read_only=True))
    one.mount()
    failed = await answer_to(one, ask("load_many", list(range(20_000)), 1 << 62))
    assert isinstance(failed, peer.Failed)
    assert failed.kind == "limit"
    got = await answer_to(one, ask("load_many", [0] * 10_000, 1 << 62))
    assert isinstance(got, peer.Answer)
    assert len(QUESTIONS["load_many"].answer(got.value)) == 1


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
async def test_a_retention_that_is_no_time_is_refused(host: Host, seconds: float) -> None:
    one = FakePeer(host)
    one.mount()
    failed = await answer_to(one, ask("declare_retention", seconds))
    assert isinstance(failed, peer.Failed)
    assert failed.kind == "configuration"
    assert isinstance(await answer_to(one, ask("pack", None, True, False)), peer.Answer)
