"""Policies of restarts."""

from __future__ import annotations

import itertools

import pytest

from hubbub.flow import Backoff, Restart
from hubbub.flow.restarting import Failures
from hubbub.kernel import GraphError


def test_waits_grow_to_a_limit() -> None:
    backoff = Backoff(first_s=1, factor=2, most_s=5, jitter=0)
    assert list(itertools.islice(backoff.waits(), 5)) == [1, 2, 4, 5, 5]


def test_waits_differ_a_little() -> None:
    waits = list(itertools.islice(Backoff(first_s=1, factor=1, jitter=0.5).waits(), 20))
    assert all(0.5 <= wait <= 1 for wait in waits)
    assert len(set(waits)) > 1


@pytest.mark.parametrize("wrong", [{"first_s": -1}, {"factor": 0.5}, {"most_s": -1}, {"jitter": 2}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(GraphError, match="makes no sense: times from 0, a factor from 1"):
        Backoff(**wrong)


@pytest.mark.rule("FL3")
def test_failures_are_counted_within_a_time_and_then_forgotten() -> None:
    policy = Restart(limit=2, within_s=10, backoff=Backoff(first_s=1, jitter=0))
    failures = Failures(policy)
    assert [failures.failed(now) for now in (0, 1)] == [1, 2]
    assert failures.failed(20) == 1  # all forgotten: the waits begin again
    assert failures.failed(21) == 2
    assert failures.failed(22) is None
    assert failures.count == 5
