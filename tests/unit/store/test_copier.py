"""The copier: what goes wrong in its thread must not leave the writer waiting for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubbub.kernel import OutcomeUnknownError
from hubbub.store import SQLiteStore
from hubbub.store.tables import Tables
from tests.conformance.store.building import commit, tid


@pytest.mark.rule("ST5")
def test_an_unexpected_error_behind_a_copy_ends_writing_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Tables) -> None:
        raise MemoryError("no memory")

    store = SQLiteStore(tmp_path / "chat.hub", log_limit_bytes=1 << 16)
    monkeypatch.setattr(Tables, "keep_log_short", fail)
    stored = 0
    with pytest.raises(OutcomeUnknownError, match="no memory"):
        for number in range(1, 200):
            store.write([commit(number, [number])])
            stored = number
    assert [entry.tid for entry in store.feed()] == [tid(n) for n in range(1, stored + 1)]
    store.close()
    monkeypatch.undo()
    store = SQLiteStore(tmp_path / "chat.hub")
    assert [entry.tid for entry in store.feed()] == [tid(n) for n in range(1, stored + 1)]
    store.close()
