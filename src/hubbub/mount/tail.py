"""Follow a space's commits, for people who watch: ``hubbub tail``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from hubbub.kernel import BrokenError, Label, Tid
from hubbub.mount.address import URL, usable_addresses
from hubbub.mount.dialling import Dialler
from hubbub.mount.failures import from_failed, from_fault
from hubbub.mount.link import Bell
from hubbub.mount.secured import Certificates
from hubbub.wire import peer
from hubbub.wire.frames import frame

_FOLLOW_ID = 1


class TailEntry(msgspec.Struct, frozen=True):
    """One commit.

    Attributes:
        tid: Its transaction id.
        label: Who and what.
        objects: How many objects it wrote.
        byte_count: Bytes of their states.
        ms: Milliseconds from its beginning to its fsync; -1 for commits of the past.
    """

    tid: Tid
    label: Label
    objects: int
    byte_count: int
    ms: float


def tail(
    url: URL | Sequence[URL],
    *,
    token: str = "",
    last: int = 10,
    follow: bool = True,
    timeout_s: float = 10.0,
    ca: URL | None = None,
    cert: URL | None = None,
    key: URL | None = None,
) -> Iterator[TailEntry]:
    """Yield the ``last`` commits of a host's space, and then, if ``follow``, each as it becomes durable.

    Args:
        url: ``hub://host:port`` or ``hub+unix:///path``.
        token: What the host asks of its peers.
        last: How many commits of the past.
        follow: Go on until the iterator is closed.
        timeout_s: How long connecting may take.
        ca: For ``hubs://``, as in `hubbub.open`.
        cert: As there.
        key: As there.

    Raises:
        BrokenError: If there is no host, or it goes away.
    """
    addresses, certificates = usable_addresses(url, Certificates(ca, cert, key))
    bell = Bell()
    dialler = Dialler(addresses, bell, token, read_only=True, certificates=certificates)
    try:
        link, _ = dialler.dial("", 0, timeout_s)
        try:
            asked = peer.Follow(_FOLLOW_ID, last, follow)
            link.send(frame(peer.encode(asked)), lambda: None)
            while True:
                for message in link.receive():
                    if isinstance(message, peer.Told):
                        yield TailEntry(
                            Tid(message.tid),
                            message.label,
                            message.objects,
                            message.byte_count,
                            message.ms,
                        )
                    elif isinstance(message, peer.Pong):
                        return
                    elif isinstance(message, peer.Fault):
                        raise from_fault(message, str(url))
                    elif isinstance(message, peer.Failed):
                        raise from_failed(message)
                    elif isinstance(message, peer.Closing):
                        raise BrokenError(f"the host goes away ({message.reason})")
                link.poll(link.heartbeat_s)
        except OSError as error:
            raise BrokenError(f"the connection to {url} broke: {error}") from error
        finally:
            link.close()
    finally:
        bell.close()
