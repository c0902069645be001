"""`TestHub`: a whole hub inside a test, with a clock that the test moves.

Theory of operation
===================

The hub is the real one on a store in memory; its users are real clients. Only three things are the test's own: the
clock, the wire (`in_process.py`), and what password hashing costs. Nothing happens while the test does not wait, and
what users are told they are told when the host has come to rest (`rest.py`): so the same test runs the same way.

    async with TestHub(hub) as t --start--> RUNNING --kill_and_restart--> RUNNING --> STOPPED
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Mapping
from typing import Any, Self

import argon2

from hubbub.app import Hub
from hubbub.kernel import ConfigurationError, FakeClock
from hubbub.perspective.accounts import MemoryAccounts
from hubbub.perspective.alarms import FakeAlarms
from hubbub.perspective.avatar import Mind
from hubbub.perspective.checkers import Anonymous, Passwords
from hubbub.perspective.client.connection import ClientState
from hubbub.perspective.client.login import Client, Login, hello_of
from hubbub.store.memory import MemoryStore
from hubbub.testing.in_process import InProcessConnector, InProcessWire
from hubbub.testing.rest import TURNS, Rest

_CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class TestHub:
    """Run a hub for a test: ``async with TestHub(hub) as t``. No port, no file, no sleep.

    Attributes:
        hub: The hub.
        clock: Its clock; it stands still but for `advance`.

    Args:
        hub: What the application declares. It may be used for one test after another, not for two at a time.
        dev: Raise `BlockingError` where a body blocks (PE8).
        clock: To begin at another time.
    """

    __test__ = False  # not a test of pytest's

    def __init__(self, hub: Hub, *, dev: bool = True, clock: FakeClock | None = None) -> None:
        self.hub = hub
        self.clock = clock or FakeClock()
        self._dev = dev
        self._store = MemoryStore()
        self._alarms = FakeAlarms(self.clock)
        self._declared = hub.checkers
        self._accounts = MemoryAccounts()
        self._connectors: dict[int, tuple[Client, InProcessConnector]] = {}
        self._wires: list[InProcessWire] = []
        self._up = asyncio.Event()
        self._due = asyncio.Event()
        self._held = False
        self._rest: Rest | None = None
        self._pump: asyncio.Task[None] | None = None

    # --- life -----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self.hub.is_running:
            raise ConfigurationError("this hub is running already, perhaps in another TestHub")
        self._declared = self.hub.checkers
        try:
            await self._start()
        except BaseException:
            self._give_back()
            raise
        self._pump = asyncio.get_running_loop().create_task(self._deliver_for_ever())
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            for client, connector in list(self._connectors.values()):
                connector.is_closed = True
                connector.allow()
                await client.close()
            if self._pump is not None:
                self._pump.cancel()
                await asyncio.wait([self._pump])
            for wire in self._wires:
                wire.cut()
            await self.hub.stop()
        finally:
            self._give_back()

    async def _start(self) -> None:
        self.hub.checkers = tuple(self._own(checker) for checker in self._declared)
        await self.hub.start(self._store, clock=self.clock, alarms=self._alarms, dev=self._dev)
        self._rest = Rest(self.hub.host)
        self._up.set()

    def _own(self, checker: Any) -> Any:
        """Return a checker that knows nothing of other tests, and hashes quickly."""
        if type(checker) is Anonymous:
            return Anonymous(limits=self.hub.limits)
        if type(checker) is Passwords:
            return Passwords(self._accounts, self.hub.limits, self.clock, _CHEAP)
        return copy.copy(checker)

    def _give_back(self) -> None:
        for checker in self.hub.checkers:
            if isinstance(checker, Passwords) and checker not in self._declared:
                checker.close()
        self.hub.checkers = self._declared
        self._up.clear()

    # --- users ----------------------------------------------------------------------------------

    async def login(
        self,
        name: str | None = None,
        password: str | None = None,
        mind: Mind | None = None,
        *,
        checker: str = "",
        credentials: Mapping[str, str] | None = None,
        address: str = "127.0.0.1",
        on_state: Callable[[ClientState], None] | None = None,
        on_gap: Callable[[str], None] | None = None,
    ) -> Client:
        """Log a user in; the same client as `hubbub.login` gives. It is logged out at the end of the test.

        Where the hub asks for a password and has no account of that name yet, one is made: with ``password``, or, if
        there is no other way in, with one that nobody has to know.

        Raises:
            HubbubError: As the hub says no.
        """
        if name is not None:
            password = self._with_account(name, password)
        connector = InProcessConnector(self._open_wire, address)
        hello = hello_of(name, password, checker, credentials, mind)
        client = await Login(connector, hello, mind, 30.0, on_state, on_gap)
        self._connectors[id(client._hubbub_connection)] = (client, connector)
        await self.settle()
        return client

    def _with_account(self, name: str, password: str | None) -> str | None:
        passwords = next((c for c in self.hub.checkers if isinstance(c, Passwords)), None)
        if passwords is None or passwords.accounts is not self._accounts:
            return password
        if password is None:
            if len(self.hub.checkers) > 1:
                return None
            password = f"the password of {name}"
        if self._accounts.get(name) is None:
            passwords.set_password(name, password)
        return password

    def cut(self, client: Client) -> None:
        """Break a client's connection. It comes back by itself as soon as the test waits."""
        self._connector(client).cut(stay_away=False)

    def disconnect(self, client: Client) -> None:
        """Break a client's connection and keep it away until `reconnect`: for what happens in the grace time."""
        self._connector(client).cut(stay_away=True)

    async def reconnect(self, client: Client) -> None:
        """Let a client that was kept away come back."""
        self._connector(client).allow()
        await self.settle()

    def _connector(self, client: Client) -> InProcessConnector:
        return self._connectors[id(client._hubbub_connection)][1]

    async def _open_wire(self, address: str) -> InProcessWire:
        await self._up.wait()
        wire = InProcessWire(self.hub.portal, address, self._note, self._due.set)
        self._wires.append(wire)
        return wire

    # --- the space ------------------------------------------------------------------------------

    async def run(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Run ``fn(root, *args)`` as a command, and return its value when everybody has heard of it."""
        value = await self.hub.run(fn, *args)
        await self.settle()
        return value

    async def read(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Return ``fn(root, *args)``, run as a query: plain values, since the root's objects end with it."""
        return await self.hub.read(fn, *args)

    # --- time -----------------------------------------------------------------------------------

    async def advance(self, seconds: float) -> None:
        """Move the clock: timers, grace times and jobs in between happen in order, each until the hub is at rest."""
        until = self.clock.now() + seconds
        await self.settle()
        while (alarm := self._alarms.next_due(until)) is not None:
            before = self._activity
            alarm()
            if self._activity != before:
                await self.settle()
        self.clock.advance(max(0.0, until - self.clock.now()))
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing is under way: commands, live queries, deliveries, acknowledgements, replies of minds.

        Not waited for: what actions and async methods of minds await outside of the hub.
        """
        while True:
            before = self._activity
            if self._rest is not None and self._up.is_set():
                await self._rest.reached()
            self._deliver()
            for _ in range(TURNS):
                await asyncio.sleep(0)
            if self._activity != before:
                continue
            for client, _ in self._connectors.values():
                client._hubbub_connection.acknowledge()
            if self._activity == before:
                return

    async def kill_and_restart(self, *, lose_replies: bool = False) -> None:
        """Do as SIGKILL does: all that is in memory is gone, what is stored is not; then start again.

        Clients come back by themselves and go on with their sessions (PE6).

        Args:
            lose_replies: Let the host first finish what it was asked for and store it, and be killed before anybody
                is told: the hardest case for a caller (PE4). Else it is killed as it stands.
        """
        if lose_replies:
            self._held = True
            assert self._rest is not None
            await self._rest.reached()
        self._up.clear()
        try:
            await self._kill()
        finally:
            self._held = False
        await self._start()
        await self.settle()

    async def _kill(self) -> None:
        hub = self.hub
        host, portal = hub.host, hub.portal
        await hub.beside.stop()
        if hub._hourly is not None:
            await hub._hourly.close()
        # Nothing that its threads still do may reach the loop, or the store of the next life.
        host._loop = None
        host._closing = host._failed = True
        if host._watchdog is not None:
            host._watchdog.cancel()
        self._store = self._store.reopen()
        host.serial.drop_tasks()
        for wire in self._wires:
            wire.cut()
        self._wires.clear()
        for seat in list(portal._seats.values()):
            seat.drop_all()
            seat.ended = True
        for alarm in hub._armed.values():
            alarm.cancel()
        hub._armed.clear()
        hub._host = hub._portal = None
        for checker in hub.checkers:
            if isinstance(checker, Passwords) and checker not in self._declared:
                checker.close()
        self._alarms = FakeAlarms(self.clock)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, host.serial.close)
        await loop.run_in_executor(None, host.queue.close)

    # --- handing over ---------------------------------------------------------------------------

    @property
    def _activity(self) -> int:
        return self._rest.activity if self._rest is not None else 0

    def _note(self) -> None:
        if self._rest is not None:
            self._rest.note()

    def _deliver(self) -> None:
        if self._held:
            return
        self._due.clear()
        self._wires = [wire for wire in self._wires if not wire.has_ended]
        for wire in self._wires:
            if wire.is_due:
                wire.deliver()

    async def _deliver_for_ever(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            await self._up.wait()
            if self._rest is not None and not self._held:
                await self._rest.reached()
                self._deliver()
