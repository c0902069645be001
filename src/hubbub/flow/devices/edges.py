"""What components at the edge of the machine have in common: two directions at once, and what blocks when it opens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from hubbub.flow.component import Component

T = TypeVar("T")


async def together(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run all to their ends. The first that fails cancels the others, and what it raised is raised.

    Unlike `asyncio.TaskGroup` it raises no group, and being cancelled is over when this ends: a task group in which
    something fails meanwhile cancels its task again (Python 3.13), and so whatever has to be put in order then.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    failed: list[asyncio.Task[None]] = []
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        ended = [task for task in tasks if task in done and not task.cancelled()]
        failed = [task for task in ended if task.exception() is not None]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # looked at: it is the first that counts
    for task in failed:
        task.result()


async def open_in_thread(opening: Callable[[], T], close: Callable[[T], object]) -> T:
    """Return what ``opening`` returns, called in a thread. Being cancelled meanwhile leaves nothing open."""
    future = asyncio.get_running_loop().run_in_executor(None, opening)

    def close_late(done: asyncio.Future[T]) -> None:
        if not done.cancelled() and done.exception() is None:
            close(done.result())

    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        future.add_done_callback(close_late)
        raise


@contextlib.contextmanager
def handling(component: Component) -> Iterator[None]:
    """Handle the item in hand: what the component sends meanwhile of its own accord does not stem from it."""
    tokens = component.keep()
    try:
        yield
    except BaseException:
        component.resume(tokens)
        raise
    for token in tokens:
        token.release()


def feeds_itself(component: Component) -> bool:
    """Whether what ``component`` sends can come back to it, so that its inbox never ends by itself."""
    running = component.running
    reached: set[Component] = set()
    following = [component]
    while following:
        here = following.pop()
        for source, target in running.flat.linkages:
            if source.leaf is not here or target.leaf in reached:
                continue
            if target.leaf is component:
                return True
            reached.add(target.leaf)
            if not target.leaf.independent:
                following.append(target.leaf)
    return False
