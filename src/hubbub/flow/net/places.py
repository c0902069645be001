"""Where to listen: a port of an interface, or a path."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from hubbub.flow.net.listening import BACKLOG, keep_alive, listen_tcp, listen_unix, name_of
from hubbub.kernel import ConfigurationError

HANDSHAKE_S = 10.0
"""How long a TLS handshake may take."""


class Place:
    """A port or a path that a server listens at. Bound by `bind`, used by `serve`, free after `close`.

    Args:
        port: The port, 0 for a free one; None with a path.
        host: The interface: an address or a name, "" for all.
        path: A Unix socket's path.
        tls: For TLS.

    Raises:
        ConfigurationError: If neither or both of port and path are given.
    """

    def __init__(
        self,
        port: int | None,
        host: str,
        path: str | os.PathLike[str] | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        if (port is None) == (path is None):
            raise ConfigurationError("a server listens at a port or at a path=: say one of them")
        self._port = port
        self._host = host
        self._path = None if path is None else Path(path)
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._address = ""
        self._bound_port = 0

    @property
    def address(self) -> str:
        """Where it listens, or is to: ``127.0.0.1:1500``, or a path."""
        if self._address:
            return self._address
        return str(self._path) if self._path is not None else f"{self._host or '*'}:{self._port}"

    @property
    def port(self) -> int:
        """The port, once it is bound; 0 for a path."""
        return self._bound_port or self._port or 0

    def bind(self) -> None:
        """Take the address, without accepting anybody yet.

        Raises:
            AddressInUseError: If somebody listens there.
            ConfigurationError: If it can't be had.
        """
        if self._path is not None:
            sock = listen_unix(self._path, hint="choose another path=, or end the other one")
            self._sockets = [sock]
        else:
            assert self._port is not None
            self._sockets = listen_tcp(
                self._host,
                self._port,
                hint="choose another port, or 0 for any, or end the other one",
            )
            self._bound_port = int(self._sockets[0].getsockname()[1])
            for sock in self._sockets:
                keep_alive(sock)
        self._address = name_of(self._sockets[0])

    async def serve(self, connection: Callable[[], asyncio.Protocol]) -> None:
        """Accept connections from now on; each gets a protocol."""
        loop = asyncio.get_running_loop()
        timeout_s = HANDSHAKE_S if self._tls is not None else None
        sockets, self._sockets = self._sockets, []
        for position, sock in enumerate(sockets):
            make = loop.create_server if self._path is None else loop.create_unix_server
            try:
                server = await make(
                    connection,
                    sock=sock,
                    ssl=self._tls,
                    ssl_handshake_timeout=timeout_s,
                    backlog=BACKLOG,
                )
            except BaseException:
                self._sockets = sockets[position:]
                raise
            self._servers.append(server)

    def close(self) -> None:
        """Accept nobody any more, and let others have the address. Idempotent."""
        for server in self._servers:
            server.close()
        for sock in self._sockets:
            sock.close()
        if self._path is not None and (self._servers or self._sockets):
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
        self._servers.clear()
        self._sockets.clear()
