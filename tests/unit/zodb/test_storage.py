"""What ZODB itself does with a storage: other databases beside it, the past, a storage on top, parts taken out."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import transaction
import ZODB
from persistent.mapping import PersistentMapping
from ZODB.DemoStorage import DemoStorage
from ZODB.POSException import ConflictError

from hubbub.zodb import HubbubStorage


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def storage(tmp_path: Path, cleanup: ExitStack) -> HubbubStorage:
    storage = HubbubStorage(tmp_path / "data.hub")
    cleanup.callback(storage.close)
    database = ZODB.DB(storage)
    with database.transaction() as connection:
        connection.root()["room"] = PersistentMapping(topic="tea")
    return storage


def set_topic(database: ZODB.DB, topic: str) -> None:
    with database.transaction() as connection:
        connection.root()["room"]["topic"] = topic


def topic(database: ZODB.DB, **when: object) -> str:
    connection = database.open(transaction.TransactionManager(), **when)
    try:
        return str(connection.root()["room"]["topic"])
    finally:
        connection.close()


def test_it_is_the_base_of_a_demo_storage(storage: HubbubStorage, cleanup: ExitStack) -> None:
    demo = ZODB.DB(DemoStorage(base=storage, close_base_on_close=False))
    cleanup.callback(demo.close)
    set_topic(demo, "salt")
    assert (topic(demo), topic(ZODB.DB(storage))) == ("salt", "tea")


def test_it_takes_the_changes_of_a_demo_storage(storage: HubbubStorage, cleanup: ExitStack) -> None:
    changes = HubbubStorage("memory:")
    demo = ZODB.DB(DemoStorage(base=storage, changes=changes, close_base_on_close=False))
    cleanup.callback(demo.close)
    set_topic(demo, "salt")
    set_topic(demo, "pepper")
    assert (topic(demo), topic(ZODB.DB(storage))) == ("pepper", "tea")
    # Of what it has itself, it asks for the state that was read.
    stale = demo.open(transaction.TransactionManager())
    assert stale.root()["room"]["topic"] == "pepper"
    set_topic(demo, "thyme")
    stale.root()["room"]["topic"] = "mint"
    with pytest.raises(ConflictError):
        stale.transaction_manager.commit()
    stale.transaction_manager.abort()
    stale.close()
    assert topic(demo) == "thyme"


def test_it_is_read_as_it_was(storage: HubbubStorage) -> None:
    database = ZODB.DB(storage)
    then = storage.lastTransaction()
    set_topic(database, "salt")
    assert (topic(database), topic(database, at=then)) == ("salt", "tea")


def test_databases_refer_to_one_another(cleanup: ExitStack) -> None:
    databases: dict[str, ZODB.DB] = {}
    for name in ("here", "there"):
        storage = HubbubStorage("memory:")
        database = ZODB.DB(storage, databases=databases, database_name=name)
        cleanup.callback(database.close)
    manager = transaction.TransactionManager()
    here = databases["here"].open(manager)
    there = here.get_connection("there")
    there.root()["room"] = PersistentMapping(topic="tea")
    manager.commit()
    here.root()["link"] = there.root()["room"]
    here.root()["link"]["topic"] = "salt"
    manager.commit()
    here.cacheMinimize()
    there.cacheMinimize()
    assert here.root()["link"]["topic"] == "salt"
    here.close()


def test_a_part_is_taken_out_and_put_in_again(storage: HubbubStorage) -> None:
    manager = transaction.TransactionManager()
    connection = ZODB.DB(storage).open(manager)
    file = io.BytesIO()
    connection.exportFile(connection.root()["room"]._p_oid, file)
    file.seek(0)
    connection.root()["copy"] = connection.importFile(file)
    manager.commit()
    assert dict(connection.root()["copy"]) == {"topic": "tea"}
    assert connection.root()["copy"] is not connection.root()["room"]
    connection.close()
