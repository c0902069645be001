"""Lengths of time as people write them: ``90s``, ``15m``, ``12h``, ``30d``, ``2w``, ``1y``, ``1w 2d``."""

from __future__ import annotations

import math
import re
from datetime import timedelta

from hubbub.kernel.errors import ConfigurationError

Duration = str | float | timedelta
"""Text like ``30d``, seconds, or a `timedelta`; see `seconds_of`."""

_SECONDS = {"y": 365 * 86_400, "w": 7 * 86_400, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdwy])\s*", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)


def seconds_of(duration: Duration) -> float:
    """Return the seconds that ``duration`` means.

    Args:
        duration: Text: a number and one of s, m, h, d, w, y (a year has 365 days), or several such that add up. Or
            seconds, or a `timedelta`; these may be 0.

    Raises:
        ConfigurationError: If it is no such length of time, or none at all.
    """
    if isinstance(duration, timedelta):
        duration = duration.total_seconds()
    if isinstance(duration, str):
        text = duration.strip()
        parts = _PART.findall(text) if _DURATION.fullmatch(text) else []
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        is_one = 0 < seconds < math.inf
    else:
        seconds = float(duration)
        is_one = 0 <= seconds < math.inf
    if not is_one:
        raise ConfigurationError(
            f"{duration!r} is no length of time: write a number and s, m, h, d, w or y, such as 30d"
        )
    return seconds


def duration_text(seconds: float) -> str:
    """Return whole ``seconds`` as people write them, such as ``1d 12h``."""
    left = round(seconds)
    parts: list[str] = []
    for unit, size in _SECONDS.items():
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"
