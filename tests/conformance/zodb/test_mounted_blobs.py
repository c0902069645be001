"""ZODB's own suites of blobs and of external garbage collectors, on a space that a host serves."""

from __future__ import annotations

import unittest

import pytest
from ZODB.tests.hexstorage import HexStorage
from ZODB.tests.PackableStorage import IExternalGC_suite
from ZODB.tests.testblob import storage_reusable_suite
from ZODB.tests.util import MininalTestLayer

from hubbub.store import open_store
from hubbub.zodb import HubbubStorage
from tests.conformance.mount.serving import HostThread
from tests.conformance.zodb.doctests import cases, name_of, run
from tests.conformance.zodb.mounting import WITHOUT_LEASES


class Served(HubbubStorage):
    """A storage with a host of its own, which ends with it."""

    def __init__(self, name, **options):
        self.host = HostThread(open_store(f"{name}.hub"), options=WITHOUT_LEASES)
        super().__init__(self.host.url, **options)

    def close(self):
        super().close()
        self.host.close()


def plain(name, blob_dir):
    return Served(name, blob_dir=blob_dir)


def in_hex(name, blob_dir):
    return HexStorage(plain(name, blob_dir))


# Without ``blob_packing.txt``: it looks for the files of packed blobs where they are kept, which is at the host.
BLOBS = storage_reusable_suite(
    "Mounted", plain, test_blob_storage_recovery=True, test_packing=False
)
HEX_BLOBS = storage_reusable_suite(
    "MountedInHex", in_hex, test_blob_storage_recovery=True, test_packing=False
)
COLLECTORS = unittest.TestSuite(
    [IExternalGC_suite(lambda: Served("data", blob_dir="blobs", pack_gc=False))]
)


@pytest.mark.parametrize("case", list(cases(BLOBS)), ids=name_of)
def test_blobs(case):
    run(case, BLOBS.layer)


@pytest.mark.parametrize("case", list(cases(HEX_BLOBS)), ids=name_of)
def test_blobs_in_hex(case):
    run(case, HEX_BLOBS.layer)


@pytest.mark.parametrize("case", list(cases(COLLECTORS)), ids=name_of)
def test_external_collectors(case):
    run(case, MininalTestLayer("collectors"))
