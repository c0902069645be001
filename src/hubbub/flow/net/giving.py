"""Hand what came over a connection to several boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hubbub.flow.component import Outlets, is_stopped
from hubbub.flow.tracking import copies, let_go
from hubbub.kernel import Stopped


async def give(targets: Outlets, items: Sequence[Any]) -> None:
    """Put ``items`` into all of ``targets``; that one has stopped matters only where none is left.

    Raises:
        BoxFullError: If a box refuses one.
        Stopped: If all of them have stopped.
    """
    for position, target in enumerate(targets):
        batch, done = (copies(items) if position else items), 0
        try:
            while done < len(batch):
                done += await target.put_some(batch, done)
        except Stopped:
            if all(is_stopped(other) for other in targets):
                raise
            let_go(batch[done:])
