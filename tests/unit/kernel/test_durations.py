from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.kernel import ConfigurationError
from hubbub.kernel.durations import Duration, duration_text, seconds_of


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("90s", 90),
        ("15m", 900),
        ("1.5h", 5400),
        (" 30 d ", 2_592_000),
        ("2w", 1_209_600),
        ("1y", 31_536_000),
        ("1w 2d", 777_600),
        ("1d12h", 129_600),
    ],
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "d", "-3d", "0s", "3 days", "1e3s", "٣d", "9" * 400 + "d"]
)
def test_what_is_none_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ConfigurationError, match="such as 30d"):
        seconds_of(text)


@pytest.mark.parametrize("seconds", [0, 0.5, timedelta(days=1), timedelta()])
def test_a_number_counts_seconds(seconds: Duration) -> None:
    expected = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    assert seconds_of(seconds) == expected


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), timedelta(days=-1)])
def test_a_number_below_nothing_is_none(wrong: Duration) -> None:
    with pytest.raises(ConfigurationError, match="such as 30d"):
        seconds_of(wrong)


@given(st.integers(1, 10**10))
def test_its_text_means_the_same(seconds: int) -> None:
    assert seconds_of(duration_text(seconds)) == seconds
