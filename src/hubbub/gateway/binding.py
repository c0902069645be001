"""Sockets to listen on, with errors that say what to do, and without surprises (GW2)."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

from hubbub.flow.net.listening import listen_tcp, listen_unix, name_of
from hubbub.kernel import ConfigurationError

__all__ = [
    "bind",
    "host_and_port",
    "is_loopback",
    "is_unix",
    "name_of",
    "refuse_open_door",
    "unix_path",
]


def is_unix(address: str) -> bool:
    """Tell whether ``address`` is a path (``unix:/run/hub.sock``, or anything with a slash), not a host and port."""
    return address.startswith("unix:") or "/" in address


def unix_path(address: str) -> Path:
    """Return the path that ``address`` names."""
    return Path(address.removeprefix("unix:"))


def host_and_port(address: str) -> tuple[str, int]:
    """Return the two of ``host:port``, ``[::1]:port``, ``:port`` (every interface) or a bare port (loopback).

    Raises:
        ConfigurationError: If it is none of these.
    """
    host, colon, port = address.rpartition(":")
    if not colon:
        host = "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"{address!r} is not an address such as 127.0.0.1:8000")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach ``host``."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_open_door(address: str, *, authenticated: bool, public: bool, option: str) -> None:
    """Refuse to let the whole network in where nobody is asked who they are (GW2).

    Args:
        address: Where to listen.
        authenticated: Whether users have to prove who they are.
        public: Whether the application says that anybody may come.
        option: The option that chose ``address``, for the message.

    Raises:
        ConfigurationError: If that would be so.
    """
    if authenticated or public or is_unix(address) or is_loopback(host_and_port(address)[0]):
        return
    raise ConfigurationError(
        f"{option} {address} would let everybody in who can reach this machine, without a password: "
        f"listen on 127.0.0.1, add a checker that asks for one, or say --public if that is meant"
    )


def bind(address: str, option: str) -> list[socket.socket]:
    """Return listening sockets for ``address``; more than one where a name means several.

    Args:
        address: ``host:port`` or a path. Port 0 takes a free one, the same for all.
        option: The option that chooses another address, such as ``--web``.

    Raises:
        AddressInUseError: If somebody else listens there.
        ConfigurationError: If the address can't be had.
    """
    hint = f"choose another with {option}"
    if is_unix(address):
        return [listen_unix(unix_path(address), hint=hint)]
    host, port = host_and_port(address)
    return listen_tcp(host, port, hint=hint)
