"""Who is at the other end of a connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection. ``str()`` is its address.

    Attributes:
        host: Its address, or the path of a Unix socket.
        port: Its port; 0 for a Unix socket.
        certificate: What its TLS certificate says, as from `ssl.SSLSocket.getpeercert`; empty without TLS or where
            none was asked for.
    """

    host: str = ""
    port: int = 0
    certificate: dict[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @property
    def name(self) -> str:
        """The common name of its certificate, or nothing."""
        for part in self.certificate.get("subject", ()):
            for key, value in part:
                if key == "commonName":
                    return str(value)
        return ""

    def __str__(self) -> str:
        return address_text((self.host, self.port)) if self.port else self.host or "a local process"


def peer_of(transport: Any) -> Peer:
    """Return who is at the other end of ``transport``."""
    place = transport.get_extra_info("peername")
    certificate = transport.get_extra_info("peercert") or {}
    if isinstance(place, tuple) and len(place) >= 2:
        return Peer(str(place[0]), int(place[1]), certificate)
    if isinstance(place, bytes):
        place = place.decode("utf-8", "replace")
    return Peer(place or "", 0, certificate)


def address_text(place: Any) -> str:
    """Return a socket's address as people write it: ``127.0.0.1:1500``, ``[::1]:1500``, or a path."""
    if not isinstance(place, tuple):
        return str(place)
    host, port = place[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
