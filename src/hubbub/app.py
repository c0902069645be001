"""The hub: the only place that wires the rooms together.

    store -> ledger, queue, live space (host) -> portal, desk, sessions -> gateway (web, TCP, peers)
                                             '-> graphs that run beside it

A `Hub` is what an application declares. It does nothing until it is started: by ``hubbub serve``, by another ASGI app's
lifespan, or by `hubbub.testing.TestHub`. It can be started again after it was stopped.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from hubbub.gateway import Gateway, create_app
from hubbub.gateway.hourly import HourlyPack
from hubbub.kernel import Clock, ConfigurationError, Label
from hubbub.kernel.limits import Limits
from hubbub.perspective.accounts import AccountsFile, accounts_path
from hubbub.perspective.alarms import Alarm, Alarms, LoopAlarms
from hubbub.perspective.checkers import Anonymous, Checker, FunctionChecker, Passwords
from hubbub.perspective.host import Host, Outcome
from hubbub.perspective.identity import Identity
from hubbub.perspective.portal import Portal
from hubbub.perspective.realm import Realm
from hubbub.space.root import Root
from hubbub.spaceflow.beside import Beside
from hubbub.store import Store, open_store

log = logging.getLogger("hubbub")

F = TypeVar("F", bound=Callable[..., Any])

DATA_VARIABLE = "HUBBUB_DATA"


class Hub:
    """One application: a realm, those who may enter, and its pages.

    Args:
        realm: Gives users their avatars; None serves the bare space to peers.
        checkers: Vouch for users: `Anonymous`, `Passwords`, or async functions that take a request and return an
            `Identity` or None. The application's own functions are asked first, in order.
        pages: Directory of static files for the web page, relative to the application's file.
        setup: Called with the root in a transaction at every start, before anybody is served.
        gateway: Which web transports there are, and what they allow.
        limits: What outsiders may ask for.
        data: Where the space is kept when nobody says otherwise (`hubbub serve --data`): a path or ``memory:``.
        graphs: Graphs of `hubbub.flow` that run while the hub does, in its loop. A graph runs once: give functions that
            make one, where the hub may be started again. They end with `stop`, which lets them drain before; if one
            fails, all of them end, the log says why, and the hub goes on.
    """

    def __init__(
        self,
        realm: Realm | None = None,
        checkers: Sequence[Checker | Callable[[Any], Awaitable[Identity | None]]] = (),
        *,
        pages: str | os.PathLike[str] | None = None,
        setup: Callable[[Root], Any] | None = None,
        gateway: Gateway | None = None,
        limits: Limits | None = None,
        data: str | None = None,
        graphs: Sequence[Any] = (),
    ) -> None:
        if realm is not None and not isinstance(realm, Realm):
            raise ConfigurationError(f"Hub(realm) takes a Realm, not {type(realm).__qualname__}")
        self.realm = realm or Realm()
        self.checkers = tuple(
            FunctionChecker(checker) if inspect.iscoroutinefunction(checker) else checker
            for checker in checkers
        )
        self.pages = _beside_caller(pages)
        self.setup = setup
        self.gateway = gateway or Gateway()
        self.limits = limits or Limits()
        self.data = data
        self.beside = Beside(graphs)
        self._every: list[tuple[float, Callable[[Root], Any]]] = []
        self._alarms: Alarms = LoopAlarms()
        self._armed: dict[int, Alarm] = {}
        self._host: Host | None = None
        self._hourly: HourlyPack | None = None
        self._portal: Portal | None = None

    # --- declaring ----------------------------------------------------------------------------------------------------

    def every(self, seconds: float) -> Callable[[F], F]:
        """Run the decorated function every ``seconds`` as a command with the root, while the hub runs."""

        def decorate(fn: F) -> F:
            self._every.append((seconds, fn))
            return fn

        return decorate

    # --- running ------------------------------------------------------------------------------------------------------

    async def start(
        self,
        store: Store | None = None,
        *,
        data: str | None = None,
        clock: Clock | None = None,
        alarms: Alarms | None = None,
        dev: bool = False,
    ) -> None:
        """Open the space and begin to run commands. Call it in the loop.

        Args:
            store: An open store; else ``data`` is opened.
            data: A path or ``memory:``; else what the hub was declared with, ``$HUBBUB_DATA``, ``hubbub.hub``.
            clock: Another clock, for tests.
            alarms: Other alarms, for tests.
            dev: Raise `BlockingError` where a body blocks.

        Raises:
            SpaceInUseError: Another process owns it.
            ClosedError: It is running already.
        """
        if self._host is not None:
            raise ConfigurationError("this hub is running already")
        where = data or self.data or os.environ.get(DATA_VARIABLE) or "hubbub.hub"
        if store is None:
            store = open_store(where, copies_apart=True)
        else:
            where = "memory:"
        self._give_accounts(where)
        self._alarms = alarms or LoopAlarms()
        portal = Portal(self.realm, self.checkers, self.limits, self._alarms)
        host = Host(
            store,
            clock=clock,
            release=portal.release,
            deliver=portal.deliver,
            dev_mode=dev,
            limits=self.limits,
        )
        host.start()
        portal.start(host)
        self._host, self._portal = host, portal
        self._hourly = HourlyPack(host)
        if self.setup is not None:
            setup = self.setup
            try:
                await host.call(lambda connection: setup(connection.root), Label(command="setup"))
            except BaseException:
                await self.stop()
                raise
        for number, (seconds, fn) in enumerate(self._every):
            self._arm(number, seconds, fn)
        try:
            self.beside.start()
        except BaseException:
            await self.stop()
            raise

    def _give_accounts(self, where: str) -> None:
        """Passwords are kept beside the space; a name that has one is not for the anonymous."""
        passwords = next((c for c in self.checkers if isinstance(c, Passwords)), None)
        for checker in self.checkers:
            if isinstance(checker, Anonymous):
                checker.forget_names()
        if passwords is None:
            return
        if where != "memory:" and not passwords.has_own_accounts:
            passwords.accounts = AccountsFile(accounts_path(where))
        for checker in self.checkers:
            if isinstance(checker, Anonymous):
                checker.accounts = passwords.accounts

    async def stop(self, *, drain: bool = True) -> None:
        """Drain: no new work, what was begun is finished and durable, clients are told to come back. Idempotent."""
        host, portal = self._host, self._portal
        if host is None or portal is None:
            return
        for alarm in self._armed.values():
            alarm.cancel()
        self._armed.clear()
        if self._hourly is not None:
            await self._hourly.close()
        if drain:
            await self.beside.finish()
            # What was begun is finished and its results handed to the sessions before they are told to come back.
            await host.call(lambda connection: None, Label(command="drain"))
        await self.beside.stop()
        portal.drain()
        await host.close()
        self._host = self._portal = None

    @property
    def is_running(self) -> bool:
        """Whether it has been started."""
        return self._host is not None

    @property
    def host(self) -> Host:
        """The running host. Raises `ConfigurationError` when the hub is not running."""
        if self._host is None:
            raise _not_running()
        return self._host

    @property
    def portal(self) -> Portal:
        """The running portal. Raises `ConfigurationError` when the hub is not running."""
        if self._portal is None:
            raise _not_running()
        return self._portal

    async def run(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Run ``fn(root, *args)`` as a command, and return its value when it is durable."""
        label = Label(command=getattr(fn, "__name__", "run"))
        return await self.host.call(lambda connection: fn(connection.root, *args), label)

    async def read(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Run ``fn(root, *args)`` as a query on what is durable, and return its value."""
        return await self.host.read(lambda connection: fn(connection.root, *args))

    def asgi(self) -> Any:
        """Return the web face as an ASGI app, to be mounted in another app or served by itself."""
        return create_app(self)

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Run the hub while an ASGI app runs: ``FastAPI(lifespan=hub.lifespan)``."""
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    def _arm(self, number: int, seconds: float, fn: Callable[[Root], Any]) -> None:
        waits = False

        def fire() -> None:
            nonlocal waits
            if self._host is None:
                return

            def done(outcome: Outcome) -> None:
                nonlocal waits
                waits = False
                if outcome.error is not None:
                    log.error("every(%s) %s failed", seconds, fn.__name__, exc_info=outcome.error)

            label = Label(command=f"every:{fn.__name__}")
            if not waits:  # else the host is slow: it gets fewer calls, not a queue of them
                waits = True
                self._host.run(lambda connection: fn(connection.root), done, label)
            self._armed[number] = self._alarms.call_later(seconds, fire)

        self._armed[number] = self._alarms.call_later(seconds, fire)


def _not_running() -> ConfigurationError:
    return ConfigurationError(
        "the hub is not running: start it with `hubbub serve`, hub.lifespan or TestHub"
    )


def _beside_caller(pages: str | os.PathLike[str] | None) -> Path | None:
    """Return ``pages`` as a path; a relative one is beside the file that declares the hub."""
    if pages is None:
        return None
    path = Path(pages)
    if not path.is_absolute():
        file = sys._getframe(2).f_globals.get("__file__")
        if file:
            path = Path(file).resolve().parent / path
    return path
