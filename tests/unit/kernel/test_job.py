"""A long job tells how far it is, and can be stopped."""

from __future__ import annotations

import pytest

from hubbub.kernel import Job, JobStoppedError


def test_a_step_tells_how_far_it_is() -> None:
    told: list[tuple[str, int, int]] = []
    Job(lambda *step: told.append(step)).step("marking", 3, 10)
    assert told == [("marking", 3, 10)]


def test_a_stopped_job_ends_at_its_next_step() -> None:
    job = Job()
    job.step("marking", 1)
    job.stop()
    assert job.is_stopped
    with pytest.raises(JobStoppedError) as caught:
        job.step("marking", 1_000, 2_000)
    assert str(caught.value) == "marking was stopped after 1,000 of 2,000"
