"""Hosts and peers of other versions are told which side to upgrade, whatever else their greeting holds."""

from __future__ import annotations

import msgspec
import pytest

from hubbub.kernel import RemoteProtocolError
from hubbub.mount.failures import from_fault
from hubbub.wire import peer


def test_the_version_of_any_greeting_is_found() -> None:
    greeting = peer.encode(peer.Mount(peer.PROTOCOL, "", "", 0, False))
    assert peer.protocol_of(greeting) == peer.PROTOCOL
    newer = msgspec.msgpack.encode([1, 99, {"quite": "another"}])
    assert peer.protocol_of(newer) == 99
    for other in (b"", b"\xc1", msgspec.msgpack.encode([2, 99]), msgspec.msgpack.encode([1, "99"])):
        assert peer.protocol_of(other) is None


@pytest.mark.parametrize(
    "protocol, whose", [(peer.PROTOCOL - 1, "the peer's"), (peer.PROTOCOL + 1, "the host's")]
)
def test_the_refusal_says_which_side_to_upgrade(protocol: int, whose: str) -> None:
    refusal = peer.refusal_of(protocol)
    assert refusal is not None
    assert f"version {peer.PROTOCOL}" in refusal
    assert f"version {protocol}" in refusal
    assert f"upgrade {whose} hubbub" in refusal
    assert peer.refusal_of(peer.PROTOCOL) is None


def test_what_an_older_host_says_is_put_into_words() -> None:
    fault = peer.Fault("protocol", "this host speaks version 4 of the peer protocol, not 5")
    error = from_fault(fault, "there:1975")
    assert isinstance(error, RemoteProtocolError)
    assert "there:1975: this host speaks version 4" in str(error)
    assert f"version {peer.PROTOCOL}: upgrade the host's hubbub" in str(error)
