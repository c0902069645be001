"""What a stranger may ask, message by message."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.gateway.strangers import Stranger
from hubbub.kernel import FakeClock, Record, UnknownObjectError, tid_at
from hubbub.wire import peer

NOW = 1_000_000.0


class Asked:
    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.refused: list[Any] = []
        newest = {1: tid_at(10.0)}

        def load(oid: int) -> Record:
            if oid not in newest:
                raise UnknownObjectError(oid)
            return Record(oid, newest[oid], "x:Y", (), b"")

        stranger = Stranger(self.refused.append, FakeClock(NOW), load)
        stranger.mounted(tid_at(NOW - 5000))
        kinds: tuple[type, ...] = (
            peer.Mount,
            peer.Load,
            peer.LoadMany,
            peer.More,
            peer.Commit,
            peer.Oids,
            peer.Ping,
            peer.Vote,
        )
        kinds += (
            peer.Ask,
            peer.StopJob,
            peer.PutPiece,
            peer.GetPiece,
            peer.Follow,
            peer.Feed,
            peer.DropUpload,
        )
        self._how = stranger.kept_to_the_present(dict.fromkeys(kinds, self.taken.append))

    def may(self, message: Any) -> bool:
        self.taken.clear()
        self.refused.clear()
        self._how[type(message)](message)
        assert len(self.taken) + len(self.refused) == 1
        return bool(self.taken)


@pytest.mark.parametrize(
    "at, is_present",
    [(NOW - 5001, False), (NOW - 5000, True), (NOW - 1, True), (NOW, True), (0.0, False)],
)
def test_snapshots_of_the_present(at: float, is_present: bool) -> None:
    asked = Asked()
    tid = tid_at(at)
    for message in (peer.Load(1, 1, tid), peer.LoadMany(1, [1], tid), peer.More(1, tid, 10)):
        assert asked.may(message) is is_present


def test_a_blob_is_of_the_present_while_no_other_has_replaced_it() -> None:
    asked = Asked()
    assert asked.may(peer.GetPiece(1, 1, tid_at(10.0), 0, 10))  # old, and the newest
    assert not asked.may(peer.GetPiece(1, 1, tid_at(9.0), 0, 10))
    assert not asked.may(peer.GetPiece(1, 2, tid_at(9.0), 0, 10))
    assert asked.may(peer.GetPiece(1, 1, tid_at(NOW - 1), 0, 10))


def test_all_else_is_refused() -> None:
    asked = Asked()
    assert asked.may(peer.Ping(1))
    for message in (
        peer.Feed(1, 0, 1),
        peer.Follow(1, 1, False),
        peer.StopJob(1),
        peer.DropUpload("x"),
    ):
        assert not asked.may(message)
        (answer,) = asked.refused
        assert answer.kind == "not_allowed"
