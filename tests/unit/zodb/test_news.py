"""What others commit reaches ZODB, in tid order and before it is told of a newer last transaction."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import transaction
import ZODB
from persistent.mapping import PersistentMapping
from ZODB.Connection import TransactionMetaData
from ZODB.utils import p64

from hubbub.store import open_store
from hubbub.zodb import HubbubStorage
from tests.conformance.mount.serving import HostThread


@pytest.fixture
def host() -> Iterator[HostThread]:
    served = HostThread(open_store("memory:"))
    yield served
    served.close()


class Wrapper:
    """Notes what it is told, and what the last transaction was then."""

    def __init__(self, storage: HubbubStorage) -> None:
        self.storage = storage
        self.told: list[tuple[bytes, set[bytes]]] = []
        self.last: list[bytes] = []
        self.changed = threading.Condition()
        storage.registerDB(self)

    def transform_record_data(self, data: bytes) -> bytes:
        return data

    untransform_record_data = transform_record_data

    def invalidate(self, tid: bytes, oids: list[bytes]) -> None:
        with self.changed:
            self.told.append((tid, set(oids)))
            self.last.append(self.storage.lastTransaction())
            self.changed.notify_all()

    def invalidateCache(self) -> None:  # noqa: N802
        raise AssertionError("nothing is unknown here")


def stored(storage: HubbubStorage, *oids: int, serial: bytes = p64(0)) -> bytes:
    meta = TransactionMetaData()
    storage.tpc_begin(meta)
    for oid in oids:
        storage.store(p64(oid), serial, b"x", "", meta)
    storage.tpc_vote(meta)
    return storage.tpc_finish(meta)


def test_a_commit_of_another_process_is_told_before_the_last_transaction_moves(
    host: HostThread,
) -> None:
    here, there = HubbubStorage(host.url), HubbubStorage(host.url)
    wrapper = Wrapper(here)
    before = here.lastTransaction()
    tid = stored(there, 1, 2)
    with wrapper.changed:
        assert wrapper.changed.wait_for(lambda: wrapper.told, 20)
    assert wrapper.told == [(tid, {p64(1), p64(2)})]
    assert wrapper.last == [before]
    here.sync()
    assert here.lastTransaction() == tid
    here.close()
    there.close()


def test_own_commits_are_told_by_their_callbacks_alone(host: HostThread) -> None:
    storage = HubbubStorage(host.url)
    wrapper = Wrapper(storage)
    seen: list[tuple[bytes, bytes]] = []
    meta = TransactionMetaData()
    storage.tpc_begin(meta)
    storage.store(p64(1), p64(0), b"x", "", meta)
    storage.tpc_vote(meta)
    tid = storage.tpc_finish(meta, lambda tid: seen.append((tid, storage.lastTransaction())))
    assert [told for told, _ in seen] == [tid]
    assert seen[0][1] < tid
    assert storage.lastTransaction() == tid
    storage.sync()
    assert wrapper.told == []
    storage.close()


def test_many_threads_commit_at_once_and_their_callbacks_come_in_tid_order() -> None:
    storage = HubbubStorage("memory:")
    wrapper = Wrapper(storage)
    called: list[bytes] = []

    def commit(number: int) -> None:
        for round_ in range(20):
            meta = TransactionMetaData()
            storage.tpc_begin(meta)
            storage.store(p64(1 + number * 100 + round_), p64(0), b"x", "", meta)
            storage.tpc_vote(meta)
            storage.tpc_finish(meta, called.append)

    threads = [threading.Thread(target=commit, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(called) == 120
    assert called == sorted(called)
    assert wrapper.told == []
    assert storage.lastTransaction() == called[-1]
    storage.close()


def test_a_database_sees_what_another_one_commits(host: HostThread) -> None:
    ours, theirs = (ZODB.DB(HubbubStorage(host.url, server_sync=True)) for _ in range(2))
    with ours.transaction() as connection:
        connection.root()["map"] = PersistentMapping()
    manager = transaction.TransactionManager()
    watching = ours.open(manager)
    for number in range(5):
        with theirs.transaction() as connection:
            connection.root()["map"]["n"] = number
        manager.begin()
        assert watching.root()["map"]["n"] == number
    manager.abort()
    watching.close()
    ours.close()
    theirs.close()
