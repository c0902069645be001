"""A hub that listens, in a thread and loop of its own: what clients connect to, and what is cut and killed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import hubbub
from hubbub.gateway.tcp import Listener
from hubbub.store.memory import MemoryStore


class Serving:
    """Serve ``hub`` at ``address`` until `close`."""

    def __init__(self, hub: hubbub.Hub, address: str = "127.0.0.1:0") -> None:
        self.hub = hub
        self.address = address
        self.store = MemoryStore()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.listener: Any = None
        self.wait(self._open())

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.close()

    def wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    async def _open(self) -> None:
        await self.hub.start(self.store)
        self.listener = Listener(self.hub.portal)
        await self.listener.start(self.address, authenticated=False)
        self.address = self.listener.address

    @property
    def url(self) -> str:
        return f"hub+unix://{self.address}" if "/" in self.address else f"hub://{self.address}"

    async def _close(self) -> None:
        await self.hub.stop()
        await self.listener.close(timeout_s=1.0)

    def restart(self) -> None:
        """Stop as on SIGTERM, and start again at the same address with the same data."""
        self.wait(self._close())
        self.store = self.store.reopen()
        self.wait(self._open())

    def cut(self) -> None:
        """Break every connection."""

        async def abort() -> None:
            for stream in list(self.listener._streams):
                stream.abort()

        self.wait(abort())

    def run(self, fn: Callable[..., Any]) -> Any:
        return self.wait(self.hub.run(fn))

    def close(self) -> None:
        if not self.loop.is_closed():
            self.wait(self._close())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
