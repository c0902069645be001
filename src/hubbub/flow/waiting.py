"""Waiting for several boxes at once: for something to read in one, for room in one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hubbub.flow.box import Box, BoxState
from hubbub.kernel import Finished


async def first_ready(boxes: Sequence[Box[Any]], timeout_s: float | None = None) -> Box[Any]:
    """Wait until one of ``boxes`` has something to read; return it. Earlier ones go first.

    Args:
        boxes: Boxes of one component.
        timeout_s: Seconds to wait at most, or None.

    Raises:
        TimeoutError: If nothing came in time. Nothing was taken.
        Finished: If all of them are read to their ends.
        Stopped: If one of them is stopped.
    """
    async with asyncio.timeout(timeout_s):
        while True:
            for box in boxes:
                if len(box):
                    return box
            for box in boxes:
                if box.hand is not None:
                    box.hand.release()
            still_open = _still_open(boxes)
            for box in still_open:
                box.check_unread()
            waiter = asyncio.get_running_loop().create_future()
            try:
                for box in still_open:
                    box.watch(waiter)
                await waiter
            finally:
                for box in still_open:
                    box.unwatch(waiter)


def _still_open(boxes: Sequence[Box[Any]]) -> list[Box[Any]]:
    """Return those of ``boxes`` that something may still come into."""
    ended = Finished("there is no box to wait for")
    still_open = []
    for box in boxes:
        try:
            box.check_open()
        except Finished as end:
            ended = end
        else:
            still_open.append(box)
    if not still_open:
        raise ended
    return still_open


async def room_in_any(boxes: Sequence[Box[Any]]) -> None:
    """Wait until one of ``boxes``, all of them full, may have room, or one is stopped.

    This waits in each one's queue of senders. So it takes no turn from those who wait there longer, but somebody may be
    quicker afterwards: look, and wait again.
    """
    waiter = asyncio.get_running_loop().create_future()
    full = [box for box in boxes if box.state is not BoxState.STOPPED]
    for box in full:
        box.queue_up(waiter)
    try:
        await waiter
    finally:
        for box in full:
            box.give_up(waiter)
