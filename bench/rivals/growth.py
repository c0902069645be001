"""ZODB: what grows with the number of clients."""

from __future__ import annotations

from bench.rivals.commits import rate


def commits(seconds: float, clients: int, system: str) -> dict[str, float]:
    """Commits/s of ``clients`` processes together."""
    return {"commits/s": rate(seconds, clients, system)}
