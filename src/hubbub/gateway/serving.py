"""Run the web face by itself: uvicorn, in our loop, on sockets of our own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

from hubbub.gateway.binding import bind, is_unix, name_of, refuse_open_door, unix_path
from hubbub.gateway.callers import Callers
from hubbub.gateway.options import Gateway
from hubbub.gateway.web_protocols import CHECK_S, Sockets, check_all, protocols
from hubbub.kernel.limits import Limits

log = logging.getLogger("hubbub.gateway")


class _Server(uvicorn.Server):
    """A uvicorn that leaves the process's signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class WebServer:
    """Serve an ASGI app on one address.

    Args:
        app: The app; its lifespan is not run, because the hub is driven by whoever made it.
        limits: Bounds what the server itself takes in.
        gateway: Says which proxies are trusted: behind one of these many users have one address.
        ssl_certfile, ssl_keyfile: For https.
    """

    def __init__(
        self,
        app: Any,
        limits: Limits,
        gateway: Gateway | None = None,
        *,
        ssl_certfile: str | None = None,
        ssl_keyfile: str | None = None,
    ) -> None:
        self.sockets = Sockets(limits, Callers(gateway or Gateway()).is_trusted)
        http, ws = protocols(self.sockets, getattr(app, "direct_polls", None))
        self._config = uvicorn.Config(
            app,
            http=http,
            ws=ws,
            # A message over the limit is told what is wrong by the session's endpoint; far over it, it is cut off here.
            ws_max_size=4 * limits.max_message_bytes,
            # Sessions have heartbeats of their own, which also show that the host's loop is alive.
            ws_ping_interval=None,
            ws_ping_timeout=None,
            ws_per_message_deflate=False,
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level=logging.WARNING,
            # Forwarded addresses are judged by `Callers`.
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=75,
            ssl_certfile=ssl_certfile,
            ssl_keyfile=ssl_keyfile,
        )
        self._server = _Server(self._config)
        self._task: asyncio.Task[None] | None = None
        self._checking: asyncio.TimerHandle | None = None
        self._path = ""
        self.address = ""

    async def start(
        self, address: str, *, authenticated: bool, public: bool = False, option: str = "--web"
    ) -> None:
        """Begin to accept connections; returns when it does.

        Args:
            address: ``host:port`` (port 0: a free one), or a path. `address` tells where it listens then.
            authenticated: Whether users have to prove who they are.
            public: Whether anybody may come who can reach this machine.
            option: The option that chose the address, for messages.

        Raises:
            AddressInUseError: If somebody listens there.
            ConfigurationError: If the address can't be had, or is open to the network without a password (GW2).
        """
        refuse_open_door(address, authenticated=authenticated, public=public, option=option)
        sockets = bind(address, option)
        self.address = name_of(sockets[0])
        if is_unix(address):
            self._path = str(unix_path(address))
        self._task = asyncio.create_task(self._server.serve(sockets))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise RuntimeError("the web server ended before it began")
            await asyncio.sleep(0.001)
        self._check()

    def _check(self) -> None:
        check_all(self._server)
        self._checking = asyncio.get_running_loop().call_later(CHECK_S, self._check)

    @property
    def url(self) -> str:
        """Where a browser finds it; empty on a Unix socket."""
        if self._path:
            return ""
        return f"{'https' if self._config.is_ssl else 'http'}://{self.address}/"

    def stop_accepting(self) -> None:
        """Take no new connections; those that are there go on. Idempotent."""
        if self._task is None:
            return
        for server in self._server.servers:
            server.close()
        if self._path:
            with suppress(FileNotFoundError):
                unix_path(self._path).unlink()
            self._path = ""

    async def close(self, timeout_s: float = 5.0) -> None:
        """Finish the answers that have begun, ``timeout_s`` seconds at most, and end. Idempotent.

        Call it after the portal was drained: then parked polls and event streams have been told, and end by themselves.
        """
        task, self._task = self._task, None
        if task is None:
            return
        self._task = task
        self.stop_accepting()
        self._task = None
        self._config.timeout_graceful_shutdown = max(1, round(timeout_s))
        # Carriers that were told to close write their last message in the next turns of the loop.
        await asyncio.sleep(0.02)
        self._server.should_exit = True
        try:
            await task
        finally:
            if self._checking is not None:
                self._checking.cancel()
