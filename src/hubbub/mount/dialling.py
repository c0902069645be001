"""How a peer gets to its host, again and again: greeting, back-off with jitter, and words for what went wrong.

One thread at a time dials: whoever has the turn.

Theory of operation
===================

With several addresses the first usable one wins, and when it is lost it is tried again first, then the others.

    place --answers, same space, no older than what was seen here--> link
       |---nobody, about to go away, older--> paused: tried again after a while, ever less often
       '---says no, another space-----------> refused: as paused; once all places are, it is told and all is over

A host that is behind what this peer has seen would show it the past as the present. It is a copy that lags, or one that
was restored: the first catches up, the second needs somebody to look.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Sequence

from hubbub.kernel import (
    BrokenError,
    ConfigurationError,
    HubbubError,
    LimitError,
    RemoteProtocolError,
    TransientError,
    tid_text,
)
from hubbub.mount.address import Address
from hubbub.mount.failures import from_fault
from hubbub.mount.link import Bell, Link, Refusal
from hubbub.mount.secured import Certificates, explained
from hubbub.wire import peer

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 2.0
_GREETING_S = 5.0
_SETTLED_S = 2.0
_LEAST_OPENING_S, _LONGEST_OPENING_S = 0.05, 10.0
_LONGEST_WISH_S = 60.0

_WORTH_ANOTHER_TRY = (BrokenError, RemoteProtocolError, TransientError, LimitError)
_CODES_WORTH_ANOTHER_TRY = ("too_many_failures", "certificate")


def check_wait(wait_timeout_s: float) -> None:
    """Refuse a time to wait that is none.

    Raises:
        ConfigurationError: If it is less than 0.
    """
    if not wait_timeout_s >= 0:
        raise ConfigurationError(f"wait_timeout_s is 0 or more, not {wait_timeout_s!r}")


def opening_s(wait_timeout_s: float) -> float:
    """Return how long the first dialling may take, for who waits ``wait_timeout_s`` for a host that is gone."""
    return min(max(wait_timeout_s, _LEAST_OPENING_S), _LONGEST_OPENING_S)


class _Place:
    """One address, and how it went there."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.why: HubbubError | None = None
        self.is_refused = False
        self.pause_s = 0.0
        self.retry_at = 0.0

    def failed(self, error: HubbubError) -> None:
        """Note that there is no link."""
        self.why = error
        self.is_refused = not _is_worth_another_try(error)
        self.back_off()

    def back_off(self, pause_s: float | None = None) -> None:
        """Pause for ``pause_s`` about, or twice as long as the last time; the next time longer."""
        now = time.monotonic()
        wanted_s = max(_FIRST_PAUSE_S, 2 * self.pause_s) if pause_s is None else pause_s
        self.retry_at = max(self.retry_at, now + wanted_s * random.uniform(0.5, 1.0))
        self.pause_s = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, 2 * self.pause_s))

    def retry_after(self, seconds: float) -> None:
        """Do not dial before ``seconds`` are over; the host asked for it."""
        wanted_s = min(max(seconds, 0.0), _LONGEST_WISH_S)
        self.retry_at = time.monotonic() + wanted_s * random.uniform(1.0, 1.2)


class Dialler:
    """Make links to one of ``addresses``.

    Args:
        addresses: Where the host is, or copies of it.
        bell: For the links; ends a pause early.
        token: What the host asks of peers.
        read_only: Ask for reading only.
        certificates: For TLS.
        mount_key: Names this mount to its host, so that what it holds there outlives a connection.

    Attributes:
        broken_at: When the last link broke, by `time.monotonic`.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        bell: Bell,
        token: str,
        *,
        read_only: bool,
        certificates: Certificates | None = None,
        mount_key: bytes = b"",
    ) -> None:
        self.broken_at = 0.0
        self._places = [_Place(address) for address in addresses]
        self._current = self._places[0]
        self._bell = bell
        self._token = token
        self._read_only = read_only
        self._certificates = certificates
        self._mount_key = mount_key
        self._space_id = ""
        self._broken_since = ""
        self._why = ""
        self._made_at = 0.0

    @property
    def address(self) -> Address:
        """Where the newest link leads, or the last attempt to make one."""
        return self._current.address

    def dial(self, epoch: str, known_tid: int, timeout_s: float) -> tuple[Link, peer.Mounted]:
        """Connect once to the first that is usable.

        Args:
            epoch: Of the host mounted before; empty at first.
            known_tid: The newest tid known of it.
            timeout_s: For connecting, and again for the answer; of all places together.

        Raises:
            BrokenError: If nobody answers; says what to check.
            HubbubError: If the host refuses, or is none.
        """
        made = self._try(self._places, epoch, known_tid, timeout_s)
        if made is None:
            raise self._no_use()
        return made

    def dial_again(
        self, epoch: str, known_tid: int, remaining_s: float | None
    ) -> tuple[Link, peer.Mounted] | None:
        """Pause if it is too early, else try all places that are due; None if there is no link yet.

        Raises:
            HubbubError: The hosts' own no: dialling again is no use.
        """
        now = time.monotonic()
        due = [place for place in self._places if place.retry_at <= now]
        if not due:
            pause_s = min(place.retry_at for place in self._places) - now
            self._bell.wait(pause_s if remaining_s is None else min(pause_s, remaining_s))
            return None
        if self._current in due:
            due.remove(self._current)
            due.insert(0, self._current)
        timeout_s = _GREETING_S if remaining_s is None else max(0.05, min(_GREETING_S, remaining_s))
        made = self._try(due, epoch, known_tid, timeout_s)
        if made is None:
            self._why = self._told()
            if all(place.is_refused for place in self._places):
                raise self._no_use()
        return made

    def _try(
        self, places: Sequence[_Place], epoch: str, known_tid: int, timeout_s: float
    ) -> tuple[Link, peer.Mounted] | None:
        until = time.monotonic() + timeout_s
        for number, place in enumerate(places):
            left_s = (until - time.monotonic()) / (len(places) - number)
            self._current = place
            try:
                link, mounted = self._connect(place, epoch, known_tid, max(0.05, left_s))
            except HubbubError as error:
                place.failed(error)
                continue
            place.why, place.is_refused = None, False
            self._made_at = time.monotonic()
            self._space_id = self._space_id or mounted.space_id
            return link, mounted
        return None

    def _connect(
        self, place: _Place, epoch: str, known_tid: int, timeout_s: float
    ) -> tuple[Link, peer.Mounted]:
        address = place.address
        greeting = peer.Mount(
            peer.PROTOCOL,
            address.space,
            self._token,
            known_tid,
            self._read_only,
            epoch,
            self._mount_key,
        )
        try:
            link = Link(address, self._bell, timeout_s, self._certificates)
            try:
                mounted = link.greet(greeting, timeout_s)
                self._check_history(address, mounted, known_tid)
            except BaseException:
                link.close()
                raise
        except TimeoutError as error:
            raise BrokenError(
                f"{address} did not answer within {timeout_s:.0f} s: "
                "is it a Hubbub host, and does a firewall let you through?"
            ) from error
        except ssl.SSLError as error:
            raise explained(error, str(address)) from error
        except OSError as error:
            raise BrokenError(
                f"there is no host at {address} ({error.strerror or error}): "
                "is it running (hubbub serve), and is the address right?"
            ) from error
        except Refusal as refusal:
            answer = refusal.answer
            if isinstance(answer, peer.Closing):
                place.retry_after(answer.retry_s)
                raise BrokenError(f"{address} is about to go away: {answer.reason}") from None
            raise from_fault(answer, str(address)) from None
        return link, mounted

    def _check_history(self, address: Address, mounted: peer.Mounted, known_tid: int) -> None:
        """Refuse a host of another space, or of an older state of this one."""
        if self._space_id and mounted.space_id and mounted.space_id != self._space_id:
            raise BrokenError(
                f"{address} serves another space than the one that was opened here: "
                "open it anew if that is meant",
                code="other_space",
            )
        if mounted.tid < known_tid:
            raise BrokenError(
                f"{address} is at tid {tid_text(mounted.tid)}, behind {tid_text(known_tid)} that was seen here: "
                "a copy that lags, or one restored from a backup; if that is meant, open the space anew",
                code="behind",
            )

    def lost(self, link: Link, why: Exception) -> None:
        """Note that ``link`` broke."""
        self.broken_at = time.monotonic()
        self._broken_since = time.strftime("%H:%M:%S")
        self._why = str(why) or type(why).__name__
        place = self._current
        if self.broken_at - self._made_at > _SETTLED_S:
            place.pause_s = 0.0
        else:
            # It came and went: not to be hammered, though the first time is for free.
            place.back_off(place.pause_s)

    def retry_after(self, seconds: float) -> None:
        """Do not dial the present host before ``seconds`` are over; it asked for it."""
        self._current.retry_after(seconds)

    def complaint(self) -> str:
        """Say for how long there has been no connection, and why."""
        where = ", ".join(str(place.address) for place in self._places)
        return f"no connection to {where} since {self._broken_since}: {self._why}"

    def _told(self) -> str:
        return "; ".join(str(place.why) for place in self._places if place.why is not None)

    def _no_use(self) -> HubbubError:
        """Return why there is no link: the one reason, or the class of the firmest and the words of all."""
        failed = [place.why for place in self._places if place.why is not None]
        if len(failed) == 1:
            return failed[0]
        firm = [place.why for place in self._places if place.is_refused and place.why is not None]
        chosen = firm[0] if firm else BrokenError()
        chosen.message = f"none of {len(self._places)} hosts is of use: {self._told()}"
        return chosen


def _is_worth_another_try(error: HubbubError) -> bool:
    if error.code in _CODES_WORTH_ANOTHER_TRY:
        return True
    return isinstance(error, _WORTH_ANOTHER_TRY) and error.code != "other_space"
