from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import transaction
import ZODB
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage

import hubbub
from hubbub.kernel import ConfigurationError, Job, JobStoppedError, StoreError
from hubbub.store import open_store
from hubbub.zodb import HubbubStorage
from hubbub.zodb.importing import import_storage, is_file_storage, open_source
from tests.conformance.mount.serving import HostThread


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A Data.fs with some history, blobs in ``blobs``, an undo, and bytes that are no text."""
    path = tmp_path / "Data.fs"
    database = ZODB.DB(FileStorage(str(path), blob_dir=str(tmp_path / "blobs")))
    manager = transaction.TransactionManager()
    connection = database.open(manager)
    root = connection.root()
    for number in range(5):
        root[number] = PersistentMapping(n=number)
        manager.get().note(f"number {number}")
        manager.get().setUser("ann")
        manager.get().setExtendedInfo("why", "because")
        manager.commit()
    root["blob"] = Blob(b"some data")
    manager.commit()
    database.undo(database.undoLog(0, 1)[0]["id"], manager.get())
    manager.commit()
    connection.sync()
    root["blob"] = Blob(b"other data")
    manager.commit()
    connection.close()
    database.close()
    return path


@pytest.fixture
def source(data: Path) -> Iterator[FileStorage]:
    storage = open_source(data, data.parent / "blobs")
    yield storage
    storage.close()


def told(storage) -> list[tuple[object, ...]]:
    return [
        (
            found.tid,
            found.status,
            found.user,
            found.description,
            found.extension_bytes,
            [(r.oid, r.tid, r.data, r.data_txn) for r in found],
        )
        for found in storage.iterator()
    ]


def data_of(storage) -> list[list[tuple[bytes, bytes]]]:
    return [[(record.oid, record.data) for record in found] for found in storage.iterator()]


def test_all_comes_as_it_is_and_the_application_goes_on(source, tmp_path: Path) -> None:
    report = import_storage(source, tmp_path / "data.hub")
    assert (report.transactions, report.blobs, report.empty) == (9, 2, 0)
    with_hubbub = HubbubStorage(tmp_path / "data.hub")
    assert told(with_hubbub) == told(source)
    database = ZODB.DB(with_hubbub)
    with database.transaction() as connection:
        root = connection.root()
        assert [root[number]["n"] for number in range(5)] == list(range(5))
        with root["blob"].open() as file:
            assert file.read() == b"other data"
        root["new"] = PersistentMapping()
    database.close()


def test_an_import_goes_on_where_the_last_one_ended(source, tmp_path: Path) -> None:
    space = tmp_path / "data.hub"
    seen: list[int] = []

    def stop_after_three(what: str, done: int, total: int) -> None:
        assert 0 < done <= total
        seen.append(done)
        if len(seen) == 3:
            job.stop()

    job = Job(stop_after_three)
    with pytest.raises(JobStoppedError):
        import_storage(source, space, job=job)
    report = import_storage(source, space)
    assert report.already_there == 4
    assert report.already_there + report.transactions == 9
    again = import_storage(source, space)
    assert (again.already_there, again.transactions) == (9, 0)
    storage = HubbubStorage(space)
    assert told(storage) == told(source)
    storage.close()


def test_a_host_takes_an_import_too(tmp_path: Path) -> None:
    source = MappingStorage()
    database = ZODB.DB(source)
    with database.transaction() as connection:
        connection.root()["a"] = PersistentMapping()
    host = HostThread(open_store("memory:"))
    try:
        report = import_storage(source, host.url)
        assert report.transactions == 2
        storage = HubbubStorage(host.url)
        assert data_of(storage) == data_of(source)
        storage.close()
    finally:
        host.close()
        database.close()


def test_another_history_is_not_mixed_in(source, tmp_path: Path) -> None:
    space = tmp_path / "data.hub"
    database = ZODB.DB(HubbubStorage(space))
    database.close()
    with pytest.raises(StoreError, match="no beginning of the same history"):
        import_storage(source, space)


def test_a_space_of_hubbubs_own_objects_takes_no_import(source, tmp_path: Path) -> None:
    space = tmp_path / "own.hub"
    with hubbub.open(space) as opened:
        opened.run(lambda root: root.update(a=1))
    with pytest.raises(StoreError, match="Hubbub's own objects"):
        import_storage(source, space)
    with pytest.raises(StoreError, match=r"hubbub\.open"):
        HubbubStorage(space)


def test_blobs_are_asked_for(data: Path, tmp_path: Path) -> None:
    source = open_source(data)
    try:
        with pytest.raises(ConfigurationError, match="--blob-dir"):
            import_storage(source, tmp_path / "data.hub")
    finally:
        source.close()


def test_what_is_no_storage_is_said_to_be_none(tmp_path: Path) -> None:
    for name, content in (("a", b""), ("b", b"<filestorage>\n"), ("c", b"\xff\x00")):
        (tmp_path / name).write_bytes(content)
        assert not is_file_storage(tmp_path / name)
        with pytest.raises(ConfigurationError, match=r"no Data\.fs"):
            open_source(tmp_path / name)
    with pytest.raises(ConfigurationError, match="there is no file"):
        open_source(tmp_path / "nowhere")
    assert not is_file_storage(tmp_path / "nowhere")


def test_a_configuration_names_any_storage(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "source.conf"
    config.write_text(
        f"<filestorage>\npath {data}\nblob-dir {data.parent}/blobs\nread-only true\n</filestorage>\n"
    )
    source = open_source(config)
    try:
        assert import_storage(source, tmp_path / "data.hub").transactions == 9
    finally:
        source.close()
