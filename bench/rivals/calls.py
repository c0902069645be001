"""The work of a plain remote call: one client, one call at a time, each with a line of 40 bytes that comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

WARM_S = 0.3
LINE = "x" * 40


def sequential(echo: Callable[[str], Any], seconds: float) -> dict[str, float]:
    """Return calls/s of ``echo``."""
    for duration in (WARM_S, seconds):
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < duration:
            echo(LINE)
            count += 1
        rate = count / (time.perf_counter() - began)
    return {"command-seq": rate}
