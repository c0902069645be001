"""Whom a checker vouches for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Identity(msgspec.Struct, frozen=True):
    """A user as a checker vouches for them; never what a client merely says of itself.

    Attributes:
        id: Unique per checker, which is named in it: ``anon:7f3a``, ``password:ann``.
        name: For display. Not unique unless the checker says so.
        claims: What else the checker knows, such as roles.
        address: Where the connection came from, as far as trusted proxies tell.
    """

    id: str
    name: str
    claims: Mapping[str, Any] = {}
    address: str = ""
