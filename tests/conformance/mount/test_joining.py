"""Connections in the transactions of the `transaction` package, beside other resources, over every mount."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZODB
from transaction import interfaces

from hubbub.kernel import (
    BrokenError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    HubbubError,
    ReservedError,
    UnstorableError,
)
from hubbub.mount import LocalMount, Mount, Space
from hubbub.space.persistent import Persistent
from hubbub.store import MemoryStore


class Account(Persistent, name="tests.joining.Account"):
    def __init__(self, amount: int = 0) -> None:
        self.amount = amount
        self.lines: list[int] = []


class SqliteManager:
    """A data manager over an SQLite file, as one would write it."""

    def __init__(
        self, path: Path, manager: Any, *, vote: Callable[[], None] = lambda: None
    ) -> None:
        self.transaction_manager = manager
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("create table if not exists paid (amount int)")
        self._vote = vote
        self.log: list[str] = []

    def pay(self, amount: int) -> None:
        self.transaction_manager.get().join(self)
        self.database.execute("begin")
        self.database.execute("insert into paid values (?)", (amount,))

    def amounts(self) -> list[int]:
        return [amount for (amount,) in self.database.execute("select amount from paid")]

    def sortKey(self) -> str:  # noqa: N802
        return "sqlite"

    def abort(self, _transaction: Any) -> None:
        self.log.append("abort")
        self._roll_back()

    def _roll_back(self) -> None:
        if self.database.in_transaction:
            self.database.execute("rollback")

    def tpc_begin(self, _transaction: Any) -> None:
        self.log.append("begin")

    def commit(self, _transaction: Any) -> None:
        self.log.append("commit")

    def tpc_vote(self, _transaction: Any) -> None:
        self.log.append("vote")
        self._vote()

    def tpc_finish(self, _transaction: Any) -> None:
        self.log.append("finish")
        self.database.execute("commit")

    def tpc_abort(self, _transaction: Any) -> None:
        self.log.append("tpc_abort")
        self._roll_back()


class Counting:
    """A mount that says what was asked of it."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name in ("commit", "vote", "finish", "drop"):
            self.asked.append(name)
        return getattr(self._mount, name)


@pytest.fixture
def mount(open_mount: Callable[..., Mount]) -> Counting:
    return Counting(open_mount())


@pytest.fixture
def space(mount: Counting) -> Space:
    space = Space(mount)  # type: ignore[arg-type]
    space.run(lambda root: root.update(ann=Account(10)))
    mount.asked.clear()
    return space


@pytest.fixture
def manager() -> Iterator[Any]:
    manager = transaction.TransactionManager()
    yield manager
    manager.abort()


def amount(root: Any) -> int:
    return int(root["ann"].amount)


def test_alone_it_commits_in_one_message(space: Space, mount: Counting, manager: Any) -> None:
    connection = space.connect(transaction_manager=manager)
    with manager as running:
        running.note("paid")
        running.user = "eve"
        running.setExtendedInfo("cheque", 17)
        connection.root["ann"].amount = 11
    assert mount.asked == ["commit"]
    assert space.read(amount) == 11
    label = next(space.transactions(newest_first=True)).label
    assert (label.note, label.identity, label.more()) == ("paid", "eve", {"cheque": 17})


def test_each_transaction_sees_one_snapshot(space: Space, manager: Any) -> None:
    connection = space.connect(transaction_manager=manager)
    ann = connection.root["ann"]
    manager.begin()
    assert ann.amount == 10
    space.run(lambda root: setattr(root["ann"], "amount", 20))
    assert ann.amount == 10
    manager.begin()
    assert ann.amount == 20
    space.run(lambda root: setattr(root["ann"], "amount", 30))
    manager.commit()
    assert ann.amount == 30
    space.run(lambda root: setattr(root["ann"], "amount", 40))
    connection.sync()
    assert ann.amount == 40


def test_an_abort_and_a_change_in_place(space: Space, mount: Counting, manager: Any) -> None:
    connection = space.connect(transaction_manager=manager)
    ann = connection.root["ann"]
    ann.amount = 99
    ann.lines.append(1)
    manager.abort()
    assert (ann.amount, ann.lines) == (10, [])
    ann.lines.append(2)  # seen only when it is looked for (SP8)
    manager.commit()
    assert space.read(lambda root: root["ann"].lines) == [2]
    mount.asked.clear()
    assert ann.lines == [2]
    manager.commit()
    assert mount.asked == []


@pytest.mark.rule("SP5")
def test_savepoints_of_the_manager(space: Space, manager: Any, tmp_path: Path) -> None:
    connection = space.connect(transaction_manager=manager)
    early = manager.savepoint()
    ann = connection.root["ann"]
    ann.amount = 1
    ann.lines.append(1)
    middle = manager.savepoint()
    ann.amount = 2
    connection.root["bob"] = Account(3)
    middle.rollback()
    assert (ann.amount, ann.lines, "bob" in connection.root) == (1, [1], False)
    ann.amount = 4
    early.rollback()
    assert (ann.amount, ann.lines) == (10, [])
    ann.amount = 5
    manager.commit()
    assert space.read(amount) == 5


def test_with_another_resource_all_commit(
    space: Space, mount: Counting, manager: Any, tmp_path: Path
) -> None:
    connection = space.connect(transaction_manager=manager)
    sqlite = SqliteManager(tmp_path / "paid.db", manager)
    with manager:
        connection.root["ann"].amount -= 4
        sqlite.pay(4)
    assert mount.asked == ["vote", "finish"]
    assert (space.read(amount), sqlite.amounts()) == (6, [4])
    connection.root["ann"].amount -= 1
    manager.commit()
    assert space.read(amount) == 5


def test_none_commits_if_any_vote_fails(
    space: Space, mount: Counting, manager: Any, tmp_path: Path
) -> None:
    def refuse() -> None:
        raise ValueError("no money")

    connection = space.connect(transaction_manager=manager)
    sqlite = SqliteManager(tmp_path / "paid.db", manager, vote=refuse)
    with pytest.raises(ValueError, match="no money"), manager:
        connection.root["ann"].amount -= 4
        sqlite.pay(4)
    assert connection.root["ann"].amount == 10  # to look is possible even now
    manager.abort()
    assert mount.asked[:1] == ["vote"]
    assert "drop" in mount.asked
    assert (space.read(amount), sqlite.amounts()) == (10, [])
    # Nothing stays reserved.
    space.run(lambda root: setattr(root["ann"], "amount", 7))
    manager.begin()
    assert connection.root["ann"].amount == 7


def test_a_conflict_here_takes_the_others_back_and_can_be_tried_again(
    space: Space, manager: Any, tmp_path: Path
) -> None:
    connection = space.connect(transaction_manager=manager)
    sqlite = SqliteManager(tmp_path / "paid.db", manager)
    attempts = 0
    for attempt in manager.attempts(3):
        with attempt:
            attempts += 1
            connection.root["ann"].amount -= 4
            sqlite.pay(4)
            if attempts == 1:
                space.run(lambda root: setattr(root["ann"], "amount", 100))
    assert attempts == 2
    assert (space.read(amount), sqlite.amounts()) == (96, [4])


def test_a_conflict_is_known_as_transient_to_those_who_know_only_the_package(
    space: Space, manager: Any
) -> None:
    connection = space.connect(transaction_manager=manager)
    connection.root["ann"].amount = 1
    space.run(lambda root: setattr(root["ann"], "amount", 2))
    with pytest.raises(interfaces.TransientError) as caught:
        manager.commit()
    assert isinstance(caught.value, ConflictError)
    assert type(caught.value).__name__ == "ConflictError"
    assert "run the transaction again" in str(caught.value)
    manager.abort()
    assert connection.root["ann"].amount == 2
    runs: list[int] = []

    @manager.run(tries=3)
    def pay() -> None:
        runs.append(1)
        connection.root["ann"].amount += 1
        if len(runs) == 1:
            space.run(lambda root: setattr(root["ann"], "amount", 50))

    assert (len(runs), space.read(amount)) == (2, 51)


def test_two_spaces_commit_together_or_not_at_all(space: Space, manager: Any) -> None:
    with Space(LocalMount(MemoryStore())) as other:
        other.run(lambda root: root.update(ann=Account(1)))
        one = space.connect(transaction_manager=manager)
        two = other.connect(transaction_manager=manager)
        with manager:
            one.root["ann"].amount -= 5
            two.root["ann"].amount += 5
        assert (space.read(amount), other.read(amount)) == (5, 6)

        one.root["ann"].amount -= 5
        two.root["ann"].amount += 5
        other.run(lambda root: setattr(root["ann"], "amount", 70))
        with pytest.raises(ConflictError):
            manager.commit()
        manager.abort()
        assert (space.read(amount), other.read(amount)) == (5, 70)
        assert (one.root["ann"].amount, two.root["ann"].amount) == (5, 70)
        two.close()


def test_what_has_voted_is_reserved_until_the_end(
    space: Space, manager: Any, tmp_path: Path
) -> None:
    seen: list[Any] = []

    def look() -> None:
        # Hubbub has voted before: "hubbub" sorts before "sqlite".
        other = space.connect(transaction_manager=(second := transaction.TransactionManager()))
        other.root["ann"].lines = [5]
        second_sqlite = SqliteManager(tmp_path / "other.db", second)
        second_sqlite.pay(1)
        seen.append(second)

    connection = space.connect(transaction_manager=manager)
    sqlite = SqliteManager(tmp_path / "paid.db", manager, vote=look)
    with manager:
        connection.root["ann"].amount = 1
        sqlite.pay(1)
    with pytest.raises((ConflictError, ReservedError)):
        seen[0].commit()
    seen[0].abort()
    assert space.read(lambda root: (root["ann"].amount, root["ann"].lines)) == (1, [])


def test_what_cannot_be_stored_fails_before_any_vote(
    space: Space, mount: Counting, manager: Any, tmp_path: Path
) -> None:
    connection = space.connect(transaction_manager=manager)
    sqlite = SqliteManager(tmp_path / "paid.db", manager)
    connection.root["ann"].amount = object()
    sqlite.pay(1)
    with pytest.raises(UnstorableError, match=r"Account\.amount"):
        manager.commit()
    manager.abort()
    assert "vote" not in mount.asked
    assert "vote" not in sqlite.log
    assert (connection.root["ann"].amount, sqlite.amounts()) == (10, [])


def test_its_own_methods_point_to_the_manager(space: Space, manager: Any) -> None:
    connection = space.connect(transaction_manager=manager)
    for method in (connection.commit, connection.abort, connection.savepoint):
        with pytest.raises(ConfigurationError, match="call the manager's"):
            method()
    connection.root["ann"].amount = 3
    with pytest.raises(ConfigurationError, match="has changes"):
        connection.sync()


def test_a_closed_connection_takes_part_in_nothing(space: Space, manager: Any) -> None:
    connection = space.connect(transaction_manager=manager)
    connection.root["ann"].amount = 3
    connection.close()
    with pytest.raises(ClosedError, match="closed in the middle"):
        manager.commit()
    manager.abort()
    manager.begin()
    with pytest.raises(ClosedError, match="the connection is closed"):
        _ = connection.root
    assert space.read(amount) == 10


def test_objects_can_be_looked_at_in_a_hook_behind_the_commit(space: Space, manager: Any) -> None:
    connection = space.connect(transaction_manager=manager)
    seen: list[Any] = []
    connection.root["ann"].amount = 3
    hook = lambda ok: seen.append((ok, connection.root["ann"].lines))  # noqa: E731
    manager.get().addAfterCommitHook(hook)
    manager.commit()
    assert seen == [(True, [])]


def test_with_an_explicit_manager_looking_needs_no_transaction(space: Space) -> None:
    manager = transaction.TransactionManager(explicit=True)
    connection = space.connect(transaction_manager=manager)
    ann = connection.root["ann"]
    assert (ann.amount, ann.lines) == (10, [])
    ann.lines.append(1)
    with pytest.raises(interfaces.NoTransaction):
        ann.amount = 3
    with manager:
        assert (ann.amount, ann.lines) == (10, [])
        ann.amount = 4
    assert space.read(lambda root: (root["ann"].amount, root["ann"].lines)) == (4, [])


def test_a_serializable_connection_relies_on_what_it_reads(space: Space, manager: Any) -> None:
    space.run(lambda root: root.update(bob=Account(1)))
    connection = space.connect(transaction_manager=manager, serializable=True)
    connection.root["bob"].amount = connection.root["ann"].amount
    space.run(lambda root: setattr(root["ann"], "amount", 3))
    with pytest.raises(ConflictError, match="run the transaction again"):
        manager.commit()
    manager.abort()
    connection.root["bob"].amount = connection.root["ann"].amount
    manager.commit()
    assert space.read(lambda root: root["bob"].amount) == 3


def test_a_space_that_is_gone_after_the_end_is_told_at_the_next_use(
    mount: Counting, space: Space, manager: Any
) -> None:
    connection = space.connect(transaction_manager=manager)
    connection.root["ann"].amount = 4

    def gone() -> Any:
        raise BrokenError("no host")

    begin = mount._mount.begin
    manager.get().addAfterCommitHook(lambda ok: seen.append(ok))
    seen: list[bool] = []
    mount.begin = gone  # type: ignore[attr-defined]
    manager.commit()
    assert seen == [True]
    with pytest.raises(HubbubError, match="no host"):
        _ = connection.root
    mount.begin = begin  # type: ignore[attr-defined]
    assert connection.root["ann"].amount == 4


def test_a_zodb_takes_part_in_the_same_transaction(
    space: Space, mount: Counting, manager: Any, tmp_path: Path
) -> None:
    database = ZODB.DB(str(tmp_path / "Data.fs"))
    try:
        theirs = database.open(transaction_manager=manager)
        ours = space.connect(transaction_manager=manager)
        with manager:
            ours.root["ann"].amount -= 3
            theirs.root()["paid"] = 3
        assert mount.asked == ["vote", "finish"]

        for attempt in manager.attempts(3):
            with attempt:
                ours.root["ann"].amount -= 1
                theirs.root()["paid"] += 1
                if ours.root["ann"].amount == 6:
                    space.run(lambda root: setattr(root["ann"], "amount", 100))
        assert (space.read(amount), theirs.root()["paid"]) == (99, 4)

        point = manager.savepoint()
        ours.root["ann"].amount = 0
        theirs.root()["paid"] = 0
        point.rollback()
        assert (ours.root["ann"].amount, theirs.root()["paid"]) == (99, 4)
        manager.abort()
        ours.close()
        theirs.close()
    finally:
        database.close()
