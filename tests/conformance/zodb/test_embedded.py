"""ZODB's own suites for storages, on a space in this process."""

from __future__ import annotations

from ZODB.tests.hexstorage import HexStorage

from hubbub.zodb import HubbubStorage
from tests.conformance.zodb.suites import RecoverySuite, StorageSuite


class TestEmbedded(StorageSuite):
    # A space has one owner: there are no other clients (ST8).
    test_race_load_vs_external_invalidate = None
    test_race_external_invalidate_vs_disconnect = None

    def open(self, **options):
        self._storage = HubbubStorage("data.hub", **options)


class TestEmbeddedInHex(TestEmbedded):
    def open(self, **options):
        self._storage = HexStorage(HubbubStorage("data.hub", **options))


class TestEmbeddedRecovery(RecoverySuite):
    def new_storage(self, name):
        return HubbubStorage(f"{name}.hub")


class TestEmbeddedRecoveryInHex(RecoverySuite):
    def new_storage(self, name):
        return HexStorage(HubbubStorage(f"{name}.hub"))


del StorageSuite, RecoverySuite
