"""Sockets to listen on, with errors that say what to do, and without surprises (GW2)."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from pathlib import Path

from hubbub.kernel import AddressInUseError, ConfigurationError

BACKLOG = 1024


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
    if is_unix(address):
        return [_bind_unix(unix_path(address), option)]
    host, port = host_and_port(address)
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, place in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((place[0], port, *place[2:]))
            port = port or int(sock.getsockname()[1])
            _listen(sock)
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise _explained(error, address, option) from error
    return sockets


def _bind_unix(path: Path, option: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise ConfigurationError(
                f"{path} is there already and is not a socket; choose another with {option}"
            )
        if _is_answering(path):
            raise _in_use(str(path), option)
        path.unlink()  # left over by a process that was killed
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Only this user may connect, from the first moment on.
    mask = os.umask(0o177)
    try:
        sock.bind(os.fspath(path))
        _listen(sock)
    except OSError as error:
        sock.close()
        raise _explained(error, str(path), option) from error
    finally:
        os.umask(mask)
    return sock


def _listen(sock: socket.socket) -> None:
    sock.listen(BACKLOG)
    sock.setblocking(False)


def _is_answering(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
        return True


def _in_use(address: str, option: str) -> AddressInUseError:
    return AddressInUseError(
        f"{address} is taken: another program, or another hub, listens there; choose another with {option}"
    )


def _explained(error: OSError, address: str, option: str) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        return _in_use(address, option)
    return ConfigurationError(
        f"can't listen on {address}: {error.strerror}; choose another address with {option}"
    )


def name_of(sock: socket.socket) -> str:
    """Return where ``sock`` listens: ``127.0.0.1:8000``, ``[::1]:8000`` or a path."""
    place = sock.getsockname()
    if isinstance(place, str):
        return place
    host, port = place[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
