"""Each of these tests runs on asyncio's own loop and on uvloop's, where that is installed: transports differ."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from hubbub.flow.runner import loop_factory


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    loops: dict[str, Any] = {"asyncio": asyncio.new_event_loop}
    other = loop_factory()
    if other is not None:
        loops["uvloop"] = other
    return loops
