"""Many threads, few objects: what they move is conserved, what they add is all there, each sees one moment."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubbub.kernel import TransientError
from hubbub.mount import LocalMount, Mount, RemoteMount, Space
from hubbub.space.containers import Log, SortedMap
from hubbub.space.persistent import Persistent
from hubbub.store import MemoryStore
from tests.conformance.mount.serving import HostThread

ACCOUNTS = 4
TOTAL = 100 * ACCOUNTS


class Account(Persistent, name="tests.mount.Account"):
    def __init__(self) -> None:
        self.balance = 100


def set_up(root: Any) -> None:
    for number in range(ACCOUNTS):
        root[f"account{number}"] = Account()
    root["added"] = SortedMap()
    root["log"] = Log()


def transfer(root: Any, source: int, target: int, amount: int) -> None:
    root[f"account{source}"].balance -= amount
    root[f"account{target}"].balance += amount


def total(root: Any) -> int:
    return sum(root[f"account{number}"].balance for number in range(ACCOUNTS))


def add(root: Any, key: str) -> None:
    root["added"][key] = key
    root["log"].append(key)


class Worker:
    """A thread that does what ``seed`` says and remembers what it was told is stored."""

    def __init__(self, name: int, space: Space, seed: int, steps: int) -> None:
        self.name, self.space, self.steps = name, space, steps
        self.random = random.Random(seed * 100 + name)
        self.added: list[str] = []
        self.failures: list[BaseException] = []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        seen = 0
        try:
            with self.space.connect() as conn:
                for step in range(self.steps):
                    choice = self.random.randrange(5)
                    if choice < 2:
                        source, target = self.random.sample(range(ACCOUNTS), 2)
                        self.space.run(
                            transfer, source, target, self.random.randrange(9), attempts=500
                        )
                    elif choice == 2:
                        key = f"{self.random.randrange(1000):04}-{self.name}-{step}"
                        self.space.run(add, key, attempts=500)
                        self.added.append(key)
                        assert self.space.read(lambda root, key: root["added"].get(key), key) == key
                    elif choice == 3:
                        assert self.space.read(total) == TOTAL
                    else:
                        conn.sync()
                        count = len(conn.root["log"])
                        assert count >= seen, "what was seen is gone"
                        assert count == len(conn.root["added"]) or self._is_disjoint(conn.root)
                        assert total(conn.root) == TOTAL
                        seen = count
        except BaseException as error:
            self.failures.append(error)

    def _is_disjoint(self, root: Any) -> bool:
        raise AssertionError(f"{len(root['log'])} lines in the log, {len(root['added'])} keys")


@pytest.mark.rule("SP1", "ST4", "ST2")
@pytest.mark.parametrize("kind", ["local", "tcp", "unix"])
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10_000))
def test_nothing_is_lost_and_every_snapshot_adds_up(
    kind: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = None
    if kind == "local":
        local: Mount = LocalMount(MemoryStore())
        mounts = [local, local]
    else:
        path: Path | None = tmp_path_factory.mktemp("s") / "socket" if kind == "unix" else None
        server = HostThread(MemoryStore(), path=path)
        # A small cache, so that records come and go.
        mounts = [RemoteMount(server.url), RemoteMount(server.url, cache_bytes=20_000)]
    spaces = [Space(mount) for mount in mounts]
    try:
        spaces[0].run(set_up)
        spaces[1].connect().sync()
        workers = [Worker(i, spaces[i % 2], seed, 25) for i in range(5)]
        for worker in workers:
            worker.thread.join(100)
        assert [failure for worker in workers for failure in worker.failures] == []
        added = sorted(key for worker in workers for key in worker.added)
        for space in spaces:
            space.connect().sync()
            assert space.read(total) == TOTAL
            assert space.read(lambda root: list(root["added"])) == added
            assert space.read(lambda root: sorted(root["log"].last(10_000))) == added
    finally:
        for space in spaces:
            space.close()
        if server is not None:
            server.close()


@pytest.mark.rule("ST4")
def test_commands_and_peers_share_the_objects() -> None:
    """The host's own commands beside the peers' transactions: one serial order."""
    server = HostThread(MemoryStore())
    space = Space(RemoteMount(server.url))
    try:
        space.run(set_up)
        failures: list[BaseException] = []

        def peers() -> None:
            try:
                for step in range(60):
                    space.run(transfer, step % 4, (step + 1) % 4, 3, attempts=500)
                    space.run(add, f"peer{step}", attempts=500)
            except TransientError as error:
                failures.append(error)

        thread = threading.Thread(target=peers)
        thread.start()
        for step in range(60):
            server.command(lambda root: transfer(root, 2, 1, 1))
            server.command(lambda root, key=f"host{step}": add(root, key))
        thread.join(60)
        assert not failures
        assert server.command(total) == TOTAL
        assert server.command(lambda root: len(root["added"])) == 120
        space.connect().sync()
        assert space.read(total) == TOTAL
        assert space.read(lambda root: (len(root["log"]), len(root["added"]))) == (120, 120)
    finally:
        space.close()
        server.close()
