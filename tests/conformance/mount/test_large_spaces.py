"""A space that is far larger than what its host and its peers keep in memory; ten million objects are in the benches."""

from __future__ import annotations

import functools
import tracemalloc
from pathlib import Path

import pytest

from hubbub.kernel import Commit, Label, Record
from hubbub.mount import RemoteMount
from hubbub.store import open_store
from hubbub.store.ledger import Ledger
from tests.conformance.mount.serving import HostThread
from tests.conformance.store.building import tid

COMMITS, EACH, PAYLOAD = 30, 400, b"x" * 4000


@pytest.mark.rule("SP1")
def test_memory_is_bounded_by_the_caches_and_not_by_the_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "hubbub.perspective.host.Ledger", functools.partial(Ledger, cache_bytes=4 << 20)
    )
    path = tmp_path / "space.hub"
    store = open_store(path)
    for number in range(COMMITS):
        at = tid(number + 1)
        records = [
            Record(number * EACH + place, at, "test:Thing", (), PAYLOAD) for place in range(EACH)
        ]
        store.write([Commit(at, Label(), records)])
    store.close()
    oids = range(COMMITS * EACH)
    tracemalloc.start()
    try:
        host = HostThread(open_store(path))
        peer = RemoteMount(host.url, cache_bytes=4 << 20)
        at = peer.begin()
        for oid in oids:
            assert len(peer.load(oid, at).payload) == len(PAYLOAD)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    peer.close()
    host.close()
    whole = len(oids) * len(PAYLOAD)
    assert peak < whole // 3
