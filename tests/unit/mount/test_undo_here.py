"""hubbub.undo within a transaction: in commands of the host and in peers' transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import hubbub
from hubbub.kernel import Label, NoTransactionError, ReadOnlyError, UndoError, tid_text
from hubbub.mount import RemoteMount, Space
from hubbub.space.containers import SortedMap
from hubbub.space.persistent import Persistent
from hubbub.store import MemoryStore
from tests.conformance.mount.serving import HostThread


class Cell(Persistent, name="tests.undo_here.Cell"):
    def __init__(self) -> None:
        self.value = 0


class Total(Persistent, name="tests.undo_here.Total"):
    def __init__(self) -> None:
        self.value = 0

    @staticmethod
    def merge(old: dict[str, Any], committed: dict[str, Any], new: dict[str, Any]) -> Any:
        return {"value": committed["value"] + new["value"] - old["value"]}


@pytest.fixture
def server() -> Iterator[HostThread]:
    server = HostThread(MemoryStore())
    server.command(fill)
    yield server
    server.close()


def fill(root: Any) -> None:
    root["cell"], root["total"], root["map"] = Cell(), Total(), SortedMap()


def write(root: Any, value: int) -> int:
    root["cell"].value = value
    root["total"].value += value
    root["map"].update({f"{value}/{n}": n for n in range(40)})
    return int(hubbub.tid())


def seen(root: Any) -> tuple[int, int, int]:
    return root["cell"].value, root["total"].value, len(root["map"])


def test_a_command_takes_back_what_another_has_done(server: HostThread) -> None:
    first = server.command(lambda root: write(root, 1))
    second = server.command(lambda root: write(root, 2))

    def undo(root: Any) -> tuple[int, int, int]:
        root["total"].value += 10
        hubbub.undo(second)
        assert seen(root) == (1, 11, 40)
        root["cell"].value = 5
        return seen(root)

    assert server.command(undo) == (5, 11, 40)
    assert server.command(seen) == (5, 11, 40)
    with Space(RemoteMount(server.url)) as space:
        assert space.read(seen) == (5, 11, 40)
        entry = next(space.transactions(newest_first=True))
        assert (entry.label.command, entry.label.more()) == ("test", {"undone": [tid_text(second)]})
        # A peer does the same in its transaction.
        space.run(lambda root: hubbub.undo(entry.tid))
        assert space.read(seen) == (2, 3, 80)
        space.run(lambda root: hubbub.undo(first, second))
        assert space.read(seen) == (0, 0, 0)


@pytest.mark.rule("LV3")
def test_watchers_of_a_container_are_told_to_look_again(server: HostThread) -> None:
    first = server.command(lambda root: write(root, 1))
    settled: list[Any] = []
    server.call(server.host.on_settled, settled.extend)

    def body(root: Any) -> None:
        root["before"] = 1
        hubbub.undo(first)
        root["map"]["after"] = 1

    server.command(body)
    assert [commit.changes for commit in settled] == [{}]
    assert server.command(lambda root: (root["before"], list(root["map"]))) == (1, ["after"])


def test_what_is_not_on_the_disk_yet_is_taken_back_too(server: HostThread) -> None:
    async def both() -> Any:
        def undo(connection: Any) -> Any:
            hubbub.undo(tids[0])
            return seen(connection.root)

        tids: list[int] = []
        run = server.host.call(lambda c: tids.append(write(c.root, 1)), Label(command="one"))
        other = server.host.call(undo, Label(command="two"))
        await run
        return await other

    assert asyncio.run_coroutine_threadsafe(both(), server.loop).result(20) == (0, 0, 0)


def test_a_way_back_and_an_abort_drop_the_undo(server: HostThread) -> None:
    first = server.command(lambda root: write(root, 1))

    def back(root: Any) -> Any:
        point = hubbub.savepoint()
        hubbub.undo(first)
        assert seen(root) == (0, 0, 0)
        point.rollback()
        return seen(root)

    assert server.command(back) == (1, 1, 40)

    def fails(root: Any) -> None:
        hubbub.undo(first)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        server.command(fails)
    assert server.command(seen) == (1, 1, 40)


def test_an_undo_that_cannot_be_done_changes_nothing(server: HostThread) -> None:
    first = server.command(lambda root: write(root, 1))

    def body(root: Any) -> Any:
        root["cell"].value = 7
        with pytest.raises(UndoError, match="Cell: objects of its class can't be merged"):
            hubbub.undo(first)
        for nothing in (5, first + 1):
            with pytest.raises(UndoError, match="there is no transaction"):
                hubbub.undo(nothing)
        return seen(root)

    assert server.command(body) == (7, 1, 40)
    with Space(RemoteMount(server.url)) as space:
        with space.transaction() as root:
            later = server.command(lambda root: write(root, 3))
            with pytest.raises(UndoError, match="there is no transaction"):
                hubbub.undo(later)  # not in this snapshot
            assert seen(root) == (7, 1, 40)
        with pytest.raises(ReadOnlyError):
            space.read(lambda root: hubbub.undo(later))
        with pytest.raises(NoTransactionError, match="only a command knows"):
            space.run(lambda root: hubbub.tid())
    with pytest.raises(NoTransactionError, match=r"hubbub\.undo\(\) needs a transaction"):
        hubbub.undo(first)


def test_what_was_made_and_changed_since_is_kept(server: HostThread) -> None:
    def make(root: Any) -> int:
        root["new"] = Cell()
        return int(hubbub.tid())

    made = server.command(make)
    server.command(lambda root: setattr(root["new"], "value", 1))
    with pytest.raises(UndoError, match="was changed again"):
        server.command(lambda root: hubbub.undo(made))
    assert server.command(lambda root: root["new"].value) == 1
