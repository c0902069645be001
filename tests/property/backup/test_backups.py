"""Random histories of commits, packs and backups: what is restored is what there was, at every tid."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hubbub.backup import BackupFolder, back_up, restore
from hubbub.kernel import Commit, Label, Record, StoreError
from hubbub.mount import LocalMount
from hubbub.store import MemoryStore, SQLiteStore
from tests.conformance.store.building import tid

OIDS = range(6)
States = dict[int, tuple[bytes, int]]


class Backups(RuleBasedStateMachine):
    """A space in memory, its backup, and a plain dict for what there was at each tid."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.store = MemoryStore()
        self.number = 0
        self.states: dict[int, States] = {0: {}}
        self.rows: dict[int, dict[bytes, bytes]] = {}
        self.saved: list[int] = []
        self.restored = 0

    def teardown(self) -> None:
        shutil.rmtree(self.path)

    @rule(
        oids=st.sets(st.sampled_from(OIDS), min_size=1),
        gone=st.booleans(),
        refs=st.lists(st.sampled_from(OIDS), unique=True, max_size=3).map(tuple),
        row=st.binary(max_size=2),
    )
    def commit(self, oids: set[int], gone: bool, refs: tuple[int, ...], row: bytes) -> None:
        self.number += 1
        state = dict(self.states[self.number - 1])
        records = []
        for oid in sorted(oids):
            if gone and oid in state and oid:
                state.pop(oid)
                records.append(Record(oid, tid(self.number), "", (), b""))
            else:
                payload = b"%d@%d" % (oid, self.number)
                state[oid] = (payload, tid(self.number))
                records.append(Record(oid, tid(self.number), "app:Thing", refs, payload))
        self.store.write(
            [
                Commit(
                    tid(self.number), Label(command="c"), records, [("k", row, b"%d" % self.number)]
                )
            ]
        )
        self.states[self.number] = state

    @precondition(lambda self: self.number > 1)
    @rule(back=st.integers(0, 5))
    def pack(self, back: int) -> None:
        # Without collection: what is dropped was superseded, so the states from there on are known.
        self.store.pack(tid(max(1, self.number - back)), collect=False)

    @precondition(lambda self: self.number)
    @rule(full=st.booleans(), file_bytes=st.sampled_from([1, 300, 1 << 20]))
    def back_up(self, full: bool, file_bytes: int) -> None:
        report = back_up(
            LocalMount(self.store), self.path / "backup", full=full, file_bytes=file_bytes
        )
        assert report.last == self.store.last_tid
        self.rows[self.number] = {key: value for _, key, value in self.store.all_rows()[1]}
        self.saved.append(self.number)

    @precondition(lambda self: self.saved)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, max(self.saved)), label="number")
        self.restored += 1
        target = self.path / f"{self.restored}.hub"
        try:
            report = restore(self.path / "backup", target, at=tid(number))
        except StoreError as error:
            # Only what was packed before it was ever saved can't be had.
            if number in self.saved or "can't give the space as of" not in str(error):
                raise
            return
        store = SQLiteStore(target)
        try:
            found = {r.oid: (r.payload, r.tid) for r in store.current(-1, tid(number), 99)}
            assert found == self.states[number]
            if report.rows is not None:
                assert {key: value for _, key, value in store.all_rows()[1]} == self.rows[number]
            else:
                assert store.all_rows()[1] == []
        finally:
            store.close()

    @invariant()
    def the_chains_are_whole(self) -> None:
        manifest = BackupFolder(self.path / "backup").read()
        if manifest is not None:
            assert [file.number for file in manifest.files] == list(
                range(1, len(manifest.files) + 1)
            )
            manifest.chains()


Backups.TestCase.settings = settings(max_examples=50, stateful_step_count=15, deadline=None)


class TestBackups(Backups.TestCase):  # type: ignore[name-defined,misc,valid-type]
    pass
