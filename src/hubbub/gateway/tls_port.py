"""A listening socket for TLS that tells who comes without it, and why a handshake failed.

Theory of operation
===================

    accepted --first byte is TLS's--> handshake --done--> stream
       |                                  '--failed: one line in the log, closed
       |-----any other byte--> plain stream, told what is wrong in its own protocol
       '-----silence--> closed

asyncio's own server would throw the reason of a failed handshake away, and would not see a plain client at all.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from hubbub.flow.net.sparingly import Sparingly
from hubbub.gateway.carriers import HELLO_S, Connections
from hubbub.kernel import LimitError

log = logging.getLogger("hubbub.gateway")
_warnings = Sparingly(log)

_TLS_HANDSHAKE = 0x16
_AT_ONCE = 1000
_AT_ONCE_PER_ADDRESS = 100
_PAUSE_S = 0.2

Factory = Callable[[], asyncio.Protocol]


class TLSPort:
    """Accept on one socket. Belongs to the loop.

    Args:
        sock: Bound and listening; closed by `close`.
        context: For the handshakes.
        stream: Makes the protocol of a connection whose handshake is done.
        plain: Makes the protocol of one that speaks no TLS.
    """

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, stream: Factory, plain: Factory
    ) -> None:
        self._socket = sock
        self._context = context
        self._stream = stream
        self._plain = plain
        self._pending = Connections(_AT_ONCE, _AT_ONCE_PER_ADDRESS)
        self._entering: dict[asyncio.Task[None], socket.socket] = {}
        sock.setblocking(False)
        self._task = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Accept no more, and give up handshakes that are not done. Idempotent."""
        self._task.cancel()
        for made in self._entering.values():
            # The handshake fails by that, and cleans up behind itself.
            with suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                made, place = await loop.sock_accept(self._socket)
            except OSError as error:
                _warnings.warning("can't accept a connection: %s", error)
                await asyncio.sleep(_PAUSE_S)  # no descriptors left, most likely
                continue
            address = str(place[0]) if isinstance(place, tuple) and place else ""
            try:
                self._pending.enter(address)
            except LimitError as error:
                _warnings.warning("%s: too many TLS handshakes at once: %s", address, error)
                made.close()
                continue
            if made.family in (socket.AF_INET, socket.AF_INET6):
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(self._enter(made, address))
            self._entering[task] = made
            task.add_done_callback(self._entering.pop)

    async def _enter(self, made: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        where = address or "a Unix socket"
        is_handed_over = False
        try:
            made.setblocking(False)
            first = await asyncio.wait_for(_first_byte(made), HELLO_S)
            if not first:
                return
            is_handed_over = True  # the loop closes it from here on, also where it fails
            if first[0] == _TLS_HANDSHAKE:
                await loop.connect_accepted_socket(
                    self._stream, made, ssl=self._context, ssl_handshake_timeout=HELLO_S
                )
            else:
                await loop.connect_accepted_socket(self._plain, made)
        except TimeoutError:
            _warnings.warning("%s connected and said nothing for %g s", where, HELLO_S)
        except ssl.SSLError as error:
            _warnings.warning("TLS with %s failed: %s", where, _reason(error))
        except OSError as error:
            _warnings.warning("TLS with %s failed: the client went away (%s)", where, error)
        finally:
            self._pending.leave(address)
            if not is_handed_over:
                made.close()


async def _first_byte(made: socket.socket) -> bytes:
    """Return the first byte that comes, and leave it there; nothing if the other side goes away."""
    loop = asyncio.get_running_loop()
    while True:
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(made, _set, ready)
        try:
            await ready
        finally:
            loop.remove_reader(made)
        try:
            return made.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            continue


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _reason(error: ssl.SSLError) -> str:
    """Return what is wrong, as a person would say it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    reason = (error.reason or str(error)).lower().replace("_", " ")
    if "alert" in reason:
        return f"the client does not accept this host's certificate: {reason}"
    if "did not return a certificate" in reason:
        return "it shows no certificate, and this port asks for one"
    return reason
