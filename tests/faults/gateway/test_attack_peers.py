"""Peers that lie: before they have shown a token, and after."""

from __future__ import annotations

import struct
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from hubbub.gateway import peers
from hubbub.gateway.neighbours import Neighbours
from hubbub.gateway.peers import PeerOptions
from hubbub.kernel import COMPANION_BIT, HubbubError, Label, Record, UnknownObjectError
from hubbub.perspective.host import Host
from hubbub.space.codec import encode_state
from hubbub.space.containers import Map
from hubbub.store import MemoryStore
from hubbub.wire import peer
from hubbub.wire.frames import frame
from tests.unit.mount.test_mount_peers import FakePeer

KEY = b"mount-000000"


@pytest_asyncio.fixture
async def host() -> AsyncIterator[Host]:
    made = Host(MemoryStore())
    made.start()
    yield made
    await made.close()


def commit(call_id: int, *writes: Any, changes: Any = None) -> peer.Commit:
    return peer.Commit(
        call_id, KEY + b"%08d" % call_id, 0, list(writes), [], changes or {}, Label()
    )


@pytest.mark.rule("PE7")
async def test_a_stranger_can_not_make_the_host_hold_a_large_frame(host: Host) -> None:
    one = FakePeer(host)
    one.connection.received(struct.pack(">I", 1 << 20))
    (fault,) = one.messages
    assert isinstance(fault, peer.Fault)
    assert one.is_closed


async def test_a_peer_that_has_mounted_may_send_large_frames(host: Host) -> None:
    one = FakePeer(host)
    block = one.mount()
    one.say(commit(1, (block.first_oid, 0, "test:Thing", (), b"x" * (1 << 20))))
    assert isinstance((await one.until(peer.Committed))[-1], peer.Committed)


@pytest.mark.rule("PE7")
async def test_a_peer_that_says_nothing_is_sent_away(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "HELLO_S", 0.02)
    silent, mounted = FakePeer(host), FakePeer(host)
    mounted.mount()
    await silent.until(peer.Fault)
    assert silent.is_closed
    assert not mounted.is_closed


@pytest.mark.parametrize("where", ["written", "referred to"])
async def test_a_commit_can_not_use_up_all_oids(host: Host, where: str) -> None:
    """One new object with the last oid of all: from then on the host would hand out ephemeral oids for durable objects."""
    one = FakePeer(host)
    mounted = one.mount()
    last = COMPANION_BIT - 1
    write = (
        (last, 0, "x:Y", (), b"")
        if where == "written"
        else (mounted.first_oid, 0, "x:Y", (last,), b"")
    )
    one.say(commit(1, write))
    (fault,) = one.messages
    assert isinstance(fault, peer.Fault)
    assert host.ledger.new_oid() < COMPANION_BIT // 2


async def test_oids_of_a_host_before_this_one_are_still_good(host: Host) -> None:
    one = FakePeer(host)
    mounted = one.mount()
    one.say(commit(1, (mounted.first_oid + 1_000_000, 0, "test:Thing", (), b"")))
    await one.until(peer.Committed)
    assert host.ledger.new_oid() > mounted.first_oid + 1_000_000


@pytest.mark.rule("LV1")
@pytest.mark.parametrize("lie", [5, "x", [1], {"k": "not so"}, {}, None])
async def test_what_a_peer_says_of_changes_is_not_believed(host: Host, lie: Any) -> None:
    """Views of containers were patched with it, or, where it made no sense, not told of the whole group."""
    await host.call(lambda c: c.root.update(m=Map({"a": 1})), Label())
    await host.read(lambda c: c.root["m"])
    updates: list[Any] = []
    host._deliver = updates.extend
    host.serial.submit(
        lambda: host.queries.watch(("s", 1), "json", "key", "what", lambda c: c.root["m"])
    )
    oid = int.from_bytes(await host.read(lambda c: c.root["m"]._p_oid), "big")
    record = host.ledger.load(oid)
    one = FakePeer(host)
    one.mount()
    write = (oid, record.tid, record.class_name, record.refs, record.payload)
    one.say(commit(1, write, changes={oid: lie}))
    await one.until(peer.Committed)
    await host.call(lambda c: c.root["m"].update(a=2), Label())
    await host.read(lambda c: None)
    newest = updates[-1]
    assert newest.value.get("json") == b'{"a":2}' or newest.patch["json"] == b'[["k","a",2]]'
    assert not any(b"not so" in patch for update in updates for patch in update.patch.values())


@pytest.mark.rule("SP3")
@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "builtins:eval",
        "builtins:object",
        "subprocess:Popen",
        "antigravity:geohash",
        "hubbub.perspective.checkers:Passwords",
        "pathlib:Path",
        "msgspec:Struct",
        ":",
        "a:",
        "..:x",
    ],
)
async def test_a_class_name_never_imports_or_runs_anything(host: Host, name: str) -> None:
    await host.call(lambda c: c.root.update(n=1), Label())
    one = FakePeer(host)
    mounted = one.mount()
    before = set(sys.modules)
    oid = mounted.first_oid
    payload = encode_state({"args": ["touch /tmp/owned"], "shell": True}, lambda _: 0)[0]
    one.say(commit(1, (oid, 0, name, (), payload)))
    await one.until(peer.Committed)

    def touch(connection: Any) -> str:
        thing = connection.get(oid)
        return f"{type(thing).__name__} {thing.args}"

    try:
        await host.read(touch)
    except HubbubError:
        pass
    assert set(sys.modules) - before <= {"hubbub.space.unknown"}
    assert await host.read(lambda c: c.root["n"]) == 1


async def test_a_read_only_peer_writes_nothing_whatever_it_says(host: Host) -> None:
    for options, asked in ((PeerOptions(read_only=True), False), (PeerOptions(), True)):
        one = FakePeer(host, options)
        mounted = one.mount(read_only=asked)
        one.say(commit(1, (mounted.first_oid, 0, "x:Y", (), b"")))
        (failed,) = one.messages
        assert isinstance(failed, peer.Failed)
        assert failed.kind == "read_only"
        with pytest.raises(UnknownObjectError):
            host.ledger.load(mounted.first_oid)


async def test_garbage_in_the_root_is_an_error_and_can_be_mended(host: Host) -> None:
    await host.call(lambda c: c.root.update(n=1), Label())
    good = host.ledger.load(0)
    one = FakePeer(host)
    one.mount()
    one.say(commit(1, (0, good.tid, good.class_name, (), b"\xc1garbage")))
    (*_, done) = await one.until(peer.Committed)
    assert isinstance(done, peer.Committed)
    with pytest.raises(HubbubError):
        await host.read(lambda c: c.root["n"])
    one.say(commit(2, (0, done.tid, good.class_name, good.refs, good.payload)))
    await one.until(peer.Committed)
    assert await host.read(lambda c: c.root["n"]) == 1


@pytest.mark.rule("PE8")
async def test_a_record_with_many_refs_to_nothing_is_loaded_quickly() -> None:
    looked = 0

    class Ledger:
        def load(self, oid: int, at: int) -> Record:
            nonlocal looked
            looked += 1
            raise UnknownObjectError(oid)

        def at_hand(self, oid: int, at: int) -> None:
            return None

    record = Record(1, 1, "x:Y", tuple(range(100, 20_000)), b"")
    assert Neighbours(Ledger()).of(record, 1, 1 << 20) == []  # type: ignore[arg-type]
    assert looked <= 100


async def test_user_words_on_the_peer_wire_end_it(host: Host) -> None:
    one = FakePeer(host)
    one.connection.received(frame(b"\x81\xa1t\xa5hello"))
    (fault,) = one.messages
    assert isinstance(fault, peer.Fault)
    assert one.is_closed


@pytest.mark.parametrize("refs, payload", [((1,), b""), ((), b"x")])
async def test_an_object_that_is_gone_holds_nothing(
    host: Host, refs: tuple[int, ...], payload: bytes
) -> None:
    one = FakePeer(host)
    oid = one.mount().first_oid
    one.say(commit(1, (oid, 0, "test:Thing", (), b"")))
    (*_, made) = await one.until(peer.Committed)
    assert isinstance(made, peer.Committed)
    one.say(commit(2, (oid, made.tid, "", refs, payload)))
    assert isinstance(one.messages[-1], peer.Fault)


async def test_a_peer_can_say_that_an_object_is_gone(host: Host) -> None:
    one = FakePeer(host)
    oid = one.mount().first_oid
    one.say(commit(1, (oid, 0, "test:Thing", (), b"")))
    (*_, made) = await one.until(peer.Committed)
    assert isinstance(made, peer.Committed)
    one.say(commit(2, (oid, made.tid, "", (), b"")))
    await one.until(peer.Committed)
    with pytest.raises(UnknownObjectError):
        host.ledger.load(oid)


@pytest.mark.parametrize(
    "name", ["", "x" * 100_000, "a:\x00", "\x1b[2J", "\u202etxt:Thing", "a:b\n"]
)
async def test_a_class_name_that_nobody_could_have_is_refused(host: Host, name: str) -> None:
    """One with a zero byte could be stored and not be read again; others would command a terminal."""
    one = FakePeer(host)
    mounted = one.mount()
    one.say(commit(1, (mounted.first_oid, 0, name, (), b"")))
    (fault,) = one.messages
    assert isinstance(fault, peer.Fault)
    assert fault.message.isprintable()
