"""Peers that upload and never commit, or more than there is room for: others must not run out of disk by it."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from hubbub.gateway import held
from hubbub.gateway.peers import PeerOptions
from hubbub.kernel import Label
from hubbub.perspective.host import Host
from hubbub.store import SQLiteStore
from hubbub.wire import peer
from tests.unit.mount.test_mount_peers import FakePeer

KEY = b"one mount's own key, a secret"
PIECE = bytes(1000)


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    made = Host(SQLiteStore(tmp_path / "a.hub"))
    made.start()
    await made.call(lambda c: c.root.update(n=1), Label())
    yield made
    await made.close()


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    return tmp_path / "a.hub-blobs" / "staged"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


async def put(one: FakePeer, name: str, offset: int, data: bytes = PIECE) -> Any:
    one.say(peer.PutPiece(7, name, offset, data))
    return await answer(one)


async def answer(one: FakePeer) -> Any:
    kinds: Any = (peer.Put, peer.Failed, peer.Committed, peer.Voted)
    return (await one.until(kinds))[-1]


def write(mounted: peer.Mounted) -> Any:
    return (mounted.first_oid, 0, "test:Thing", (), b"")


@pytest.mark.rule("PE5")
async def test_what_one_mount_has_uploaded_is_bounded_and_frees_what_it_took(
    host: Host, staged: Path
) -> None:
    one = FakePeer(host, PeerOptions(max_upload_bytes=3000))
    mounted = one.mount(mount_key=KEY)
    for offset in (0, 1000):
        assert isinstance(await put(one, "a", offset), peer.Put)
    assert isinstance(await put(one, "b", 0), peer.Put)
    again = await put(one, "a", 1000)  # the same once more is no more
    assert isinstance(again, peer.Put)
    failed = await put(one, "b", 1000)
    assert (failed.kind, "3000 bytes" in failed.message) == ("limit", True)
    assert len(files(staged)) == 1
    later = await put(one, "b", 2000)  # was on its way already
    assert later.message == failed.message
    # What is committed does not count any more, nor what is dropped.
    one.say(
        peer.Commit(
            1, b"k" * 20, 0, [write(mounted)], [], {}, Label(), blobs={mounted.first_oid: "a"}
        )
    )
    assert isinstance(await answer(one), peer.Committed)
    one.say(peer.PutPiece(7, "c", 0, PIECE * 3))
    assert isinstance(await answer(one), peer.Put)
    one.say(peer.DropUpload("c"), peer.PutPiece(7, "d", 0, PIECE * 3))
    assert isinstance(await answer(one), peer.Put)
    assert len(files(staged)) == 1


@pytest.mark.rule("ST5")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
async def test_an_upload_that_fills_the_disk_gives_it_back(
    host: Host, staged: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Half a blob stayed as long as its peer did, and nobody could commit for want of room."""
    one = FakePeer(host)
    one.mount(mount_key=KEY)
    assert isinstance(await put(one, "a", 0), peer.Put)

    def full(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        failed = await put(one, "a", 1000)
    assert failed.kind == {errno.ENOSPC: "disk_full", errno.EFBIG: "store"}[number]
    assert files(staged) == []
    assert (await put(one, "a", 2000)).kind == failed.kind  # and not that the host was started anew
    assert isinstance(await put(one, "a", 0), peer.Put)


async def test_what_comes_back_for_a_mount_that_is_gone_is_removed(
    host: Host, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vote that ended behind its peer gave its files back to nobody."""
    monkeypatch.setattr(held, "GRACE_S", 0.0)
    one = FakePeer(host)
    mounted = one.mount(mount_key=KEY)
    assert isinstance(await put(one, "a", 0), peer.Put)
    one.say(peer.Vote(1, 0, [write(mounted)], [], {}, Label(), blobs={mounted.first_oid: "a"}))
    mine = one.connection._writing.held
    one.connection.lost()  # before or behind the vote, as it comes
    other = FakePeer(host)
    first = other.mount()
    other.say(peer.Commit(1, b"o" * 20, 0, [write(first)], [], {}, Label()))
    assert isinstance(await answer(other), peer.Committed)
    async with asyncio.timeout(10):
        while files(staged) or host.ledger.votes.open:
            await asyncio.sleep(0)
    assert mine.is_over
    assert not mine.uploads
