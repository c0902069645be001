"""Sockets to listen on, with errors that say what to do.

Addresses are bound at once, so that whoever starts a server learns of a port that is taken, and which one it got.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

from hubbub.flow.net.peer import address_text
from hubbub.kernel import AddressInUseError, ConfigurationError

BACKLOG = 1024

_IDLE_S, _EVERY_S, _TIMES = 60, 15, 4


def listen_tcp(host: str, port: int, *, hint: str) -> list[socket.socket]:
    """Return listening sockets; more than one where ``host`` means several addresses.

    Args:
        host: An address or a name; "" means all interfaces.
        port: The port; 0 takes a free one, the same for all.
        hint: What to do if it can't be had, for the message: "choose another port".

    Raises:
        AddressInUseError: If somebody else listens there.
        ConfigurationError: If the address can't be had.
    """
    asked = port
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
    except (OSError, OverflowError) as error:
        for sock in sockets:
            sock.close()
        raise _explained(error, address_text((host or "*", asked)), hint) from error
    return sockets


def listen_unix(path: Path, *, hint: str) -> socket.socket:
    """Return a listening socket at ``path``, to which only this user may connect.

    What a process that was killed has left there is replaced.

    Args:
        path: Where.
        hint: What to do if it can't be had, for the message.

    Raises:
        AddressInUseError: If somebody listens there.
        ConfigurationError: If the address can't be had, or something else is there.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise ConfigurationError(f"{path} is there already and is not a socket; {hint}")
        if _is_answering(path):
            raise _in_use(str(path), hint)
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Only this user may connect, from the first moment on.
    mask = os.umask(0o177)
    try:
        sock.bind(os.fspath(path))
        _listen(sock)
    except OSError as error:
        sock.close()
        raise _explained(error, str(path), hint) from error
    finally:
        os.umask(mask)
    return sock


def keep_alive(sock: socket.socket) -> None:
    """Let the system find out when the other end has vanished. Sockets accepted from ``sock`` do the same."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _IDLE_S),
        ("TCP_KEEPINTVL", _EVERY_S),
        ("TCP_KEEPCNT", _TIMES),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def name_of(sock: socket.socket) -> str:
    """Return where ``sock`` listens: ``127.0.0.1:8000``, ``[::1]:8000`` or a path."""
    return address_text(sock.getsockname())


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


def _in_use(address: str, hint: str) -> AddressInUseError:
    return AddressInUseError(
        f"{address} is taken: another program, or another hub, listens there; {hint}"
    )


def _explained(error: OSError | OverflowError, address: str, hint: str) -> ConfigurationError:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return _in_use(address, hint)
    why = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigurationError(f"can't listen on {address}: {why}; {hint}")
