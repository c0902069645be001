"""Plain functions, generators and iterables, wherever a component is accepted.

===============================  ====================================================================================
``f(item)``                      called for each item; what it returns is sent on, but for None
``async def f(item)``            the same, awaited, one item after the other
``def f(item): yield``           called for each item; all that it yields is sent on
``async def f(items): yield``    called once with the inbox, to be read by ``async for``; all that it yields is sent on
``def f(): yield``               a source: called once, all that it yields is sent
``async def f(): yield``         likewise
``[...]``, any iterable          a source: its items are sent
===============================  ====================================================================================

A plain function runs on the loop: one that blocks goes into `Threaded` (FL4). Functions take whole batches out of their
box, so that an item costs little more than the call.
"""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any

from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.tracking import Tracked
from hubbub.kernel import GraphError, Stopped

_LONG_S = 0.001
"""A source that has made items for so long sends them and lets others run."""

_MOST = 128

_WORKS_ON: Boxes = {"inbox": "what the function is called with"}
_MAKES: Boxes = {"outbox": box("what the function makes of it", loose=True)}


def as_component(part: Any) -> Component:
    """Return ``part`` if it is a component, or a component that does what ``part`` says.

    Raises:
        GraphError: If ``part`` is nothing that can run as a component; the message says what can.
    """
    if isinstance(part, Component):
        return part
    if isinstance(part, type) and issubclass(part, Component):
        raise GraphError(
            f"{part.__name__} is a class: make a component of it, {part.__name__}(...)"
        )
    if inspect.isasyncgen(part) or isinstance(part, AsyncIterable):
        return AsyncSource(part)
    if isinstance(part, Iterable) and not isinstance(part, str | bytes) and not callable(part):
        return Source(part)
    if callable(part) and not isinstance(part, type):
        return _from_callable(part)
    if isinstance(part, type):
        return Function(part)
    raise GraphError(
        f"{part!r} can't be a component; a Component, a function of one item, a generator or an iterable can"
    )


def _from_callable(function: Callable[..., Any]) -> Component:
    called = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    takes_item = _required(function) > 0
    if inspect.isasyncgenfunction(called):
        return AsyncTransformer(function) if takes_item else AsyncSource(function)
    if inspect.isgeneratorfunction(called):
        return FlatFunction(function) if takes_item else Source(function)
    if inspect.iscoroutinefunction(called):
        return AsyncFunction(function)
    return Function(function)


def _required(function: Callable[..., Any]) -> int:
    """Return how many positional arguments ``function`` takes before the optional ones; a lone optional one counts."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1  # a built-in function without a signature
    positional = [
        p
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)
    ]
    required = [p for p in positional if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    needs_more = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if len(required) > 1 or needs_more:
        raise GraphError(
            f"{_name(function)} can't be a component: it takes more than one argument; "
            "a component's function takes the item (functools.partial gives it the rest)"
        )
    generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    return len(required) if generator else len(positional)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", None) or type(function).__name__)


class _Named(Component):
    """Carries the name of what it runs."""

    __slots__ = ("_function", "_name")

    inboxes: Boxes = _WORKS_ON
    outboxes: Boxes = _MAKES

    def __init__(self, function: Any) -> None:
        self._function = function
        self._name = _name(function)

    @property
    def label(self) -> str:
        return self._name

    async def _send_before_failing(self, results: list[Any]) -> None:
        """Send what is there already; if nobody reads it any more, it is the failure that counts."""
        with contextlib.suppress(Stopped):
            await self.send_all(results)


class Function(_Named):
    """Call a plain function for each item; send on what it returns, but for None."""

    __slots__ = ()

    async def main(self) -> None:
        if self.restart is not None:
            await self._one_by_one()  # so that what fails is one item
            return
        inbox, function = self.inbox, self._function
        while True:
            items = iter(await inbox.take())
            results: list[Any] = []
            try:
                for item in items:
                    if type(item) is Tracked:
                        result = function(item.item)
                        if result is not None:
                            results.append(Tracked(result, item.tokens))
                        item.release()
                    else:
                        result = function(item)
                        if result is not None:
                            results.append(result)
            except BaseException:
                inbox.put_back([item, *items])
                await self._send_before_failing(results)
                raise
            if results:
                await self.send_all(results)

    async def _one_by_one(self) -> None:
        function = self._function
        async for item in self.inbox:
            result = function(item)
            if result is not None:
                await self.send(result)


class FlatFunction(_Named):
    """Call a generator function for each item; send on all that it yields."""

    __slots__ = ()

    async def main(self) -> None:
        function = self._function
        async for item in self.inbox:
            for result in function(item):
                await self.send(result)


class AsyncFunction(_Named):
    """Await an ``async def`` function for each item; send on what it returns, but for None."""

    __slots__ = ()

    async def main(self) -> None:
        function: Callable[[Any], Awaitable[Any]] = self._function
        async for item in self.inbox:
            result = await function(item)
            if result is not None:
                await self.send(result)


class AsyncTransformer(_Named):
    """Give an async generator function the inbox; send on all that it yields."""

    __slots__ = ()

    async def main(self) -> None:
        items: AsyncIterator[Any] = self._function(self.inbox)
        try:
            async for result in items:
                await self.send(result)
        finally:
            await _close(items)


class AsyncSource(_Named):
    """Send all that an async iterable, or an async generator function without arguments, yields."""

    __slots__ = ()

    inboxes: Boxes = {}

    async def main(self) -> None:
        function = self._function
        items = function() if callable(function) else function
        try:
            async for item in items:
                await self.send(item)
        finally:
            await _close(items)


class Source(_Named):
    """Send all that an iterable, or a generator function without arguments, yields."""

    __slots__ = ()

    inboxes: Boxes = {}

    async def main(self) -> None:
        function = self._function
        items: Iterator[Any] = iter(function() if callable(function) else function)
        clock = time.monotonic
        while True:
            made: list[Any] = []
            began = clock()
            ended = True
            try:
                for item in items:
                    made.append(item)
                    if len(made) == _MOST or (len(made) & 7 == 1 and clock() - began > _LONG_S):
                        ended = False
                        break
            except BaseException:
                await self._send_before_failing(made)
                raise
            if made:
                await self.send_all(made)
            if ended:
                return


def again(component: Component, item: Any) -> list[Any]:
    """Return what a component that failed over ``item``, and restarts, finds before the rest: it, or nothing."""
    policy = component.restart
    if policy is None or policy.item == "again":
        return [item]
    if type(item) is Tracked:
        item.release()
    return []


async def _close(items: Any) -> None:
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()
