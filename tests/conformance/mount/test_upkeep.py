"""What a mount can be asked beside loads and commits, on every mount."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from hubbub.kernel import Changeset, Label, Record, UnknownObjectError
from hubbub.mount import Mount
from hubbub.mount.asking import QUESTIONS, RemoteUpkeep

Open = Callable[..., Mount]


def write(mount: Mount, *oids: int, read: int = 0, payload: bytes = b"x") -> int:
    records = [Record(oid, read, "test:Thing", (7,), payload) for oid in oids]
    tid, _ = mount.commit(Changeset(0, records, label=Label(command="test", note="n")))
    return tid


@pytest.mark.rule("ST7")
def test_the_past_of_an_object_can_be_asked_for(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    oid, beside = one.new_oid(), one.new_oid()
    first = write(one, oid, payload=b"1")
    second = write(one, oid, read=first, payload=b"2")
    third = write(one, beside)
    two.sync()
    upkeep = two.upkeep
    assert upkeep.history(oid) == [second, first]
    assert upkeep.history(oid, before=second) == [first]
    assert upkeep.history(oid, None, 1) == [second]
    assert upkeep.history(999_999) == []
    assert upkeep.revision(oid, first).fields() == (oid, first, "test:Thing", (7,), b"1")
    with pytest.raises(UnknownObjectError):
        upkeep.revision(oid, third)
    assert upkeep.successor(oid, first) == second
    assert upkeep.successor(oid, second) is None
    entry = upkeep.transaction(second)
    assert entry is not None
    assert (entry.tid, entry.oids, entry.label.note) == (second, (oid,), "n")
    assert upkeep.transaction(second + 1) is None
    assert [record.fields() for record in upkeep.records_of(third)] == [
        (beside, third, "test:Thing", (7,), b"x")
    ]


def test_all_objects_can_be_walked_over(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    oids = sorted(one.new_oid() for _ in range(50))
    tid = write(one, *oids)
    two.sync()
    found: list[int] = []
    after = -1
    while piece := two.upkeep.current(after, tid, 7):
        found += [record.oid for record in piece]
        after = piece[-1].oid
    assert found == oids
    assert two.upkeep.current(-1, 0) == []


def test_rows_come_in_pieces_that_are_of_one_moment(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    write(one, one.new_oid())
    two.sync()
    upkeep = one.upkeep
    upkeep.declare_retention(86_400.0)
    _, before = upkeep.all_rows()
    assert before
    upkeep.declare_retention(None)
    assert len(upkeep.all_rows()[1]) < len(before)
    upkeep.declare_retention(86_400.0)
    first = upkeep.rows_from(0, 0, 1)
    assert first.count == len(before)
    rows = list(first.rows)
    upkeep.declare_retention(None)  # meanwhile
    while len(rows) < first.count:
        piece = two.upkeep.rows_from(first.number, len(rows), 1)
        assert (piece.number, piece.tid, len(piece.rows)) == (first.number, first.tid, 1)
        rows += piece.rows
    assert [row[:2] for row in rows] == [row[:2] for row in before]


def test_the_remote_side_has_all_there_is_to_ask() -> None:
    assert QUESTIONS
    for name in QUESTIONS:
        assert inspect.isfunction(getattr(RemoteUpkeep, name)), name
