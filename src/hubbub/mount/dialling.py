"""How a peer gets to its host, again and again: greeting, back-off with jitter, and words for what went wrong.

One thread at a time dials: whoever has the turn.
"""

from __future__ import annotations

import random
import time

from hubbub.kernel import BrokenError, LimitError, RemoteProtocolError, TransientError
from hubbub.mount.failures import from_fault
from hubbub.mount.link import Address, Bell, Link, Refusal
from hubbub.wire import peer

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 2.0
_GREETING_S = 5.0
_SETTLED_S = 2.0


class Dialler:
    """Make links to ``address``.

    Args:
        address: Where the host is.
        bell: For the links; ends a pause early.
        token: What the host asks of peers.
        read_only: Ask for reading only.
        mount_key: Names this mount to its host, so that what it holds there outlives a connection.
    """

    def __init__(
        self,
        address: Address,
        bell: Bell,
        token: str,
        *,
        read_only: bool,
        mount_key: bytes = b"",
    ) -> None:
        self.address = address
        self.broken_at = 0.0
        self._bell = bell
        self._token = token
        self._read_only = read_only
        self._mount_key = mount_key
        self._broken_since = ""
        self._why = ""
        self._made_at = 0.0
        self._pause_s = 0.0
        self._retry_at = 0.0

    def dial(self, epoch: str, known_tid: int, timeout_s: float) -> tuple[Link, peer.Mounted]:
        """Connect once.

        Args:
            epoch: Of the host mounted before; empty at first.
            known_tid: The newest tid known of it.
            timeout_s: For connecting, and again for the answer.

        Raises:
            BrokenError: If nobody answers; says what to check.
            HubbubError: If the host refuses, or is none.
        """
        greeting = peer.Mount(
            peer.PROTOCOL,
            self.address.space,
            self._token,
            known_tid,
            self._read_only,
            epoch,
            self._mount_key,
        )
        try:
            link = Link(self.address, self._bell, timeout_s)
            try:
                mounted = link.greet(greeting, timeout_s)
            except BaseException:
                link.close()
                raise
        except TimeoutError as error:
            raise BrokenError(
                f"{self.address} did not answer within {timeout_s:.0f} s: "
                "is it a Hubbub host, and does a firewall let you through?"
            ) from error
        except OSError as error:
            raise BrokenError(
                f"there is no host at {self.address} ({error.strerror or error}): "
                "is it running (hubbub serve), and is the address right?"
            ) from error
        except Refusal as refusal:
            answer = refusal.answer
            if isinstance(answer, peer.Closing):
                self.retry_after(answer.retry_s)
                raise BrokenError(f"{self.address} is about to go away: {answer.reason}") from None
            raise from_fault(answer, str(self.address)) from None
        self._made_at = time.monotonic()
        return link, mounted

    def dial_again(
        self, epoch: str, known_tid: int, remaining_s: float | None
    ) -> tuple[Link, peer.Mounted] | None:
        """Pause if it is too early, else connect once; None if there is no link yet.

        Raises:
            HubbubError: The host's own no: dialling again is no use.
        """
        pause_s = self._retry_at - time.monotonic()
        if pause_s > 0:
            self._bell.wait(pause_s if remaining_s is None else min(pause_s, remaining_s))
            return None
        timeout_s = _GREETING_S if remaining_s is None else max(0.05, min(_GREETING_S, remaining_s))
        try:
            return self.dial(epoch, known_tid, timeout_s)
        except (BrokenError, RemoteProtocolError, TransientError, LimitError) as error:
            self._why = str(error)
            self._back_off()
            return None

    def lost(self, link: Link, why: Exception) -> None:
        """Note that ``link`` broke."""
        self.broken_at = time.monotonic()
        self._broken_since = time.strftime("%H:%M:%S")
        self._why = str(why) or type(why).__name__
        if self.broken_at - self._made_at > _SETTLED_S:
            self._pause_s = 0.0
            self._retry_at = max(self._retry_at, 0.0)
        else:
            # It came and went: not to be hammered, though the first time is for free.
            self._back_off(self._pause_s)

    def retry_after(self, seconds: float) -> None:
        """Do not dial before ``seconds`` are over; the host asked for it."""
        self._retry_at = time.monotonic() + min(max(seconds, 0.0), 60.0) * random.uniform(1.0, 1.2)

    def complaint(self) -> str:
        """Say for how long there has been no connection, and why."""
        return f"no connection to {self.address} since {self._broken_since}: {self._why}"

    def _back_off(self, pause_s: float | None = None) -> None:
        now = time.monotonic()
        wanted_s = max(_FIRST_PAUSE_S, 2 * self._pause_s) if pause_s is None else pause_s
        self._retry_at = max(self._retry_at, now + wanted_s * random.uniform(0.5, 1.0))
        self._pause_s = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, 2 * self._pause_s))
