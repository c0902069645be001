"""Who is calling: the page's origin, and the address behind trusted proxies (GW2).

No cookie is ever set or read, so a foreign page has nothing to forge with. What is left is a page that uses a hub
which only its visitor's network can reach; therefore an `Origin` that a browser sends has to be the host's own or on
the list. Clients that are no browsers send none and pass.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from hubbub.gateway.options import Gateway, networks

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Callers:
    """Judge requests by the options of a gateway."""

    def __init__(self, options: Gateway) -> None:
        self._origins = frozenset(origin.lower() for origin in options.origins)
        self._networks = networks(options.trusted_proxies)
        self._unix = "unix" in options.trusted_proxies

    def address(self, connection: HTTPConnection) -> str:
        """Return the caller's address; the newest hop that is no trusted proxy. Empty if nobody knows it."""
        peer = connection.client.host if connection.client else ""
        if not self.is_trusted(peer):
            return peer
        hops = [
            hop.strip()
            for line in connection.headers.getlist("x-forwarded-for")
            for hop in line.split(",")
        ]
        for hop in reversed(hops):
            if _ip(hop) is None:
                return peer  # what follows was not written by a proxy that we know
            peer = hop
            if not self.is_trusted(hop):
                break
        return peer

    def may_come(self, connection: HTTPConnection) -> bool:
        """Tell whether the page that sent this request, if one did, may use this hub."""
        origin = connection.headers.get("origin")
        if origin is None:
            return True
        return self.is_listed(origin) or self._is_same_host(connection, origin)

    def is_listed(self, origin: str) -> bool:
        """Tell whether ``origin`` is on the list of other sites."""
        return "*" in self._origins or origin.lower() in self._origins

    def _is_same_host(self, connection: HTTPConnection, origin: str) -> bool:
        host = connection.headers.get("host", "")
        if self.is_trusted(connection.client.host if connection.client else ""):
            forwarded = connection.headers.get("x-forwarded-host", "")
            host = forwarded.rpartition(",")[2].strip() or host
        scheme = origin.partition(":")[0].lower()
        mine = _host_and_port(f"{scheme}://{host}")
        # The scheme is not compared: a proxy may have taken TLS off.
        return mine is not None and mine == _host_and_port(origin)

    def is_trusted(self, address: str) -> bool:
        """Tell whether ``address`` is a proxy's that is believed; the empty one is a Unix socket."""
        if not address:
            return self._unix
        if not self._networks:
            return False
        ip = _ip(address)
        return ip is not None and any(ip in network for network in self._networks)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _host_and_port(url: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname else None
