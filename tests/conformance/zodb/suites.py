"""ZODB's own suites for storages, put together as its storages do: whoever derives from them says what is opened."""

from __future__ import annotations

from ZODB.tests import (
    BasicStorage,
    ConflictResolution,
    HistoryStorage,
    IteratorStorage,
    MTStorage,
    PackableStorage,
    PersistentStorage,
    ReadOnlyStorage,
    RecoveryStorage,
    RevisionStorage,
    StorageTestBase,
    Synchronization,
    TransactionalUndoStorage,
)


class StorageSuite(
    StorageTestBase.StorageTestBase,
    BasicStorage.BasicStorage,
    TransactionalUndoStorage.TransactionalUndoStorage,
    RevisionStorage.RevisionStorage,
    PackableStorage.PackableStorageWithOptionalGC,
    PackableStorage.PackableUndoStorage,
    Synchronization.SynchronizedStorage,
    ConflictResolution.ConflictResolvingStorage,
    ConflictResolution.ConflictResolvingTransUndoStorage,
    HistoryStorage.HistoryStorage,
    IteratorStorage.IteratorStorage,
    IteratorStorage.ExtendedIteratorStorage,
    PersistentStorage.PersistentStorage,
    MTStorage.MTStorage,
    ReadOnlyStorage.ReadOnlyStorage,
):
    """What a storage that can undo has to pass. ``open`` makes ``self._storage`` out of what it made before."""

    use_extension_bytes = True

    def open(self, **options):
        raise NotImplementedError

    def setUp(self):
        super().setUp()
        self.open()


class RecoverySuite(StorageTestBase.StorageTestBase, RecoveryStorage.RecoveryStorage):
    """Copying from storage to storage."""

    def new_storage(self, name):
        raise NotImplementedError

    def setUp(self):
        super().setUp()
        self._storage = self.new_storage("source")
        self._dst = self.new_storage("destination")

    def tearDown(self):
        self._dst.close()
        super().tearDown()
