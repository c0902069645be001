"""Checkers: credentials in, an identity that somebody vouches for out.

A checker is the only source of an `Identity`. It runs in the loop, before there is a session. Whatever goes wrong with
credentials is a `LoginFailedError` with code ``login_failed`` (or ``name_taken``, ``bad_name``, ``too_many_failures``),
which never tells whether an account exists.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import unicodedata
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import argon2

from hubbub.kernel import Clock, LimitError, Limits, LoginFailedError, SystemClock
from hubbub.perspective.accounts import Accounts, MemoryAccounts, checked_name, folded_name
from hubbub.perspective.identity import Identity

_KEY_BYTES = 16

MAX_PASSWORD_CHARS = 1024
"""Longer ones are not looked at: to normalise them takes quadratic time."""


class Checker(Protocol):
    """Vouches for users."""

    name: str

    async def check(self, credentials: dict[str, str], address: str) -> Identity:
        """Return whom the credentials belong to.

        Raises:
            LoginFailedError: If they do not fit.
            LimitError: If too many logins wait.
        """
        ...

    def resumed(self, identity: Identity) -> None:
        """Take note that a session of this identity goes on, after the host was restarted.

        Raises:
            LoginFailedError: If it can't any more: its name is somebody else's now.
        """
        ...

    def released(self, identity: Identity) -> None:
        """Take note that a session has ended; called once for each `check` and `resumed` that worked."""
        ...


class Anonymous:
    """Let anybody in, by a name that no one else has at the time.

    Credentials: ``name``, and ``key``, a secret that the client made up and keeps: who shows the same key is the same
    identity again. Without a key one identity is made for one login; without a name a ``guest-xxxx`` is.

    Args:
        accounts: Names that only a password may use. A portal that has both checkers sets it.
        limits: See `Limits.max_name_chars`.
    """

    name = "anonymous"

    def __init__(self, accounts: Accounts | None = None, limits: Limits | None = None) -> None:
        self.accounts = accounts
        self._limits = limits or Limits()
        self._holders: dict[str, tuple[str, int]] = {}  # folded name -> identity id, sessions

    async def check(self, credentials: dict[str, str], address: str) -> Identity:
        key = credentials.get("key") or secrets.token_urlsafe(_KEY_BYTES)
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES)
        wanted = credentials.get("name", "")
        name = checked_name(wanted, self._limits.max_name_chars) if wanted else self._guest()
        identity = Identity(f"anon:{digest.hexdigest()}", name, address=address)
        self.resumed(identity)
        return identity

    def resumed(self, identity: Identity) -> None:
        folded = folded_name(identity.name)
        holder, sessions = self._holders.get(folded, (identity.id, 0))
        if holder != identity.id or self._is_account(folded):
            raise LoginFailedError(f"the name {identity.name!r} is taken", code="name_taken")
        self._holders[folded] = (holder, sessions + 1)

    def released(self, identity: Identity) -> None:
        folded = folded_name(identity.name)
        holder, sessions = self._holders.get(folded, ("", 0))
        if holder != identity.id:
            return
        if sessions > 1:
            self._holders[folded] = (holder, sessions - 1)
        else:
            del self._holders[folded]

    def forget_names(self) -> None:
        """Let go of all names: the hub begins anew, and sessions that go on take theirs again."""
        self._holders.clear()

    def _is_account(self, folded: str) -> bool:
        return self.accounts is not None and self.accounts.get(folded) is not None

    def _guest(self) -> str:
        while True:
            name = f"guest-{secrets.token_hex(2)}"
            if name not in self._holders and not self._is_account(name):
                return name


class Passwords:
    """Let in who knows the password of an account. Credentials: ``name`` and ``password``.

    Hashing (Argon2id) runs in threads of its own, a few at a time. An unknown name takes as long as a wrong password.

    Args:
        accounts: Where the hashes are; else in a file beside the space, or in memory if that is there.
        limits: See `Limits.failed_logins` and `Limits.password_checks`.
        clock: For the time within which failures count.
        hasher: Another strength, for tests.
    """

    name = "password"

    def __init__(
        self,
        accounts: Accounts | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        hasher: argon2.PasswordHasher | None = None,
    ) -> None:
        self.accounts: Accounts = accounts or MemoryAccounts()
        self.has_own_accounts = accounts is not None
        self._limits = limits or Limits()
        self._hasher = hasher or argon2.PasswordHasher()
        self._failures = FailedLogins(self._limits, clock or SystemClock())
        self._threads = ThreadPoolExecutor(self._limits.password_checks, "hubbub-passwords")
        self._waiting = 0
        self._nobody = ""  # a hash that fits no password

    async def check(self, credentials: dict[str, str], address: str) -> Identity:
        self._failures.admit(address)
        if self._waiting >= self._limits.password_checks_waiting:
            raise LimitError("too many logins at once; try again", code="too_many_logins")
        name, password = credentials.get("name", ""), credentials.get("password", "")
        if len(password) > MAX_PASSWORD_CHARS:
            password = ""  # nobody's; it is refused in the time that any other takes
        # Counted before it is known: else a thousand guesses could be under way at the same time.
        failure = self._failures.note(address)
        self._waiting += 1
        try:
            fits = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._verify, name, password
            )
        finally:
            self._waiting -= 1
        if not fits:
            raise LoginFailedError("name or password is wrong")
        self._failures.forgive(address, failure)
        return Identity(f"password:{folded_name(name)}", checked_name(name), address=address)

    def resumed(self, identity: Identity) -> None:
        """Nothing is held."""

    def released(self, identity: Identity) -> None:
        """Nothing is held."""

    def set_password(self, name: str, password: str) -> None:
        """Make an account, or change its password. Takes a tenth of a second.

        Raises:
            LoginFailedError: If the name or password can't be one; code ``bad_name`` or ``bad_password``.
        """
        if not 1 <= len(password) <= MAX_PASSWORD_CHARS:
            raise LoginFailedError(
                f"a password has 1 to {MAX_PASSWORD_CHARS} characters", code="bad_password"
            )
        checked_name(name, self._limits.max_name_chars)
        self.accounts.set(name, self._hasher.hash(_secret(password)))

    def close(self) -> None:
        """End the threads. Idempotent."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, name: str, password: str) -> bool:
        """Tell whether the password fits. Runs in a thread; takes the same time whether or not there is an account."""
        try:
            folded = folded_name(checked_name(name, self._limits.max_name_chars))
        except LoginFailedError:
            folded = ""
        kept = self.accounts.get(folded) if folded else None
        if not self._nobody:
            self._nobody = self._hasher.hash(secrets.token_bytes(_KEY_BYTES))
        try:
            self._hasher.verify(kept or self._nobody, _secret(password))
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
        if kept is None:
            return False
        if self._hasher.check_needs_rehash(kept) and self.accounts.get(folded) == kept:
            self.accounts.set(folded, self._hasher.hash(_secret(password)))
        return True


def _secret(password: str) -> bytes:
    # The same password typed on another machine may be composed of other code points.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


class FunctionChecker:
    """Let in whom an async function of the application vouches for.

    Args:
        function: Called with a `LoginRequest`. Returns an identity, or None for no; then the next checker is asked,
            unless the client named this one or brought credentials for it.
        name: How a client picks it.
    """

    def __init__(
        self, function: Callable[[Any], Awaitable[Identity | None]], name: str | None = None
    ) -> None:
        self._function = function
        self.name = name or getattr(function, "__name__", "function")

    async def check(self, credentials: dict[str, str], address: str) -> Identity:
        return await self.check_request(LoginRequest(credentials, address))

    async def check_request(self, request: LoginRequest) -> Identity:
        """Check what is more than credentials: headers, or the session that another app keeps.

        Raises:
            LoginFailedError: If the function returns None.
        """
        identity = await self._function(request)
        if identity is None:
            raise LoginFailedError("you are not logged in")
        return identity

    def resumed(self, identity: Identity) -> None:
        """Nothing is held."""

    def released(self, identity: Identity) -> None:
        """Nothing is held."""


class LoginRequest:
    """What a `FunctionChecker`'s function gets.

    Attributes:
        credentials: What the client showed.
        address: Where it comes from.
        request: The web request that the login came with (Starlette's), or None by TCP. Its own attributes can be
            read here, too: ``request.session``, ``request.headers``.
    """

    def __init__(self, credentials: dict[str, str], address: str = "", request: Any = None) -> None:
        self.credentials = credentials
        self.address = address
        self.request = request

    def __getattr__(self, name: str) -> Any:
        if self.request is None:
            raise AttributeError(f"this login did not come by the web, so it has no {name!r}")
        return getattr(self.request, name)


class FailedLogins:
    """Count failed logins by address, in a table that can't grow without end."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._times: OrderedDict[str, list[float]] = OrderedDict()

    def admit(self, address: str) -> None:
        """Let a login begin.

        Raises:
            LoginFailedError: After too many failures from ``address``; code ``too_many_failures``.
        """
        since = self._clock.now() - self._limits.failed_logins_s
        times = [time for time in self._times.get(address, ()) if time > since]
        if times:
            self._times[address] = times
        else:
            self._times.pop(address, None)
        if len(times) >= self._limits.failed_logins:
            wait_s = max(1, round(times[0] - since))
            raise LoginFailedError(
                f"too many failed logins; try again in {wait_s} s", code="too_many_failures"
            )

    def note(self, address: str) -> float:
        """Count a failure, and return what `forgive` wants."""
        now = self._clock.now()
        self._times.setdefault(address, []).append(now)
        self._times.move_to_end(address)
        if len(self._times) > self._limits.failed_login_addresses:
            # The one that has been quiet for longest.
            self._times.popitem(last=False)
        return now

    def forgive(self, address: str, failure: float) -> None:
        """Take back one failure: it was none."""
        times = self._times.get(address)
        if times is not None and failure in times:
            times.remove(failure)
            if not times:
                del self._times[address]
