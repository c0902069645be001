"""What is remembered of those who number their items: bounded in origins and in numbers."""

from __future__ import annotations

import pytest

from hubbub.flow.net import numbering
from hubbub.flow.net.numbering import Arrivals, Origins


def with_numbers(origins: Origins, name: str, count: int) -> Arrivals:
    arrivals = origins.of(name, 1)
    for number in range(1, count + 1):
        assert arrivals.take(number, 1)
        arrivals.handled(number)
    return arrivals


def is_known(origins: Origins, name: str) -> bool:
    return origins.of(name, 1).remembered > 0


@pytest.mark.rule("PE5")
def test_who_is_longest_away_is_forgotten_where_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(numbering, "ORIGINS", 3)
    origins = Origins()
    for name in "abc":
        with_numbers(origins, name, 1)
    with_numbers(origins, "a", 0)  # it was here again
    origins.of("d", 1)
    assert is_known(origins, "a")
    assert not is_known(origins, "b")


@pytest.mark.rule("PE5")
def test_numbers_are_bounded_over_all_origins_and_who_is_here_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(numbering, "NUMBERS", 100)
    monkeypatch.setattr(numbering, "_LOOK_EVERY", 1)
    origins = Origins()
    here = with_numbers(origins, "here", 40)
    here.users = 1
    with_numbers(origins, "old", 40)
    with_numbers(origins, "new", 40)
    # Each number that was handled waits to be said, too, as long as nobody has listened.
    assert origins.of("one more", 1).remembered == 0
    assert here.remembered == 80
    assert is_known(origins, "here")
    assert not is_known(origins, "old")


def test_what_is_in_a_graph_is_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbering, "ORIGINS", 1)
    origins = Origins()
    busy = origins.of("busy", 1)
    assert busy.take(1, 1)
    origins.of("other", 1)
    assert origins.of("busy", 1) is busy
