"""Blobs in a host's commands, and over connections and hosts that break."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hubbub.gateway import held
from hubbub.gateway.told import Peers
from hubbub.kernel import Changeset, DiskFullError, Label, Record
from hubbub.mount import RemoteMount, Space, blobs
from hubbub.space.blob import Blob
from hubbub.store import open_store
from hubbub.wire import peer
from tests.conformance.mount.serving import HostThread, free_port


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "space.hub"


@pytest.fixture
def host(path: Path) -> Iterator[HostThread]:
    made = HostThread(open_store(path))
    yield made
    made.close()


def staged_files(path: Path) -> list[Path]:
    return list((path.parent / f"{path.name}-blobs" / "staged").glob("*"))


def test_commands_write_and_read_blobs_before_they_are_durable(host: HostThread) -> None:
    def put(root: Any) -> None:
        root["blob"] = Blob(b"from a command")

    def extend(root: Any) -> bytes:
        with root["blob"].open("a") as file:
            file.write(b", and another")
        with root["blob"].open() as file:
            file.seek(7)
            assert file.read(7) == b"command"
        return bytes(root["blob"].read())

    # Both in one group, most likely: the second reads what is not in its place yet.
    async def both() -> tuple[Any, Any]:
        label = Label(command="test")
        return await asyncio.gather(
            host.host.call(lambda connection: put(connection.root), label),
            host.host.call(lambda connection: extend(connection.root), label),
        )

    ends = asyncio.run_coroutine_threadsafe(both(), host.loop).result(20)
    assert tuple(ends) == (None, b"from a command, and another")
    space = Space(RemoteMount(host.url))
    assert space.read(lambda root: root["blob"].read()) == b"from a command, and another"
    space.run(lambda root: root["blob"].write_from(b"from a peer"))
    assert host.command(lambda root: root["blob"].read()) == b"from a peer"
    space.close()


def test_a_command_that_fails_leaves_no_file(host: HostThread, path: Path) -> None:
    def fails(root: Any) -> None:
        root["blob"] = Blob(b"x")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        host.command(fails)
    assert not staged_files(path)


def test_uploads_of_a_peer_that_is_gone_are_dropped(
    host: HostThread, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "GRACE_S", 0.0)
    gone = threading.Event()
    unstage = host.host.live.blobs.unstage

    def unstaged(name: str) -> None:
        unstage(name)
        gone.set()

    peers = host.call(Peers.of, host.host)
    monkeypatch.setattr(peers.holding, "_unstage", unstaged)
    mount = RemoteMount(host.url)
    staged = mount.stage()
    staged.write_bytes(b"x" * 3_000_000)
    mount._blobs.upload([staged.name])
    assert len(staged_files(path)) == 1
    mount.close()
    assert gone.wait(20)
    assert not staged_files(path)
    assert not staged.exists()


def test_an_upload_that_was_not_finished_goes_with_its_file(
    host: HostThread, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only whole uploads were dropped; the part of one that had failed stayed with the host."""
    mount = RemoteMount(host.url)
    staged = mount.stage()
    staged.write_bytes(b"x" * 3_000_000)

    def torn(path: Path) -> Iterator[peer.PutPiece]:
        yield peer.PutPiece(0, path.name, 0, b"x")
        raise DiskFullError("a piece later")

    with monkeypatch.context() as patched:
        patched.setattr(blobs, "_pieces", torn)
        with pytest.raises(DiskFullError):
            mount._blobs.upload([staged.name])
    mount.sync()
    assert len(staged_files(path)) == 1
    mount.unstage(staged.name)
    mount.sync()  # behind what it was told
    assert not staged_files(path)
    mount.close()


def test_a_broken_connection_costs_no_upload(host: HostThread) -> None:
    mount = RemoteMount(host.url)
    staged = mount.stage()
    staged.write_bytes(b"x" * 3_000_000)
    mount._blobs.upload([staged.name])
    sent = mount.stats.bytes_out
    host.cut()
    oid = mount.new_oid()
    tid, _ = mount.commit(Changeset(0, [Record(oid, 0, "t:T", (), b"")], blobs={oid: staged.name}))
    assert mount.stats.bytes_out - sent < 1_000_000
    other = RemoteMount(host.url)
    assert other.blob(oid, tid).read_bytes() == b"x" * 3_000_000
    mount.close()
    other.close()


def test_a_host_that_was_started_anew_gets_the_upload_again(path: Path) -> None:
    port = free_port()
    first = HostThread(open_store(path), port=port)
    mount = RemoteMount(first.url)
    staged = mount.stage()
    staged.write_bytes(b"y" * 3_000_000)
    mount._blobs.upload([staged.name])
    oid = mount.new_oid()
    first.close()
    second = HostThread(open_store(path), port=port)
    tid, _ = mount.commit(Changeset(0, [Record(oid, 0, "t:T", (), b"")], blobs={oid: staged.name}))
    other = RemoteMount(second.url)
    assert other.blob(oid, tid).read_bytes() == b"y" * 3_000_000
    for each in (mount, other, second):
        each.close()


def test_a_download_goes_on_where_it_was_cut(host: HostThread, tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    writer = Space(RemoteMount(host.url))
    writer.run(lambda root: root.__setitem__("blob", Blob(data)))
    folder = tmp_path / "kept"
    mount = RemoteMount(host.url, blob_dir=folder)
    blob = Space(mount).connect().root["blob"]
    assert blob.size == len(data)
    oid, tid = (int.from_bytes(part, "big") for part in (blob._p_oid, blob._p_serial))
    # What a run before this one had got.
    (folder / f"{oid:016x}-{tid:016x}.part").parent.mkdir()
    (folder / f"{oid:016x}-{tid:016x}.part").write_bytes(data[:4_000_000])
    before = mount.stats.bytes_in
    host.cut()
    assert blob.read() == data
    assert mount.stats.bytes_in - before < 1_500_000
    mount.close()
    writer.close()
