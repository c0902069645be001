"""Votes of peers at a host: commands and commits wait for them, and one outcome survives breaks and restarts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hubbub.gateway import held
from hubbub.kernel import (
    Changeset,
    ConflictError,
    DiskFullError,
    Label,
    Record,
    ReservedError,
)
from hubbub.mount import RemoteMount, Space
from hubbub.mount.base import Ballot
from hubbub.perspective.host import Host
from hubbub.space.connection import Connection
from hubbub.space.persistent import Persistent
from hubbub.store import MemoryStore, open_store
from tests.conformance.mount.serving import HostThread, free_port


class Count(Persistent, name="tests.votes.Count"):
    def __init__(self) -> None:
        self.value = 0


@pytest.fixture
def host() -> Iterator[HostThread]:
    made = HostThread(MemoryStore())
    yield made
    made.close()


def set_up(root: Any) -> None:
    for name in ("one", "other"):
        root[name] = Count()


def up(root: Any, name: str = "one") -> int:
    root[name].value += 1
    return int(root[name].value)


def vote_for_one(mount: RemoteMount) -> Ballot:
    """Vote for a change of ``one``, as a peer's transaction does."""
    connection = Space(mount).connect()
    up(connection.root)
    prepared = connection._open().objects.prepare()
    return mount.vote(Changeset(mount.begin(), prepared.records, label=Label()))


def later(host: HostThread, body: Callable[[Any], Any]) -> Any:
    """Begin a command; return its future, once everything before it has run."""
    call = host.host.call(lambda connection: body(connection.root), Label(command="test"))
    return asyncio.run_coroutine_threadsafe(call, host.loop)


def test_a_command_waits_for_the_vote_and_others_go_on(host: HostThread) -> None:
    host.command(set_up)
    mount = RemoteMount(host.url)
    ballot = vote_for_one(mount)
    waiting = [later(host, up) for _ in range(3)]
    assert host.command(lambda root: up(root, "other")) == 1
    assert host.command(lambda root: root["one"].value) == 0
    assert not any(future.done() for future in waiting)
    tid, _ = mount.finish(ballot)
    assert [future.result(20) for future in waiting] == [2, 3, 4]
    assert mount.load(0, tid).tid < tid
    mount.close()


def test_a_command_goes_on_when_the_vote_is_dropped(host: HostThread) -> None:
    host.command(set_up)
    mount = RemoteMount(host.url)
    ballot = vote_for_one(mount)
    waiting = later(host, up)
    host.command(lambda root: up(root, "other"))
    mount.drop(ballot)
    assert waiting.result(20) == 1
    mount.close()


def test_a_live_query_sees_a_vote_when_it_is_finished(host: HostThread) -> None:
    host.command(set_up)
    mount, watching = RemoteMount(host.url), Space(RemoteMount(host.url))
    values = watching.watch(lambda root: root["one"].value)
    assert next(values) == 0
    ballot = vote_for_one(mount)
    host.command(lambda root: up(root, "other"))
    mount.finish(ballot)
    assert next(values) == 1
    mount.close()
    watching.close()


def test_a_vote_of_a_peer_that_is_gone_is_dropped(
    host: HostThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "GRACE_S", 0.0)
    host.command(set_up)
    mount = RemoteMount(host.url)
    vote_for_one(mount)
    waiting = later(host, up)
    mount.close()
    assert waiting.result(20) == 1


def test_a_vote_outlives_a_broken_connection(host: HostThread) -> None:
    host.command(set_up)
    mount = RemoteMount(host.url)
    ballot = vote_for_one(mount)
    waiting = later(host, up)
    host.cut()
    mount.finish(ballot)
    assert waiting.result(20) == 2
    assert mount.stats.reconnects >= 1
    mount.close()


def test_a_finish_that_is_repeated_has_one_outcome(host: HostThread) -> None:
    host.command(set_up)
    mount = RemoteMount(host.url)
    ballot = vote_for_one(mount)
    # The answer is lost: whatever the host sends is cut off until the commit is settled.
    settled = threading.Event()

    def cut_off(commits: Any) -> None:
        if any(commit.label == Label() for commit in commits):
            host.host.remove_listener(cut_off)
            for stream in host.streams:
                stream.transport.abort()
            settled.set()

    host.call(host.host.on_settled, cut_off)
    tid, _ = mount.finish(ballot)
    assert settled.is_set()
    assert host.command(lambda root: root["one"].value) == 1
    assert mount.upkeep.history(ballot.changeset.writes[0].oid)[0] == tid  # type: ignore[union-attr]
    mount.close()


def test_a_host_that_is_started_between_vote_and_finish_stores_it_once(tmp_path: Path) -> None:
    path, port = tmp_path / "space.hub", free_port()
    first = HostThread(open_store(path), port=port)
    first.command(set_up)
    mount = RemoteMount(first.url)
    ballot = vote_for_one(mount)
    first.close()
    second = HostThread(open_store(path), port=port)
    tid, _ = mount.finish(ballot)
    assert second.command(lambda root: root["one"].value) == 1
    assert ballot.changeset is not None
    history = mount.upkeep.history(ballot.changeset.writes[0].oid)
    assert history[0] == tid
    assert len(history) == 2
    mount.close()
    second.close()


def test_a_vote_that_is_late_lets_commands_go_on(
    host: HostThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubbub.perspective.applying.VOTE_S", 0.0)
    host.command(set_up)
    mount = RemoteMount(host.url)
    vote_for_one(mount)
    assert later(host, up).result(20) == 1
    mount.close()


@pytest.mark.rule("ST5")
def test_votes_go_on_after_a_group_that_failed() -> None:
    class Full(MemoryStore):
        is_full = False

        def write(self, commits: Any) -> None:
            if self.is_full:
                raise DiskFullError("full")
            super().write(commits)

    store = Full()
    host = HostThread(store)
    host.command(set_up)
    mount = RemoteMount(host.url)
    mount.sync()
    store.is_full = True
    lost = later(host, lambda root: up(root, "other"))
    connection = Space(mount).connect()
    up(connection.root)
    prepared = connection._open().objects.prepare()
    record: Record = prepared.records[0]
    with pytest.raises(DiskFullError):
        lost.result(20)
    store.is_full = False
    ballot = mount.vote(Changeset(mount.begin(), [record]))
    mount.finish(ballot)
    assert host.command(lambda root: (root["one"].value, root["other"].value)) == (1, 0)
    mount.close()
    host.close()


async def test_who_waits_for_too_long_is_told_so() -> None:
    host = Host(MemoryStore())
    host.start()
    host._put_back._patience_s = 0.0

    def make(connection: Connection) -> int:
        connection.root["one"] = Count()
        return 0

    await host.call(make, Label())
    oid = await host.read(lambda c: int.from_bytes(c.root["one"]._p_oid, "big"))
    record = host.ledger.load(oid)
    voted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    writes = [Record(oid, record.tid, record.class_name, record.refs, record.payload)]
    host.vote(Changeset(0, writes), voted.set_result)
    vote = (await voted).value
    with pytest.raises(ReservedError, match="has voted"):
        await host.call(lambda c: up(c.root), Label())
    # Who still waits at the end is told, too.
    host._put_back._patience_s = 60.0
    waiting = asyncio.ensure_future(host.call(lambda c: up(c.root), Label()))
    refused = asyncio.ensure_future(host.call(lambda c: c.root["one"].value, Label()))
    assert await refused == 0
    await host.close()
    with pytest.raises(ReservedError):
        await waiting
    assert vote.number in host.ledger.votes.open


def test_a_conflict_after_a_wait_is_told(host: HostThread) -> None:
    host.command(set_up)
    one, two = RemoteMount(host.url), RemoteMount(host.url)
    ballot = vote_for_one(one)
    ends: list[Any] = []

    def commit() -> None:
        try:
            vote_for_one(two)
        except ConflictError as error:
            ends.append(error)

    thread = threading.Thread(target=commit)
    thread.start()
    tid, _ = one.finish(ballot)
    thread.join(20)
    # It came behind, or had to run again: in no case are there two of them.
    assert all(error.committed_tid == tid for error in ends)
    for mount in (one, two):
        mount.close()
