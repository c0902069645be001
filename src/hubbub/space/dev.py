"""Dev mode: sockets, subprocesses and sleeps inside a body raise `BlockingError` (PE8).

What tells of them is `hubbub.kernel.blocking`; here it is asked whether a transaction of a host in dev mode is running
in this thread.
"""

from __future__ import annotations

from typing import Any

from hubbub.kernel import BlockingError
from hubbub.kernel.blocking import watch
from hubbub.space import context


def _refuse(event: str, _: tuple[Any, ...]) -> None:
    transaction = context.current()
    if transaction is not None and transaction.dev:
        raise BlockingError(
            f"{event} inside a command, query or view would hold up everybody; use an action for it"
        )


def install() -> None:
    """Begin to watch. Idempotent; lasts as long as the process."""
    watch(_refuse)
