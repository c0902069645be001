"""What a peer keeps while news and answers arrive, however they are cut into pieces, beside the host's own history."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.kernel import Label, Record, RemoteProtocolError
from hubbub.mount.base import MountStats
from hubbub.mount.calls import Call, Calls
from hubbub.mount.replica import Replica
from hubbub.mount.turn import Turn
from hubbub.wire import peer

_OIDS = range(1, 6)
_SOME = st.lists(st.sampled_from(_OIDS), min_size=1, max_size=3, unique=True)


class Told:
    """A peer's calls and replica, and what a host would know: for each object the tids at which it changed."""

    def __init__(self) -> None:
        self.replica = Replica(1 << 20)
        turn = Turn(threading.Lock(), lambda _: None, lambda: None)
        self.calls = Calls(lambda: "host", self.replica, turn, MountStats(), lambda _: None)
        self.replica.mounted(peer.Mounted(10, "a", None, 100, 2, 15.0, 1 << 20))
        self.replica.loaded(10, [Record(oid, 5, "t:T", (), b"") for oid in _OIDS])
        self.tids = {oid: [5] for oid in _OIDS}
        self.flying: list[Call] = []
        self.snapshots = [10]
        self.tid = 10

    def send(self, oids: list[int]) -> None:
        writes = [Record(oid, self.tids[oid][-1], "t:T", (), b"") for oid in oids]
        message = peer.Commit(0, b"", self.tid, [], [], {}, Label())
        self.flying.append(self.calls.add(message, writes, 1 << 20))

    def group(self, own: int, others: list[list[int]], *, is_own_last: bool) -> list[peer.ToPeer]:
        """Commit the first ``own`` of what is in flight and ``others``; return what the host says."""
        mine, self.flying = self.flying[:own], self.flying[own:]
        newest_is_mine: dict[int, bool] = {}
        answers: list[peer.ToPeer] = []

        def commit_others() -> None:
            for oids in others:
                self.tid += 1
                for oid in oids:
                    self.tids[oid].append(self.tid)
                    newest_is_mine[oid] = False

        if is_own_last:
            commit_others()
        for call in mine:
            self.tid += 1
            merged = [write.oid for write in call.writes if write.tid != self.tids[write.oid][-1]]
            for write in call.writes:
                self.tids[write.oid].append(self.tid)
                newest_is_mine[write.oid] = True
            answers.append(peer.Committed(call.message.id, self.tid, merged))
        if not is_own_last:
            commit_others()
        if not newest_is_mine:
            return []
        told = [oid for oid, is_mine in newest_is_mine.items() if not is_mine]
        return [peer.Invalidate(self.tid, told), *answers]

    def check(self) -> None:
        """Whatever is kept is right at the newest snapshot, and all that changed since older ones is known (SP1)."""
        newest = self.replica.newest
        for oid, tids in self.tids.items():
            found = self.replica.cache.get(oid, newest)
            right = max(tid for tid in tids if tid <= newest)
            assert found is None or found.tid == right
            for snapshot in self.snapshots:
                changed = self.replica.log.since(snapshot)
                assert changed is not None
                assert oid in changed or not any(snapshot < tid <= newest for tid in tids)
            # Whoever looks at the past asks for any tid.
            for at in range(10, newest + 1):
                kept = self.replica.cache.get(oid, at)
                assert kept is None or kept.tid == max(tid for tid in tids if tid <= at)
        self.snapshots.append(newest)


@pytest.mark.rule("SP1")
@given(st.data())
def test_what_is_kept_is_right_however_news_and_answers_are_cut(data: st.DataObject) -> None:
    told = Told()
    waiting: list[peer.ToPeer] = []
    for _ in range(data.draw(st.integers(1, 8))):
        for oids in data.draw(st.lists(_SOME, max_size=2)):
            told.send(oids)
        own = data.draw(st.integers(0, len(told.flying)))
        others = data.draw(st.lists(_SOME, max_size=2))
        waiting += told.group(own, others, is_own_last=data.draw(st.booleans()))
        count = data.draw(st.integers(0, len(waiting)))
        piece, waiting = waiting[:count], waiting[count:]
        if data.draw(st.integers(0, 9)) == 0:
            # It ends in the middle of the piece: the connection is given up, and no answer was lost unnoticed.
            place = data.draw(st.integers(0, len(piece)))
            piece.insert(place, peer.Mounted(1, "", None, 1, 1, 1, 1))
            with pytest.raises(RemoteProtocolError):
                told.calls.apply(piece)
            told.check()
            return
        told.calls.apply(piece)
        told.check()


@pytest.mark.rule("SP1")
@given(_SOME, st.lists(st.sampled_from(_OIDS), unique=True))
def test_what_a_peer_has_written_itself_stays_at_hand(mine: list[int], others: list[int]) -> None:
    told = Told()
    told.send(mine)
    told.calls.apply(told.group(1, [others] if others else [], is_own_last=False))
    for oid in mine:
        found = told.replica.cache.recent.get(oid)
        assert (found is not None and found.tid == 11) == (oid not in others)
        # Others who stand at an older snapshot are told.
        changed = told.replica.log.since(10)
        assert changed is not None
        assert oid in changed
