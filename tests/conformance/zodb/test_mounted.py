"""ZODB's own suites for storages, on a space that a host serves."""

from __future__ import annotations

from ZODB.tests.hexstorage import HexStorage

from hubbub.zodb import HubbubStorage
from tests.conformance.zodb.mounting import MountedRecoverySuite, MountedSuite


class TestMounted(MountedSuite):
    def _new_storage_client(self):
        return HubbubStorage(self._host.url)


class TestMountedInHex(MountedSuite):
    # ZODB's HexStorage can't pass invalidations of other clients on: it gives one argument too many.
    test_race_load_vs_external_invalidate = None
    test_race_external_invalidate_vs_disconnect = None

    def wrapped(self, storage):
        return HexStorage(storage)


class TestMountedRecovery(MountedRecoverySuite):
    pass


class TestMountedRecoveryInHex(MountedRecoverySuite):
    def wrapped(self, storage):
        return HexStorage(storage)


del MountedSuite, MountedRecoverySuite
