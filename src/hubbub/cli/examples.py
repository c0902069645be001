"""Examples at the end of a command's help."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """Return an epilog for `click` that shows ``lines`` as they stand."""
    # The mark keeps click from filling the lines into a paragraph.
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
