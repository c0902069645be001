"""The threads for peers' questions (`hubbub.gateway.questioning`): who waits for whom, and who does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
import pytest_asyncio

from hubbub.gateway.peers import PeerOptions
from hubbub.gateway.questioning import THREADS, Questioning
from hubbub.kernel import LimitError
from hubbub.perspective.host import Host
from hubbub.store import MemoryStore
from hubbub.store.base import FeedEntry, StoreStats
from hubbub.wire import peer
from tests.unit.mount.test_mount_peers import FakePeer

READER = PeerOptions(read_only=True)


class SlowStore(MemoryStore):
    """Counts, and reads its feed, as long as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = threading.Event()
        self.begun: list[str] = []
        self.enough = threading.Semaphore(0)

    def stats(self) -> StoreStats:
        self._slow("stats")
        return super().stats()

    def feed(self, after: int = 0) -> Iterator[FeedEntry]:
        self._slow("feed")
        return super().feed(after)

    def _slow(self, what: str) -> None:
        self.begun.append(what)
        self.enough.release()
        assert self.may_end.wait(20)


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest_asyncio.fixture
async def host(store: SlowStore) -> AsyncIterator[Host]:
    made = Host(store)
    made.start()
    yield made
    store.may_end.set()
    await made.close()


def ask(method: str, *args: object) -> peer.Ask:
    return peer.Ask(1, method, msgspec.Raw(msgspec.msgpack.encode(args)))


def mounted(host: Host, options: PeerOptions | None = None) -> FakePeer:
    one = FakePeer(host, options)
    one.mount()
    return one


async def begun(store: SlowStore, count: int) -> None:
    for _ in range(count):
        assert await asyncio.to_thread(store.enough.acquire, timeout=10)


@pytest.mark.rule("PE7")
async def test_readers_that_count_hold_up_nobody_but_themselves(
    host: Host, store: SlowStore
) -> None:
    """They took every thread of the host: blobs, prefetches and all other questions waited."""
    readers = [mounted(host, READER) for _ in range(40)]
    for reader in readers:
        reader.say(ask("stats"))
    await begun(store, THREADS)
    writer, another = mounted(host), mounted(host, READER)
    writer.say(ask("identity"))
    another.say(ask("identity"))
    for one in (writer, another):
        (answer,) = await one.until(peer.Answer)
        assert isinstance(answer, peer.Answer)
    assert len(store.begun) == THREADS
    writer.say(ask("stats"))
    await begun(store, 1)
    store.may_end.set()
    for reader in readers:
        await reader.until(peer.Answer)


@pytest.mark.rule("PE7")
async def test_readers_that_look_through_the_whole_past_take_turns_too(
    host: Host, store: SlowStore
) -> None:
    readers = [mounted(host, READER) for _ in range(20)]
    for reader in readers:
        reader.say(peer.Follow(1, 5, False))
    await begun(store, THREADS)
    writer = mounted(host)
    writer.say(ask("identity"))
    await writer.until(peer.Answer)
    assert len(store.begun) == THREADS
    store.may_end.set()
    for reader in readers:
        await reader.until(peer.Pong)


async def test_what_a_peer_asked_for_before_it_went_does_not_begin(
    host: Host, store: SlowStore
) -> None:
    for _ in range(10):
        gone = mounted(host, READER)
        gone.say(ask("stats"))
        gone.say(peer.Follow(2, 5, False))
        await asyncio.sleep(0)  # its task has begun to wait
        gone.connection.lost()
    last = mounted(host, READER)
    last.say(ask("stats"))
    await begun(store, THREADS)  # all that was cancelled in the loop's next turns is, too
    store.may_end.set()
    await last.until(peer.Answer)
    assert len(store.begun) == THREADS + 1


@pytest.mark.rule("PE5")
async def test_what_waits_is_bounded() -> None:
    may_end = threading.Event()
    questions = Questioning("test", most_waiting=3)
    futures = [questions.begin(lambda: may_end.wait(10)) for _ in range(3)]
    with pytest.raises(LimitError, match="ask again later"):
        questions.begin(lambda: True)
    may_end.set()
    assert all(await asyncio.gather(*map(asyncio.wrap_future, futures)))
    await asyncio.sleep(0)
    assert await asyncio.wrap_future(questions.begin(lambda: 5)) == 5
