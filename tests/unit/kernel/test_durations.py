from __future__ import annotations

import pytest

from hubbub.kernel import ConfigurationError
from hubbub.kernel.durations import seconds_of


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("90s", 90),
        ("15m", 900),
        ("1.5h", 5400),
        (" 30 d ", 2_592_000),
        ("2w", 1_209_600),
        ("1y", 31_536_000),
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
