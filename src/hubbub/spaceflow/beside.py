"""Graphs that run beside a hub, in its loop: `Hub(graphs=[...])`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from hubbub.flow import Component, ComponentFailedError, Runner, as_component

log = logging.getLogger("hubbub.flow")

DRAIN_S = 5.0
"""So long graphs may take to come to a good end."""


class Beside:
    """Start graphs together, and end them together.

    They have one runner, so they find each other's backplanes. One that fails takes the others along (FL3), which is
    logged with its whole cause; the hub goes on, since its users have no part in it.

    Args:
        graphs: Graphs, each of which can run once; or functions without arguments that make one for each start.

    Attributes:
        failure: Why they ended, or None.
    """

    def __init__(self, graphs: Sequence[Any] = ()) -> None:
        self._declared = tuple(graphs)
        self._runner: Runner | None = None
        self._task: asyncio.Task[None] | None = None
        self.failure: ComponentFailedError | None = None

    def start(self) -> None:
        """Run them.

        Raises:
            GraphError: If one can't be started. None was.
        """
        self.failure = None
        if not self._declared:
            return
        graphs = [_made(graph) for graph in self._declared]
        runner = Runner()
        runner.start(*graphs)
        self._runner = runner
        self._task = asyncio.get_running_loop().create_task(self._carry(runner))

    async def _carry(self, runner: Runner) -> None:
        try:
            await runner.wait()
        except ComponentFailedError as failure:
            self.failure = failure
            log.error("the graphs beside the hub have ended; the hub goes on", exc_info=failure)

    async def finish(self, timeout_s: float = DRAIN_S) -> None:
        """Let them come to a good end, and stop them if that takes too long. Idempotent."""
        if self._runner is not None and self._task is not None:
            self._runner.finish()
            await asyncio.wait([self._task], timeout=timeout_s)
            if not self._task.done():
                log.warning("graphs did not come to their end within %g s: stopped", timeout_s)
        await self.stop()

    async def stop(self) -> None:
        """End them now. Idempotent."""
        runner, task = self._runner, self._task
        self._runner = self._task = None
        if runner is not None and task is not None:
            await runner.stop()
            await asyncio.wait([task])


def _made(graph: Any) -> Component:
    if callable(graph) and not isinstance(graph, Component):
        graph = graph()
    return as_component(graph)
