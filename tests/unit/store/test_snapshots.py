"""Open snapshots and a floor that rises: whoever reads is above it, whenever the two meet."""

from __future__ import annotations

import threading

import pytest

from hubbub.kernel import PackedError
from hubbub.store.snapshots import Snapshots


@pytest.mark.rule("ST7")
def test_the_floor_rises_to_the_oldest_that_is_held() -> None:
    snapshots = Snapshots()
    first, second = snapshots.hold(5), snapshots.hold(7)
    assert snapshots.shut(9) == snapshots.floor == 5
    first.release()
    first.release()
    assert (snapshots.oldest(), snapshots.shut(6), snapshots.shut(9)) == (7, 6, 7)
    with second:
        assert snapshots.shut(9) == 7
    assert (snapshots.oldest(), snapshots.shut(9), snapshots.shut(3)) == (None, 9, 9)


@pytest.mark.rule("ST7")
def test_what_is_forgotten_holds_nothing() -> None:
    snapshots = Snapshots()
    hold = snapshots.hold(5)
    assert snapshots.shut(9) == 5
    del hold
    assert snapshots.shut(9) == 9


@pytest.mark.rule("ST7")
def test_below_the_floor_nothing_is_held() -> None:
    snapshots = Snapshots(floor=6)
    for _ in range(2):
        with pytest.raises(PackedError, match=r"is not kept any more.*packed up to tid 0{15}6"):
            snapshots.hold(5)
    assert snapshots.oldest() is None
    snapshots.hold(6)


@pytest.mark.rule("ST7")
def test_no_race_lets_the_floor_rise_above_a_hold() -> None:
    snapshots = Snapshots()
    held: dict[int, int] = {}
    ended = threading.Event()
    counts = [0, 0, 0]

    def hold(name: int) -> None:
        while not ended.is_set():
            tid = snapshots.floor
            try:
                with snapshots.hold(tid):
                    counts[name] += 1
                    held[counts[name] * 3 + name] = tid
                    del held[counts[name] * 3 + name]
            except PackedError:
                continue

    holders = [threading.Thread(target=hold, args=(name,)) for name in range(3)]
    for thread in holders:
        thread.start()
    floor = 0
    while min(counts) < 300:
        before = held.copy()
        floor = snapshots.shut(floor + 1)
        # What was held all the while.
        assert all(floor <= tid for name, tid in held.copy().items() if name in before)
    ended.set()
    for thread in holders:
        thread.join()
