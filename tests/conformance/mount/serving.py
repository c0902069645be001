"""A host with peers in a thread of its own: what the tests of mounts talk to."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hubbub.gateway.admission import Admission
from hubbub.gateway.doorkeeper import Doorkeeper, OpenSpace
from hubbub.gateway.peer_door import PeerDoor
from hubbub.gateway.peers import PeerConnection, PeerOptions
from hubbub.kernel import Label
from hubbub.perspective.host import Host
from hubbub.store import Store
from hubbub.wire.frames import PREFACE_PEER

T = TypeVar("T")


class _Stream(asyncio.Protocol):
    def __init__(self, server: HostThread) -> None:
        self._server = server
        self._preface = b""
        self.connection: PeerDoor | PeerConnection | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._server.streams.add(self)

    def data_received(self, data: bytes) -> None:
        if self.connection is None:
            self._preface += data
            if len(self._preface) < len(PREFACE_PEER):
                return
            assert self._preface.startswith(PREFACE_PEER)
            data = self._preface[len(PREFACE_PEER) :]
            self.connection = PeerDoor(
                self._server.doorkeeper,
                self.transport.write,
                self.transport.close,
                self.transport.get_write_buffer_size,
                self._let_in,
            )
        if data:
            self.connection.received(data)

    def _let_in(self, connection: PeerConnection) -> None:
        self.connection = connection

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.streams.discard(self)
        if isinstance(self.connection, PeerConnection):
            self._server.doorkeeper.left(self.connection)
        if self.connection is not None:
            self.connection.lost()


class HostThread:
    """Serve ``store`` on TCP, or on a Unix socket where a path is given, until `close`."""

    def __init__(
        self,
        store: Store,
        *,
        path: Path | None = None,
        port: int = 0,
        options: PeerOptions | None = None,
        space: str = "",
        is_public: bool = False,
        admission: Admission | None = None,
    ) -> None:
        self.options = options or PeerOptions()
        self._space = space
        self._is_public = is_public
        self._admission = admission
        self.streams: set[_Stream] = set()
        self.loop = asyncio.new_event_loop()
        self._store = store
        self._path = path
        self._port = port
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="test-host", daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self) -> None:
        self.loop.run_until_complete(self._serve())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    async def _serve(self) -> None:
        self.host = Host(self._store)
        self.host.start()
        space = OpenSpace(
            name=self._space,
            host=self.host,
            peer_options=self.options,
            is_public=self._is_public,
        )
        self.doorkeeper = Doorkeeper([space], self._admission)
        loop = asyncio.get_running_loop()
        if self._path is not None:
            server = await loop.create_unix_server(lambda: _Stream(self), str(self._path))
            self.url = f"hub+unix://{self._path}"
        else:
            server = await loop.create_server(lambda: _Stream(self), "127.0.0.1", self._port)
            self.port = server.sockets[0].getsockname()[1]
            self.url = f"hub://127.0.0.1:{self.port}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for stream in list(self.streams):
            if stream.connection is not None:
                stream.connection.closing("test over")
            stream.transport.close()
        await asyncio.sleep(0)
        await self.host.close()
        for stream in list(self.streams):
            stream.transport.abort()
        await asyncio.sleep(0)

    def call(self, fn: Callable[..., T], *args: Any) -> T:
        """Run ``fn`` in the loop's thread and return what it returned."""

        async def run() -> T:
            return fn(*args)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(20)

    def command(self, body: Callable[..., Any]) -> Any:
        """Run ``body(root)`` as a command of the host."""
        call = self.host.call(lambda connection: body(connection.root), Label(command="test"))
        return asyncio.run_coroutine_threadsafe(call, self.loop).result(20)

    def cut(self) -> None:
        """Break every connection."""

        def abort() -> None:
            for stream in self.streams:
                stream.transport.abort()

        self.call(abort)

    def close(self) -> None:
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
