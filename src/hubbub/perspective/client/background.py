"""The loop in a thread of its own on which the client for scripts and windows runs (see `hubbub.sync`)."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hubbub.kernel import LocalProtocolError

T = TypeVar("T")
CallIn = Callable[[Callable[[], None]], Any]


_LAST_TURNS = 3
"""So many turns the loop goes on for at its end: a connection that has just failed is closed in one that follows."""


class Background:
    """A loop in a thread of its own."""

    def __init__(self, call_in: CallIn | None) -> None:
        self.call_in = call_in
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="hubbub-client", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        for _ in range(_LAST_TURNS):
            self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    @property
    def is_here(self) -> bool:
        """Whether the caller is in the loop's own thread."""
        return threading.current_thread() is self._thread

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Have the loop do ``work`` and wait for it. Interrupting cancels it."""
        if self.is_here:
            work.close()
            raise LocalProtocolError(
                "a callback can't wait for the hub in the client's own thread, which has to receive the answer: "
                "use call_in= to run callbacks elsewhere, or do it after the callback has returned"
            )
        if self.loop.is_closed():
            work.close()
            raise LocalProtocolError("this client is closed; log in again")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def there(self, fn: Callable[[], None]) -> None:
        """Run a callback where callbacks belong. Called in the loop's thread."""
        if self.call_in is None:
            fn()
        else:
            self.call_in(fn)

    async def invoke(self, run: Callable[[], Any]) -> Any:
        """Run a call of the mind where callbacks belong, and wait for what it returns."""
        future: asyncio.Future[Any] = self.loop.create_future()

        def done(value: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        def there() -> None:
            value, problem = None, None
            try:
                value = run()
            except Exception as error:  # noqa: BLE001 - goes to whoever awaits it
                problem = error
            if not self.loop.is_closed():
                self.loop.call_soon_threadsafe(done, value, problem)

        self.there(there)
        value = await future
        return await value if inspect.isawaitable(value) else value

    def stop(self) -> None:
        """End the loop and its thread. Idempotent."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            if not self.is_here:
                self._thread.join()
