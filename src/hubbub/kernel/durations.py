"""Lengths of time as people write them: ``90s``, ``15m``, ``12h``, ``30d``, ``2w``, ``1y``."""

from __future__ import annotations

import math
import re

from hubbub.kernel.errors import ConfigurationError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdwy])", re.ASCII)


def seconds_of(text: str) -> float:
    """Return the seconds that ``text`` means: a number and one of s, m, h, d, w, y (a year has 365 days).

    Raises:
        ConfigurationError: If it is no such length of time, or none at all.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds < math.inf:
        raise ConfigurationError(
            f"{text!r} is no length of time: write a number and s, m, h, d, w or y, such as 30d"
        )
    return seconds
