"""Where hosts are: ``hub://host:port/space``, ``hubs://`` for TLS, ``hub+unix:///path``, and several of them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from hubbub.kernel import ConfigurationError
from hubbub.mount.secured import Certificates, SecuredSocket

DEFAULT_PORT = 1975
SCHEMES = ("hub", "hubs", "hub+unix")

URL = str | os.PathLike[str]


class Address(msgspec.Struct, frozen=True):
    """Where a host listens: a TCP host and port, or the path of a Unix socket; and the name of the space."""

    host: str = ""
    port: int = DEFAULT_PORT
    path: str = ""
    space: str = ""
    tls: bool = False

    def __str__(self) -> str:
        return self.path or (
            f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        )

    @classmethod
    def of(cls, url: str) -> Address:
        """Return the one address in ``hub://host:port/space``, ``hubs://...`` or ``hub+unix:///path?space=name``.

        Raises:
            ConfigurationError: If it is none, or several.
        """
        found = addresses_of(url)
        if len(found) > 1:
            raise ConfigurationError(f"{url!r} names several hosts: give one")
        return found[0]

    def connect(
        self, timeout_s: float, certificates: Certificates | None = None
    ) -> socket.socket | SecuredSocket:
        """Return a connected socket, over TLS if the address says so.

        Raises:
            OSError: If nobody answers; `ssl.SSLError` if TLS does not come about.
            ConfigurationError: If a certificate of ours can't be loaded.
        """
        if self.path:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                made.settimeout(timeout_s)
                made.connect(self.path)
            except OSError:
                made.close()
                raise
            return made
        context = (certificates or Certificates()).context() if self.tls else None
        deadline = time.monotonic() + timeout_s
        made = socket.create_connection((self.host, self.port), timeout_s)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if context is None:
            return made
        return SecuredSocket(made, context, self.host, max(0.001, deadline - time.monotonic()))


def addresses_of(urls: URL | Sequence[URL]) -> tuple[Address, ...]:
    """Return all addresses in one URL, ``hub://a:1975,b:1975/space``, or in several.

    Raises:
        ConfigurationError: If there is none, or one makes no sense, or they are not of one space.
    """
    given = [urls] if isinstance(urls, str | os.PathLike) else list(urls)
    found: dict[Address, None] = {}
    for url in given:
        found.update(dict.fromkeys(_addresses_in(os.fspath(url))))
    if not found:
        raise ConfigurationError("an empty list names no host: give hub://host:port/space")
    if len({address.space for address in found}) > 1:
        names = ", ".join(repr(address.space) for address in found)
        raise ConfigurationError(f"a list of hosts is for copies of one space, not of {names}")
    return tuple(found)


def usable_addresses(
    urls: URL | Sequence[URL], certificates: Certificates | None
) -> tuple[tuple[Address, ...], Certificates]:
    """Return `addresses_of`, and the certificates for them, which fit and can be loaded.

    Raises:
        ConfigurationError: As `addresses_of` and `Certificates.check_for`.
    """
    found = addresses_of(urls)
    certificates = certificates or Certificates()
    certificates.check_for(urls, is_tls=any(address.tls for address in found))
    return found, certificates


def _addresses_in(url: str) -> list[Address]:
    parts = urlsplit(url)
    if parts.scheme == "hub+unix":
        query = parse_qs(parts.query)
        if parts.netloc or not parts.path or query.keys() - {"space"}:
            raise ConfigurationError(
                f"{url!r}: a Unix socket is hub+unix:///absolute/path, or .../path?space=NAME"
            )
        return [Address(path=unquote(parts.path), space=query.get("space", [""])[0])]
    if parts.scheme not in ("hub", "hubs"):
        raise ConfigurationError(f"{url!r} names no host: give hub://host:port/space")
    space = unquote(parts.path.strip("/"))
    found: list[Address] = []
    for place in parts.netloc.split(","):
        one = urlsplit(f"//{place.strip()}")
        try:
            port = one.port
        except ValueError:
            raise ConfigurationError(f"{url!r}: the port has to be a number up to 65535") from None
        if not one.hostname or "@" in place:
            raise ConfigurationError(f"{url!r} names no host: give hub://host:port/space")
        found.append(
            Address(
                one.hostname,
                DEFAULT_PORT if port is None else port,
                "",
                space,
                parts.scheme == "hubs",
            )
        )
    return found
