"""Linkages as people write them.

Accepted are ``"filter.error -> errors"``, where a box that is not named is ``outbox`` on the left and ``inbox`` on the
right; pairs ``(("filter", "error"), ("errors", "inbox"))``, as in Kamaelia; and a mapping from the one to the other.
The part ``self`` is the graph: ``"self.inbox -> filter"`` passes its inbox through, ``"filter -> self.outbox"`` its
outbox.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from hubbub.flow.graph import Linkage, Place
from hubbub.kernel import GraphError

SELF = "self"

_END = re.compile(r"\s*([\w-]+)\s*(?:\.\s*([\w-]+)\s*)?$")

Linkages = Mapping[Any, Any] | Iterable[Any]


def linkages_of(written: Linkages) -> list[Linkage]:
    """Return ``written`` in one form.

    Raises:
        GraphError: If an entry is none of the accepted forms.
    """
    entries: Iterable[Any] = written.items() if isinstance(written, Mapping) else written
    if isinstance(written, str):
        entries = [written]
    return [linkage for entry in entries for linkage in _linkages(entry)]


def place_of(written: Any, box: str) -> Place:
    """Return a place: ``"part"``, ``"part.box"`` or ``("part", "box")``.

    Args:
        written: The place.
        box: The box that is meant where none is named.

    Raises:
        GraphError: If it is none of these.
    """
    if isinstance(written, str):
        match = _END.match(written)
        if match:
            return Place(match[1], match[2] or box)
    elif (
        isinstance(written, tuple)
        and len(written) == 2
        and all(isinstance(w, str) for w in written)
    ):
        return Place(*written)
    raise GraphError(f"{written!r} names no box; write 'part.box', or 'part' for its {box}")


def _linkages(entry: Any) -> list[Linkage]:
    if isinstance(entry, Linkage):
        return [entry]
    if isinstance(entry, str):
        ends = entry.split("->")
        if len(ends) < 2:
            raise GraphError(f"{entry!r} is no linkage; write 'part.outbox -> part.inbox'")
        places = [
            (place_of(left, "outbox"), place_of(right, "inbox"))
            for left, right in itertools.pairwise(ends)
        ]
    elif isinstance(entry, tuple) and len(entry) == 2:
        places = [(place_of(entry[0], "outbox"), place_of(entry[1], "inbox"))]
    else:
        raise GraphError(
            f"{entry!r} is no linkage; write 'part.outbox -> part.inbox' or (('part', 'outbox'), ('part', 'inbox'))"
        )
    return [Linkage(_own(source, "inbox"), _own(target, "outbox")) for source, target in places]


def _own(place: Place, box: str) -> Place:
    """``self`` alone, on the left, is the graph's inbox; on the right it is its outbox."""
    if place.part == SELF and place.box in ("inbox", "outbox"):
        return Place(SELF, box)
    return place
