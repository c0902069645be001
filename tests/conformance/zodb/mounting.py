"""The suites on a space that a host serves, in a thread of its own."""

from __future__ import annotations

from typing import Any

from hubbub.gateway.peers import PeerOptions
from hubbub.store import open_store
from hubbub.zodb import HubbubStorage
from tests.conformance.mount.serving import HostThread
from tests.conformance.zodb.suites import RecoverySuite, StorageSuite

WITHOUT_LEASES = PeerOptions(lease_s=0.0)
"""ZODB's suites look right after a pack for what it has dropped; a host keeps it for a minute."""


class MountedSuite(StorageSuite):
    _host: Any = None

    def open(self, **options):
        if self._host is None:
            self._host = HostThread(open_store("data.hub"), options=WITHOUT_LEASES)
        self._storage = self.wrapped(HubbubStorage(self._host.url, **options))

    def wrapped(self, storage):
        return storage

    def tearDown(self):
        self._close()
        self._host.close()
        super().tearDown()


class MountedRecoverySuite(RecoverySuite):
    def setUp(self):
        self._hosts = []
        super().setUp()

    def new_storage(self, name):
        host = HostThread(open_store(f"{name}.hub"), options=WITHOUT_LEASES)
        self._hosts.append(host)
        return self.wrapped(HubbubStorage(host.url))

    def wrapped(self, storage):
        return storage

    def tearDown(self):
        self._storage.close()
        super().tearDown()
        for host in self._hosts:
            host.close()
