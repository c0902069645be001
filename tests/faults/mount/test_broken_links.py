"""Links that break: nothing is lost, nothing is done twice, nothing stale is served."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hubbub.gateway.peers import PeerOptions
from hubbub.kernel import (
    BrokenError,
    Changeset,
    ConflictError,
    OutcomeUnknownError,
    Record,
)
from hubbub.mount import RemoteMount, Space
from hubbub.store import MemoryStore
from tests.conformance.mount.serving import HostThread, free_port
from tests.faults.mount.proxy import Proxy


@pytest.fixture
def server() -> Iterator[HostThread]:
    made = HostThread(MemoryStore(), options=PeerOptions(heartbeat_s=0.2))
    yield made
    made.close()


def record(oid: int, payload: bytes, read_tid: int = 0) -> Record:
    return Record(oid, read_tid, "test:Thing", (), payload)


def put(mount: RemoteMount, oid: int, payload: bytes, read_tid: int = 0) -> int:
    return mount.commit(Changeset(mount.begin(), [record(oid, payload, read_tid)]))[0]


class Counting:
    """A thread that adds to one shared number and checks that what it sees never goes back."""

    def __init__(self, mount: RemoteMount, oid: int, times: int) -> None:
        self.mount, self.oid, self.times = mount, oid, times
        self.acknowledged = 0
        self.unknown = 0
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        newest, number = 0, 0
        try:
            while self.acknowledged < self.times:
                at = self.mount.begin()
                assert at >= newest, "a snapshot went back"
                old = self.mount.load(self.oid, at)
                assert int(old.payload) >= number, "a value went back"
                newest, number = at, int(old.payload)
                new = record(self.oid, b"%d" % (number + 1), old.tid)
                try:
                    tid, _ = self.mount.commit(Changeset(at, [new]))
                except ConflictError:
                    self.mount.sync()
                    continue
                except OutcomeUnknownError:
                    self.unknown += 1
                    continue
                self.acknowledged += 1
                newest, number = max(newest, tid), number + 1
        except BaseException as error:
            self.failure = error

    def join(self) -> int:
        self.thread.join(90)
        if self.failure is not None:
            raise self.failure
        return self.acknowledged


@pytest.mark.rule("ST2", "SP1")
@pytest.mark.parametrize("seed", range(4))
def test_links_cut_anywhere_lose_and_repeat_nothing(server: HostThread, seed: int) -> None:
    proxy = Proxy(server.port, budget=6000, seed=seed)
    direct = RemoteMount(server.url)
    mounts: list[RemoteMount] = []
    try:
        oid = direct.new_oid()
        put(direct, oid, b"0")
        while len(mounts) < 2:
            with contextlib.suppress(BrokenError):
                mounts.append(RemoteMount(proxy.url))
        counting = [Counting(mounts[i % 2], oid, 30) for i in range(4)]
        counting.append(Counting(direct, oid, 30))
        assert sum(each.join() for each in counting) == 150
        assert sum(each.unknown for each in counting) == 0
        direct.sync()
        assert direct.load(oid, direct.begin()).payload == b"150"
        assert proxy.cuts > 3
        assert sum(mount.stats.reconnects for mount in mounts) > 2
    finally:
        for mount in mounts:
            mount.close()
        direct.close()
        proxy.close()


class HostProcess:
    def __init__(self, path: Path, port: int) -> None:
        script = Path(__file__).with_name("host_process.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(path), str(port)], stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.mark.rule("ST2")
def test_a_killed_host_keeps_each_acknowledged_commit_once(tmp_path: Path) -> None:
    port = free_port()
    path = tmp_path / "space.hub"
    host = HostProcess(path, port)
    one, two = (RemoteMount(f"hub://127.0.0.1:{port}") for _ in range(2))
    try:
        oid = one.new_oid()
        put(one, oid, b"0")
        two.sync()
        counting = [Counting((one, two)[i % 2], oid, 60) for i in range(4)]
        for _ in range(3):
            before = sum(each.acknowledged for each in counting)
            while sum(each.acknowledged for each in counting) < min(before + 25, 230):
                one.wait(one.begin(), 0.2)
            host.kill()
            host = HostProcess(path, port)
        assert sum(each.join() for each in counting) == 240
        one.sync()
        assert one.load(oid, one.begin()).payload == b"240"
        assert one.stats.reconnects >= 3
    finally:
        one.close()
        two.close()
        host.kill()


@pytest.mark.rule("SP1")
def test_a_snapshot_outlives_the_connection_and_the_host(tmp_path: Path) -> None:
    port = free_port()
    path = tmp_path / "space.hub"
    host = HostProcess(path, port)
    one, two = (RemoteMount(f"hub://127.0.0.1:{port}") for _ in range(2))
    try:
        oid, late = one.new_oid(), one.new_oid()
        first = put(one, oid, b"1")
        two.sync()
        snapshot = two.begin()
        put(one, oid, b"2", first)
        host.kill()
        host = HostProcess(path, port)
        put(one, late, b"x")
        assert two.load(oid, snapshot).payload == b"1"
        assert two.load(oid, two.begin()).payload == b"2"
        assert two.changed_since(snapshot)[1] is None
        # An oid that the killed host gave out is not given out again once it is used.
        later = RemoteMount(f"hub://127.0.0.1:{port}")
        given = {later.new_oid() for _ in range(3000)}
        assert late not in given
        later.close()
    finally:
        one.close()
        two.close()
        host.kill()


def test_after_a_short_break_only_what_changed_is_dropped(server: HostThread) -> None:
    proxy = Proxy(server.port)
    one, two = RemoteMount(server.url), RemoteMount(proxy.url)
    try:
        kept, changing = one.new_oid(), one.new_oid()
        put(one, kept, b"kept")
        first = put(one, changing, b"1")
        two.sync()
        before = two.begin()
        for oid in (kept, changing):
            two.load(oid, before)
        proxy.cut()
        put(one, changing, b"2", first)
        two.sync()
        assert two.stats.reconnects == 1
        assert two.changed_since(before)[1] == frozenset({changing})
        requests = two.stats.requests
        assert two.load(kept, two.begin()).payload == b"kept"
        assert two.stats.requests == requests
        assert two.load(changing, two.begin()).payload == b"2"
        assert two.load(changing, before).payload == b"1"
    finally:
        one.close()
        two.close()
        proxy.close()


def test_a_broken_link_is_mended_before_anything_is_served(server: HostThread) -> None:
    one, two = RemoteMount(server.url), RemoteMount(server.url)
    try:
        oid = one.new_oid()
        first = put(one, oid, b"1")
        two.sync()
        two.load(oid, two.begin())
        server.cut()
        second = put(one, oid, b"2", first)
        assert two.begin() >= second
        assert two.load(oid, two.begin()).payload == b"2"
    finally:
        one.close()
        two.close()


@pytest.mark.rule("ST2")
def test_a_commit_in_flight_is_answered_with_its_first_outcome(server: HostThread) -> None:
    proxy = Proxy(server.port)
    one, direct = RemoteMount(proxy.url), RemoteMount(server.url)
    try:
        oid = one.new_oid()
        proxy_in = one._link
        assert proxy_in is not None
        # The host gets the commit; its answer gets lost.
        held = threading.Event()
        receive = proxy_in.receive
        proxy_in.receive = lambda: [] if not held.is_set() else receive()  # type: ignore[method-assign]
        done: list[int] = []
        thread = threading.Thread(target=lambda: done.append(put_at(one, oid)))
        thread.start()
        tid = direct.wait(0, 10)
        proxy.cut()
        held.set()
        thread.join(10)
        assert done == [tid]
        direct.sync()
        assert direct.begin() == tid
        assert one.load(oid, one.begin()).tid == tid
    finally:
        one.close()
        direct.close()
        proxy.close()


def put_at(mount: RemoteMount, oid: int) -> int:
    return mount.commit(Changeset(0, [record(oid, b"x")]))[0]


def test_without_a_host_calls_fail_in_time_and_say_why(server: HostThread) -> None:
    proxy = Proxy(server.port)
    mount = RemoteMount(proxy.url, wait_timeout_s=0.3)
    oid = mount.new_oid()
    put(mount, oid, b"1")
    proxy.stall()
    started = time.monotonic()
    with pytest.raises(OutcomeUnknownError, match="may be stored or not"):
        # It is sent, and swallowed; then nobody is there any more.
        threading.Timer(0.1, proxy.close).start()
        put_at(mount, mount.new_oid())
    with pytest.raises(
        BrokenError, match=r"no connection to 127\.0\.0\.1:\d+ since \d\d:\d\d:\d\d"
    ):
        mount.begin()
    with pytest.raises(BrokenError, match="no connection"):
        mount.commit(Changeset(0, [record(oid, b"y")]))
    assert mount.wait(mount._replica.newest, 0.1) == mount._replica.newest
    assert time.monotonic() - started < 10
    mount.close()


def test_a_silent_host_is_left(server: HostThread) -> None:
    proxy = Proxy(server.port)
    mount = RemoteMount(proxy.url)
    try:
        oid = mount.new_oid()
        put(mount, oid, b"1")
        mount._replica.cache.clear()
        proxy.stall()
        thread = threading.Thread(target=mount.load, args=(oid, mount._replica.newest))
        thread.start()
        assert mount.wait(mount._replica.newest, 0.01)
        thread.join(0.3)
        assert thread.is_alive()
        proxy.flow()
        thread.join(10)
        assert not thread.is_alive()
        assert mount.stats.reconnects == 1
    finally:
        mount.close()
        proxy.close()


def test_waiting_goes_on_when_the_host_is_back(tmp_path: Path) -> None:
    store = MemoryStore()
    port = free_port()
    server = HostThread(store, port=port)
    mount = RemoteMount(server.url, wait_timeout_s=0.1)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(mount.wait(0)))
    thread.start()
    server.close()
    server = HostThread(store.reopen(), port=port)
    other = RemoteMount(server.url)
    try:
        tid = put(other, other.new_oid(), b"x")
        thread.join(20)
        assert seen == [tid]
    finally:
        mount.close()
        other.close()
        server.close()


@pytest.mark.rule("SP1")
def test_news_that_an_interrupt_has_cut_off_are_told_again(
    server: HostThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = Space(RemoteMount(server.url)), Space(RemoteMount(server.url))
    mount = two._mount
    assert isinstance(mount, RemoteMount)
    one.run(lambda root: root.update(n=1))
    two.sync()
    assert two.read(lambda root: root["n"]) == 1
    apply = mount._calls.apply
    interrupts = [KeyboardInterrupt()]

    def interrupted(messages: Any) -> None:
        if interrupts and messages:
            raise interrupts.pop()
        apply(messages)

    monkeypatch.setattr(mount._calls, "apply", interrupted)
    one.run(lambda root: root.update(n=2))
    with pytest.raises(KeyboardInterrupt):
        two.sync()
    two.sync()
    assert two.read(lambda root: root["n"]) == 2
    assert two.stats.reconnects == 1
    for space in (one, two):
        space.close()
