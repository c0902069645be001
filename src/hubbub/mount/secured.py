"""TLS over a socket that several threads share, with the calls of a socket that `hubbub.mount.link` makes.

Theory of operation
===================

The TLS of OpenSSL works on two buffers in memory, and one lock guards it: a thread that reads and one that writes may
come at the same time. The socket itself is read by one thread at a time and written by one at a time, as in `Link`.

    send: lock[ encrypt a piece ] -> unsent -> socket          a full socket is BlockingIOError; the caller comes again
    recv: socket -> lock[ decrypt ] -> data                    with the same data, which is not encrypted twice

`recv` leaves nothing behind that is decrypted already: who polls the socket afterwards misses nothing.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time

from hubbub.kernel import BrokenError, ConfigurationError, HubbubError, LoginFailedError

_READ_BYTES = 64 << 10
_PIECE_BYTES = 64 << 10

Path = str | os.PathLike[str]


class Certificates:
    """What a client trusts, and what it shows, over TLS.

    Args:
        ca: A PEM file with the certificates that are trusted; those of the system without it.
        cert: A PEM file with a certificate of our own, for hosts that ask for one.
        key: A PEM file with its private key, if that is not in the same file.
    """

    def __init__(
        self, ca: Path | None = None, cert: Path | None = None, key: Path | None = None
    ) -> None:
        if key is not None and cert is None:
            raise ConfigurationError("key= belongs to a certificate: give cert=, too")
        self._files = ca, cert, key
        self._context: ssl.SSLContext | None = None

    @property
    def has_own(self) -> bool:
        """Whether there is one of our own to show."""
        return self._files[1] is not None

    def check_for(self, url: object, *, is_tls: bool) -> None:
        """Refuse files where there is no TLS to use them for, and files that can't be loaded.

        Raises:
            ConfigurationError: If that is so.
        """
        if is_tls:
            self.context()
        elif any(file is not None for file in self._files):
            raise ConfigurationError(f"{url}: ca=, cert= and key= are for hubs:// addresses")

    def context(self) -> ssl.SSLContext:
        """Return the context, made at the first call.

        Raises:
            ConfigurationError: If a file can't be loaded; names it.
        """
        if self._context is None:
            # Here, because all of asyncio comes with it.
            from hubbub.flow.net.tls import client_tls

            ca, cert, key = self._files
            self._context = client_tls(ca, certificate=cert, key=key)
        return self._context


class SecuredSocket:
    """A socket that speaks TLS, as `socket.socket` as far as `Link` uses it.

    Args:
        plain: Connected; closed with this one, and where the handshake fails.
        context: For the handshake.
        host: The name that the other side's certificate has to have.
        timeout_s: Of the handshake.

    Raises:
        OSError: If the handshake fails (`ssl.SSLError`) or takes too long.
    """

    def __init__(
        self, plain: socket.socket, context: ssl.SSLContext, host: str, timeout_s: float
    ) -> None:
        self._socket = plain
        self._lock = threading.Lock()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._unsent = memoryview(b"")
        self._encrypted = 0
        try:
            self._shake_hands(time.monotonic() + timeout_s)
        except BaseException:
            plain.close()
            raise

    def _shake_hands(self, deadline: float) -> None:
        while True:
            try:
                self._tls.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                is_done = False
            except ssl.SSLError:
                self._flush_blocking()  # the other side is told why
                raise
            self._flush_blocking()
            if is_done:
                return
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            data = self._socket.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError("it closed the connection in the TLS handshake")
            self._incoming.write(data)

    def _flush_blocking(self) -> None:
        data = self._outgoing.read()
        if data:
            self._socket.sendall(data)

    def fileno(self) -> int:
        """Return what to poll."""
        return self._socket.fileno()

    def settimeout(self, seconds: float | None) -> None:
        """Bound the next `recv` without flags, and `sendall`."""
        self._socket.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        """Send all of ``data``, waiting as long as it takes."""
        with self._lock:
            self._tls.write(data)
            encrypted = self._outgoing.read()
        self._socket.sendall(encrypted)

    def send(self, data: memoryview, flags: int = 0) -> int:
        """Send some of ``data``, and return how many of its bytes.

        Raises:
            BlockingIOError: If the socket is full: call again with the same data.
        """
        if not self._unsent:
            piece = data[:_PIECE_BYTES]
            with self._lock:
                self._encrypted = self._tls.write(piece)
                self._unsent = memoryview(self._outgoing.read())
        while self._unsent:
            self._unsent = self._unsent[self._socket.send(self._unsent, flags) :]
        return self._encrypted

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what has come: ``size`` bytes, or fewer if there are no more now; nothing at the end.

        Raises:
            BlockingIOError: If there is nothing, and ``flags`` say not to wait.
        """
        parts: list[bytes] = []
        found = 0
        while found < size:
            with self._lock:
                try:
                    data = self._tls.read(size - found)
                except ssl.SSLWantReadError:
                    data = None
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    break
            if data is None:
                if parts and not flags:
                    break  # who may wait waits for something, not for more
                try:
                    encrypted = self._socket.recv(_READ_BYTES, flags)
                except BlockingIOError:
                    if parts:
                        break
                    raise
                if encrypted:
                    self._incoming.write(encrypted)
                else:
                    self._incoming.write_eof()
                continue
            if not data:
                break
            parts.append(data)
            found += len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def shutdown(self, how: int) -> None:
        """Break the connection: whoever polls or sends wakes up."""
        self._socket.shutdown(how)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


def explained(error: ssl.SSLError, where: str) -> HubbubError:
    """Return what a client is told of a TLS that did not come about with the host at ``where``."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokenError(
            f"the certificate of {where} is not to be trusted: {error.verify_message}. "
            "Is it the right host, and does ca= name the file of who signed its certificate?",
            code="certificate",
        )
    reason = (error.reason or str(error)).upper()
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason:
        return ConfigurationError(
            f"{where} does not speak TLS: use hub:// if it should not, or another port"
        )
    said = reason.lower().replace("_", " ")
    if "ALERT" in reason and (
        "CERTIFICATE" in reason or "UNKNOWN_CA" in reason or "HANDSHAKE_FAILURE" in reason
    ):
        return LoginFailedError(
            f"{where} does not accept our certificate ({said}): give one that it knows by cert= and key=",
            code="certificate",
        )
    return BrokenError(f"TLS with {where} failed: {said}", code="tls")
