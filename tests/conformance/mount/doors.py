"""What `hubbub.serving` opens, in a loop of its own thread: for tests that come as clients, over real sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from hubbub.kernel import Label
from hubbub.serving import Plan, Serving

T = TypeVar("T")


class OpenDoors:
    """Serve ``plan`` until `close`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.serving = Serving(plan)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="test-doors", daemon=True)
        self._thread.start()
        try:
            self.wait(self.serving.start())
        except BaseException:
            self._end()
            raise

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.run_until_complete(_settle())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def wait(self, coroutine: Any) -> Any:
        """Run ``coroutine`` in the loop's thread, and return its value."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def call(self, fn: Callable[..., T], *args: Any) -> T:
        """Run ``fn`` in the loop's thread, and return its value."""

        async def run() -> T:
            return fn(*args)

        value: T = self.wait(run())
        return value

    def command(self, body: Callable[[Any], Any], place: int = 0) -> Any:
        """Run ``body(root)`` as a command of one of the hubs."""
        host = self.plan.spaces[place].hub.host
        return self.wait(host.call(lambda connection: body(connection.root), Label(command="test")))

    @property
    def url(self) -> str:
        """The first address."""
        return self.serving.listen_url

    def close(self) -> None:
        """Drain, and close. Idempotent."""
        if self._thread.is_alive():
            self.wait(self.serving.stop())
            self._end()

    def _end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(30)


async def _settle() -> None:
    """End what is under way, as `asyncio.run` does, and let connections that were closed go."""
    for _ in range(20):
        await asyncio.sleep(0)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    # TLS waits for the other side's goodbye before it lets go of a socket; a loop that ends here does not.
    for transport in list(getattr(asyncio.get_running_loop(), "_transports", {}).values()):
        transport.abort()
    for _ in range(5):
        await asyncio.sleep(0)
