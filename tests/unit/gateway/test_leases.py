"""How long a pack keeps what peers may still read (ST7)."""

from __future__ import annotations

import pytest

from hubbub.gateway.leases import Leases
from hubbub.store.snapshots import Snapshots

pytestmark = pytest.mark.rule("ST7")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(clock: Clock) -> Leases:
    return Leases(60.0, 10, clock)


def test_without_peers_nothing_is_held(leases: Leases, clock: Clock) -> None:
    assert leases.is_idle
    leases.came()
    assert not leases.is_idle
    leases.left()
    assert not leases.is_idle  # it may come back
    clock.now += 60
    assert leases.is_idle


def test_what_was_newest_is_held_for_the_time_of_a_lease(leases: Leases, clock: Clock) -> None:
    leases.came()
    for tid in range(11, 131):
        clock.now += 1
        leases.told(tid)
    # 130 is the newest now. A peer may have begun at 70 a minute ago; a second is the step here.
    assert 69 <= leases.tid <= 70
    clock.now += 59
    assert 128 <= leases.tid <= 130
    clock.now += 1000
    assert leases.tid == 130
    leases.told(131)
    assert leases.tid == 130


def test_what_is_loaded_is_held_anew(leases: Leases, clock: Clock) -> None:
    leases.came()
    clock.now += 100
    leases.told(20)
    clock.now += 100
    leases.use(5)
    assert leases.tid == 5
    clock.now += 59
    assert leases.tid == 5
    leases.use(5)
    clock.now += 59
    assert leases.tid == 5
    clock.now += 2  # a second is the step here
    assert leases.tid == 20


def test_few_are_remembered_of_many_that_were_used(leases: Leases, clock: Clock) -> None:
    leases.came()
    clock.now += 100
    leases.told(9_000_000)
    clock.now += 100
    for tid in range(1, 30_000):
        leases.use(tid)
        clock.now += 0.1
    assert 29_380 <= leases.tid <= 29_400
    assert len(leases._used) <= 70


def test_the_oldest_of_a_moment_is_held(leases: Leases, clock: Clock) -> None:
    leases.came()
    clock.now += 100
    leases.told(50)
    clock.now += 100
    for tid in (30, 40, 20, 35):
        leases.use(tid)
    assert leases.tid == 20
    clock.now += 30
    leases.use(40)
    clock.now += 32
    assert leases.tid == 40


def test_a_pack_goes_no_further(leases: Leases, clock: Clock) -> None:
    snapshots = Snapshots()
    snapshots.add(leases)
    assert snapshots.shut(8) == 8
    leases.came()
    assert snapshots.shut(100) == 10
    leases.left()
    clock.now += 60
    assert snapshots.shut(100) == 100
