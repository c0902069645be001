"""Objects that are touched where they should not be: nothing of it stays, and nothing gets old unseen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hubbub.kernel import FakeClock, Label, NoTransactionError, ReadOnlyError
from hubbub.space.connection import Connection
from hubbub.space.containers import merge_records
from hubbub.space.live import LiveSpace
from hubbub.space.persistent import Ephemeral, Persistent
from hubbub.store import MemoryStore
from hubbub.store.ledger import Ledger


class Shelf(Persistent):
    def __init__(self) -> None:
        self.items: list[Any] = []
        self.count = 0


class Guest(Ephemeral):
    def __init__(self) -> None:
        self.items: list[Any] = []


class Space:
    def __init__(self) -> None:
        self.ledger = Ledger(MemoryStore(), FakeClock(), merge_records)
        self.live = LiveSpace(self.ledger)
        self.run(lambda c: c.root.update(shelf=Shelf()))

    def run(self, body: Callable[[Connection], Any]) -> Any:
        value, commit = self.live.execute(body, Label())
        if commit.is_durable:
            self.ledger.store.write([commit])
        self.ledger.settle([commit])
        self.live.absorb()
        return value

    def read(self, body: Callable[[Connection], Any]) -> Any:
        return self.live.query(body)[0]


@pytest.fixture
def space() -> Space:
    return Space()


@pytest.mark.rule("SP8")
@pytest.mark.parametrize("thing", [Shelf, object])
def test_a_query_that_puts_what_can_not_be_stored_into_a_list_spoils_no_other(
    space: Space, thing: type
) -> None:
    with pytest.raises(ReadOnlyError):
        space.read(lambda c: c.root["shelf"].items.append(thing()))
    assert space.read(lambda c: list(c.root["shelf"].items)) == []
    assert space.read(lambda c: c.root["shelf"].count) == 0


@pytest.mark.rule("SP8")
def test_a_list_that_was_changed_outside_of_a_transaction_is_in_no_later_one(space: Space) -> None:
    shelf = space.run(lambda c: c.root["shelf"])
    shelf.items.append(7)
    space.run(lambda c: None)
    assert space.run(lambda c: list(c.root["shelf"].items)) == []
    assert space.read(lambda c: list(c.root["shelf"].items)) == []


@pytest.mark.rule("LV1")
def test_an_object_that_has_left_its_query_does_not_wake_to_grow_old(space: Space) -> None:
    shelf = space.read(lambda c: c.root["shelf"])
    with pytest.raises(NoTransactionError):
        shelf.count  # noqa: B018
    space.run(lambda c: setattr(c.root["shelf"], "count", 5))
    assert space.read(lambda c: c.root["shelf"].count) == 5


def test_a_query_that_would_store_a_new_object_leaves_nothing_of_it(space: Space) -> None:
    shelf = Shelf()
    with pytest.raises(ReadOnlyError):
        space.read(lambda c: c.add(shelf))
    assert shelf._p_jar is None
    assert space.live._query._new == []


@pytest.mark.rule("SP4")
def test_volatile_attributes_go_with_an_object_that_is_gone(space: Space) -> None:
    def make(connection: Connection) -> int:
        guest = Guest()
        guest._v_note = 1
        return connection.add(guest)

    oid = space.run(make)
    assert space.run(lambda c: c.get(oid)._v_note) == 1
    space.live.forget_ephemerals([oid])
    assert space.live._live._volatile == {}
