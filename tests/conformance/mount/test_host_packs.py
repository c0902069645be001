"""A host's space is packed while peers and users use it: nobody reads a wrong object (ST7)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hubbub.app import Hub
from hubbub.gateway.hourly import HourlyPack
from hubbub.gateway.peers import PeerOptions
from hubbub.kernel import (
    Changeset,
    Commit,
    ConfigurationError,
    Job,
    JobStoppedError,
    Label,
    PackedError,
    ReadOnlyError,
    Record,
    SnapshotGoneError,
    Tid,
    UnknownObjectError,
)
from hubbub.mount import RemoteMount, Space
from hubbub.mount import open as open_space
from hubbub.space.persistent import Ephemeral, Persistent
from hubbub.store import MemoryStore
from hubbub.store.upkeep import SPACE
from tests.conformance.mount.serving import HostThread

pytestmark = pytest.mark.rule("ST7")


class Kept(Persistent, name="tests.packs.Kept"):
    def __init__(self, value: int) -> None:
        self.value = value


class Holder(Ephemeral, name="tests.packs.Holder"):
    pass


def host_with(lease_s: float) -> HostThread:
    return HostThread(MemoryStore(), options=PeerOptions(lease_s=lease_s))


@pytest.fixture
def host() -> Iterator[HostThread]:
    made = host_with(0.0)
    yield made
    made.close()


def count_up(space: Space, times: int) -> list[int]:
    tids = []
    for number in range(times):
        space.run(lambda root, number=number: root.__setitem__("kept", Kept(number)))
        tids.append(int(space.tid))
    return tids


def test_a_peer_packs_and_is_told_how_far_it_is(host: HostThread) -> None:
    space = Space(RemoteMount(host.url))
    count_up(space, 20)
    steps: list[tuple[str, int, int]] = []
    report = space.pack(job=Job(lambda *step: steps.append(step)))
    assert report.tid == space.tid
    assert report.objects == 19
    assert steps
    assert space.read(lambda root: root["kept"].value) == 19
    assert list(space.verify()) == []
    assert space.count().packed_tid == report.tid
    assert len(space._mount.upkeep.history(0)) == 1
    space.close()


def test_no_peer_keeps_what_a_pack_has_collected(host: HostThread) -> None:
    space, other = Space(RemoteMount(host.url)), RemoteMount(host.url)
    count_up(space, 2)
    lost = space.read(lambda root: int.from_bytes(root["kept"]._p_oid, "big"))
    assert other.load(lost, other.begin()).class_name == "tests.packs.Kept"
    space.run(lambda root: root.__delitem__("kept"))
    other.sync()
    assert other.load(lost, other.begin()).oid == lost
    space.pack()
    at = other.sync()
    with pytest.raises(UnknownObjectError):
        other.load(lost, at)
    other.close()
    space.close()


def test_a_job_is_stopped_over_the_network(host: HostThread) -> None:
    space = Space(RemoteMount(host.url))
    count_up(space, 5)
    job = Job()
    job.stop()
    with pytest.raises(JobStoppedError):
        space.pack(job=job)
    assert space.read(lambda root: root["kept"].value) == 4
    # A progress that fails stops it, too.
    started = threading.Event()

    def fails(*_: object) -> None:
        started.set()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        space.pack(job=Job(fails))
    assert started.is_set()
    space.close()


def test_a_snapshot_within_its_lease_stays_readable() -> None:
    host = host_with(60.0)
    mount, other = RemoteMount(host.url), RemoteMount(host.url)
    space = Space(mount)
    tids = count_up(space, 3)
    other.sync()
    past = Space(other).connect(at=tids[0])
    report = Space(other).pack()
    assert report.tid <= tids[0]
    assert past.root["kept"].value == 0
    for each in (mount, other, host):
        each.close()


def test_beyond_the_lease_it_is_an_error_and_never_a_wrong_object(host: HostThread) -> None:
    mount, other = RemoteMount(host.url), RemoteMount(host.url)
    space = Space(mount)
    tids = count_up(space, 3)
    old = other.sync()
    count_up(space, 3)
    past = Space(other).connect(at=tids[1])
    assert space.pack().tid > old
    with pytest.raises(SnapshotGoneError, match="lease"):
        other.load(0, old)
    with pytest.raises(PackedError):
        past.root["kept"].value  # noqa: B018 - it wakes
    with pytest.raises(SnapshotGoneError, match="run it again"):
        other.commit(Changeset(old, [Record(other.new_oid(), 0, "t:T", (), b"")]))
    # A transaction that is repeated begins at the newest.
    other.sync()
    assert Space(other).run(lambda root: root["kept"].value) == 2
    for each in (mount, other):
        each.close()


def test_what_only_ephemeral_objects_refer_to_is_kept(host: HostThread) -> None:
    class Holding:
        oid = 0

    def make(root: Any) -> None:
        root["kept"] = Kept(7)

    def hide(root: Any) -> int:
        holder = Holder()
        holder.kept = root["kept"]
        holder.kept.value += 1
        jar = root._p_jar
        oid = int(jar.add(holder))
        del root["kept"]
        return oid

    host.command(make)
    oid = host.command(hide)
    space = Space(RemoteMount(host.url))
    assert space.pack().objects == 0
    value = host.command(lambda root: root._p_jar.get(oid).kept.value)
    assert value == 8
    space.close()


def test_a_declared_retention_is_kept_and_packed_by_itself(host: HostThread) -> None:
    space = Space(RemoteMount(host.url))
    count_up(space, 3)
    space.declare_retention("30d")
    assert space.retention == 30 * 86_400
    with pytest.raises(ConfigurationError, match="force"):
        space.pack(before=int(space.tid))
    assert space.pack().records == 0
    space.declare_retention(0.0)
    hourly = host.call(HourlyPack, host.host)
    report = asyncio.run_coroutine_threadsafe(hourly.pack(), host.loop).result(20)
    assert report is not None
    assert report.records == 4
    assert len(space._mount.upkeep.history(0)) == 1
    space.declare_retention(None)
    assert space.retention is None
    assert asyncio.run_coroutine_threadsafe(hourly.pack(), host.loop).result(20) is None
    asyncio.run_coroutine_threadsafe(hourly.close(), host.loop).result(20)
    space.close()


async def test_a_hub_without_peers_packs_its_space_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = str(tmp_path / "space.hub")
    with open_space(path) as space:
        count_up(space, 3)
        space.declare_retention(0.0)
        assert len(space._mount.upkeep.history(0)) == 3
    packed = asyncio.Event()
    pack = HourlyPack.pack

    async def noting(self: HourlyPack) -> Any:
        report = await pack(self)
        packed.set()
        monkeypatch.setattr("hubbub.gateway.hourly.PACK_EVERY_S", 3600.0)
        return report

    monkeypatch.setattr(HourlyPack, "pack", noting)
    monkeypatch.setattr("hubbub.gateway.hourly.PACK_EVERY_S", 0.0)
    hub = Hub()
    await hub.start(data=path)
    await asyncio.wait_for(packed.wait(), 20)
    await hub.stop()
    with open_space(path) as space:
        assert len(space._mount.upkeep.history(0)) == 1
        assert space.read(lambda root: root["kept"].value) == 2


async def test_a_hub_that_stops_stops_its_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, stopped = threading.Event(), threading.Event()

    class Slow(MemoryStore):
        def pack(self, *args: Any, job: Job | None = None, **more: Any) -> Any:
            assert job is not None
            begun.set()
            while True:
                try:
                    job.step("packing", 0)
                except JobStoppedError:
                    stopped.set()
                    raise

    monkeypatch.setattr("hubbub.gateway.hourly.PACK_EVERY_S", 0.0)
    store = Slow()
    store.write([Commit(Tid(1), Label(), rows=[(SPACE, b"keep", msgspec.msgpack.encode(0.0))])])
    hub = Hub()
    await hub.start(store)
    assert await asyncio.to_thread(begun.wait, 20)
    await hub.stop()
    assert stopped.is_set()


def test_who_may_only_read_may_ask_what_only_reads(host: HostThread) -> None:
    writer = Space(RemoteMount(host.url))
    count_up(writer, 2)
    reader = Space(RemoteMount(host.url, read_only=True))
    reader.sync()
    upkeep = reader._mount.upkeep
    assert len(upkeep.history(0)) == 2
    assert reader.count().objects >= 2
    assert reader.retention is None
    for forbidden in (
        upkeep.pack,
        upkeep.all_rows,
        lambda: upkeep.declare_retention(1.0),
    ):
        with pytest.raises(ReadOnlyError, match="may write"):
            forbidden()
    with pytest.raises(UnknownObjectError):
        upkeep.revision(77, 1)
    writer.close()
    reader.close()
