"""Hosts that know less than their peers, or have much to tell."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from hubbub.gateway.peers import PeerOptions
from hubbub.kernel import ConflictError, Label
from hubbub.mount import RemoteMount, Space
from hubbub.space.persistent import Persistent
from hubbub.store import MemoryStore
from tests.conformance.mount.serving import HostThread, free_port
from tests.faults.mount.test_broken_links import HostProcess


class Tally(Persistent, name="tests.mount.Tally"):
    """Counts; two who count at once are merged. The host process has never heard of it."""

    def __init__(self) -> None:
        self.count = 0

    @staticmethod
    def merge(
        old: dict[str, Any], committed: dict[str, Any], new: dict[str, Any]
    ) -> dict[str, Any]:
        return {"count": committed["count"] + new["count"] - old["count"]}


class Stubborn(Persistent, name="tests.mount.Stubborn"):
    def __init__(self) -> None:
        self.count = 0


def count(root: Any, key: str = "tally") -> int:
    root[key].count += 1
    return int(root[key].count)


@pytest.mark.rule("SP3")
def test_a_class_that_the_host_does_not_know_is_merged_by_the_peer(tmp_path: Path) -> None:
    port = free_port()
    host = HostProcess(tmp_path / "space.hub", port)
    one, two = (Space(RemoteMount(f"hub://127.0.0.1:{port}")) for _ in range(2))
    try:
        one.run(lambda root: root.update(tally=Tally(), stubborn=Stubborn()))
        two.connect().sync()
        with two.transaction() as root:
            count(root)
            one.run(count)
            one.run(count)
        assert two.read(lambda root: root["tally"].count) == 3
        with two.connect() as conn:
            conn.root["tally"].count += 1
            one.run(count)
            conn.commit()
            assert conn.root["tally"].count >= 4
            conn.sync()
            assert conn.root["tally"].count == 5
        with pytest.raises(ConflictError, match="Stubborn"), two.transaction() as root:
            count(root, "stubborn")
            one.run(count, "stubborn")

        def many(space: Space) -> None:
            for _ in range(30):
                space.run(count, attempts=200)

        threads = [threading.Thread(target=many, args=(space,)) for space in (one, two, one)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        one.connect().sync()
        assert one.read(lambda root: root["tally"].count) == 95
    finally:
        one.close()
        two.close()
        host.kill()


@pytest.mark.rule("SP1")
def test_a_thousand_commits_while_idle_and_begin_sees_the_newest() -> None:
    server = HostThread(MemoryStore())
    space = Space(RemoteMount(server.url))
    try:
        space.run(lambda root: root.update(tally=Tally()))
        space.read(lambda root: root["tally"].count)

        def add() -> None:
            for _ in range(1000):
                server.host.run(lambda connection: count(connection.root), None, Label())

        server.call(add)
        assert server.command(lambda root: root["tally"].count) == 1001 - 1
        # What settled is in the socket by the time the command was answered.
        assert space.read(lambda root: root["tally"].count) == 1000
    finally:
        space.close()
        server.close()


@pytest.mark.rule("PE5")
def test_a_peer_that_would_be_told_too_much_drops_its_cache() -> None:
    server = HostThread(MemoryStore(), options=PeerOptions(buffer_limit_bytes=2000))
    space = Space(RemoteMount(server.url))
    other = Space(RemoteMount(server.url))
    try:
        space.run(lambda root: root.update({f"t{i}": Tally() for i in range(3000)}))
        before = space.tid
        other.connect().sync()
        other.run(touch_all)
        other.run(touch_all)
        space.sync()
        assert space.read(lambda root: {tally.count for tally in root.values()}) == {2}
        assert space._mount.changed_since(before)[1] is None
    finally:
        space.close()
        other.close()
        server.close()


def touch_all(root: Any) -> None:
    for tally in root.values():
        tally.count += 1


def test_a_warm_read_asks_the_host_nothing() -> None:
    server = HostThread(MemoryStore())
    space = Space(RemoteMount(server.url))
    try:
        space.run(lambda root: root.update(tally=Tally()))
        space.read(lambda root: root["tally"].count)
        requests = space.stats.requests
        for _ in range(10):
            assert space.read(lambda root: root["tally"].count) == 0
        assert space.stats.requests == requests
        assert space.stats.cached_bytes > 0
    finally:
        space.close()
        server.close()
