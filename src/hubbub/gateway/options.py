"""What the web face of a hub offers and allows."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from hubbub.kernel import ConfigurationError

TRANSPORTS = ("ws", "sse", "poll")
"""WebSocket, server-sent events, long-poll: the order in which a browser tries them."""

PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""Nothing from elsewhere. Inline scripts work, because a first page is one file."""


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """How browsers and plain HTTP clients may come in.

    Attributes:
        transports: Which of ``ws``, ``sse`` and ``poll`` there are; the others answer 404.
        poll_s: Seconds that a poll is parked at most when there is nothing to deliver.
        origins: Other web sites whose pages may connect, such as ``https://app.example``; ``*`` for any. Pages of
            the same host always may.
        trusted_proxies: Addresses or networks whose ``X-Forwarded-For`` and ``X-Forwarded-Host`` are believed;
            ``unix`` for whatever connects through a Unix socket.
        calls: Whether there are plain HTTP calls (``POST /api/say``).
        page_policy: The pages' Content-Security-Policy.

    Raises:
        ConfigurationError: If one of them makes no sense.
    """

    transports: Sequence[str] = TRANSPORTS
    poll_s: float = 25.0
    origins: Sequence[str] = ()
    trusted_proxies: Sequence[str] = ()
    calls: bool = True
    page_policy: str = PAGE_POLICY

    def __post_init__(self) -> None:
        for name in ("transports", "origins", "trusted_proxies"):
            if isinstance(getattr(self, name), str):
                raise ConfigurationError(
                    f"Gateway({name}=) takes a list of strings, not one string"
                )
        for transport in self.transports:
            if transport not in TRANSPORTS:
                raise ConfigurationError(
                    f"Gateway(transports=): there is no {transport!r}; there are {', '.join(TRANSPORTS)}"
                )
        if not self.poll_s > 0:
            raise ConfigurationError(f"Gateway(poll_s=) has to be more than 0, not {self.poll_s!r}")
        for origin in self.origins:
            if origin != "*" and not _is_origin(origin):
                raise ConfigurationError(
                    f"Gateway(origins=): {origin!r} is not an origin such as 'https://app.example'"
                )
        for proxy in self.trusted_proxies:
            if proxy != "unix":
                _network(proxy)


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        return False
    named = bool(parts.scheme and parts.hostname)
    return named and port_is_fine and text == f"{parts.scheme}://{parts.netloc}"


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ConfigurationError(
            f"Gateway(trusted_proxies=): {text!r} is neither an address nor a network nor 'unix'"
        ) from None


def networks(
    proxies: Sequence[str],
) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Return ``proxies`` as networks, without ``unix``."""
    return tuple(_network(proxy) for proxy in proxies if proxy != "unix")
