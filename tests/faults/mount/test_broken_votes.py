"""Votes, questions and blobs over links that are cut anywhere: each outcome is the first one, and nothing is mixed up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hubbub.kernel import BrokenError, Changeset, Label, OutcomeUnknownError, Record
from hubbub.mount import RemoteMount
from hubbub.store import MemoryStore
from tests.conformance.mount.serving import HostThread
from tests.faults.mount.proxy import Proxy


@pytest.fixture
def server() -> Iterator[HostThread]:
    made = HostThread(MemoryStore())
    yield made
    made.close()


def mounted(url: str, **options: Any) -> RemoteMount:
    """Mount, however often it is cut before that."""
    while True:
        with contextlib.suppress(BrokenError):
            return RemoteMount(url, **options)


def count(mount: RemoteMount, oid: int) -> tuple[int, int]:
    record = mount.load(oid, mount.sync())
    return record.tid, int(record.payload)


@pytest.mark.parametrize("seed", range(2))
def test_votes_over_links_that_are_cut_anywhere_count_once(server: HostThread, seed: int) -> None:
    steady = RemoteMount(server.url)
    proxy = Proxy(server.port, budget=2500, seed=seed)
    mount = mounted(proxy.url)
    try:
        oid = mount.new_oid()
        label = Label(command="test")
        tid, _ = mount.commit(Changeset(0, [Record(oid, 0, "t:T", (), b"0")], label=label))
        for number in range(1, 21):
            # It was finished once and only once, so this is what it follows.
            assert count(mount, oid) == (tid, number - 1)
            record = Record(oid, tid, "t:T", (), b"%d" % number)
            ballot = mount.vote(Changeset(tid, [record], label=label))
            if number % 5 == 0:
                mount.drop(ballot)
                mount.sync()
                ballot = mount.vote(Changeset(tid, [record], label=label))
            tid, merged = mount.finish(ballot)
            assert set(merged) <= {oid}
        assert count(steady, oid) == (tid, 20)
        assert len(steady.upkeep.history(oid)) == 21
        assert mount.stats.reconnects >= 2
    finally:
        mount.close()
        steady.close()
        proxy.close()


@pytest.mark.parametrize("seed", range(1))
def test_blobs_over_links_that_are_cut_anywhere_arrive_whole(
    server: HostThread, tmp_path: Path, seed: int
) -> None:
    proxy = Proxy(server.port, budget=6_000_000, seed=seed)
    mount = mounted(proxy.url)
    other = mounted(proxy.url, blob_dir=tmp_path / "kept")
    try:
        data = bytes(range(256)) * 16_384  # four pieces
        oid, tid = mount.new_oid(), 0
        for number in range(4):
            staged = mount.stage()
            staged.write_bytes(b"%d" % number + data)
            record = Record(oid, tid, "t:T", (), b"")
            try:
                tid, _ = mount.commit(Changeset(0, [record], blobs={oid: staged.name}))
            except OutcomeUnknownError:
                pytest.fail("a repeat has the first outcome")
            other.sync()
            assert other.blob(oid, tid).read_bytes() == b"%d" % number + data
        assert proxy.cuts >= 2
        assert len(mount.upkeep.history(oid)) == 4
    finally:
        mount.close()
        other.close()
        proxy.close()


def test_questions_over_links_that_are_cut_anywhere_are_answered(server: HostThread) -> None:
    steady = RemoteMount(server.url)
    oids = [steady.new_oid() for _ in range(50)]
    records = [Record(oid, 0, "t:T", (), b"x" * 50) for oid in oids]
    tid, _ = steady.commit(Changeset(0, records))
    proxy = Proxy(server.port, budget=20_000, seed=1)
    mount = mounted(proxy.url)
    try:
        for _ in range(8):
            assert mount.upkeep.history(oids[0]) == [tid]
            assert [r.oid for r in mount.upkeep.records_of(tid)] == oids
            assert [r.oid for r in mount.upkeep.current(-1, tid)] == sorted(oids)
            mount.cache.clear()
            assert mount.prefetch(oids, tid) == 50
        assert mount.stats.reconnects >= 2
    finally:
        mount.close()
        steady.close()
        proxy.close()
