"""The loop that looks before it sleeps (`hubbub.gateway.lookout`)."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from hubbub.gateway.lookout import Lookout


class World:
    """A loop and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.is_free = True
        self.soon: list[Callable[[], None]] = []
        self.lookout = Lookout(self.soon.append, lambda: self.is_free)
        clock = SimpleNamespace(perf_counter=lambda: self.now)
        monkeypatch.setattr("hubbub.gateway.lookout.time", clock)

    def turn(self) -> None:
        """Run what was to be called soon."""
        calls, self.soon[:] = list(self.soon), []
        for call in calls:
            call()

    def message(self, after_s: float) -> None:
        """A message comes and is answered."""
        self.now += after_s
        self.lookout.came()
        self.lookout.answered()


def test_it_looks_where_messages_come_soon_after_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.message(0)
    assert not world.soon
    world.message(0.0001)
    for _ in range(3):
        world.turn()
        assert len(world.soon) == 1
    world.message(0.0001)
    assert len(world.soon) == 1
    world.now += 0.001  # in vain
    world.turn()
    assert not world.soon
    world.message(0)
    assert not world.soon


def test_it_gives_way_to_who_has_work(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.message(0)
    world.message(0.0001)
    world.is_free = False
    world.turn()
    assert not world.soon
