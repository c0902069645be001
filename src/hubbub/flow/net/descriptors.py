"""The system's limit of open files, which bounds how many connections there can be."""

from __future__ import annotations

import logging

log = logging.getLogger("hubbub.flow.net")

_OTHERS = 100
"""Files that a process has open beside its connections."""


def make_room_for(connections: int, what: str) -> int:
    """Let this process have so many connections, as far as the system permits. Return how many it can have.

    Where that is fewer, a word in the log says so.

    Args:
        connections: How many.
        what: Who wants them, for the log.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return connections
    needed = connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        if raised > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    except (OSError, ValueError):
        pass  # some systems have a lower limit of their own
    if soft >= needed:
        return connections
    possible = max(soft - _OTHERS, 1)
    log.warning(
        "%s may have %d connections, but this process may open only %d files: about %d are possible; "
        "raise the hard limit ('ulimit -Hn', LimitNOFILE= in systemd), or say max_connections=%d",
        what,
        connections,
        soft,
        possible,
        possible,
    )
    return possible
