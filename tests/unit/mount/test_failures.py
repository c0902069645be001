from __future__ import annotations

import pytest

from hubbub.kernel import (
    BrokenError,
    ClosedError,
    ConflictError,
    CorruptRecordError,
    DiskFullError,
    HubbubError,
    LimitError,
    LoginFailedError,
    OutcomeUnknownError,
    ReadOnlyError,
    Record,
    RemoteError,
    RemoteProtocolError,
    TransientError,
    UnknownObjectError,
)
from hubbub.mount.failures import from_failed, from_fault, to_failed
from hubbub.wire import peer


def crossed(error: BaseException) -> HubbubError:
    message = peer.decode_to_peer(peer.encode(to_failed(7, error)))
    assert isinstance(message, peer.Failed)
    assert message.id == 7
    return from_failed(message)


@pytest.mark.rule("SP3")
def test_a_conflict_carries_its_records() -> None:
    error = ConflictError(5, "test:Thing", 10, 20, "no")
    error.committed = Record(5, 20, "test:Thing", (1,), b"c")
    error.base = Record(5, 10, "test:Thing", (), b"b")
    back = crossed(error)
    assert isinstance(back, ConflictError)
    assert str(back) == str(error)
    assert (back.oid, back.class_name, back.read_tid, back.committed_tid) == (
        5,
        "test:Thing",
        10,
        20,
    )
    assert (back.committed, back.base) == (error.committed, error.base)
    bare = crossed(ConflictError(5, "test:Thing", 10, 20))
    assert isinstance(bare, ConflictError)
    assert bare.committed is bare.base is None


@pytest.mark.parametrize(
    "error",
    [
        DiskFullError("full"),
        OutcomeUnknownError("who knows"),
        ReadOnlyError("no"),
        LimitError("too many"),
        UnknownObjectError(7, 9),
        UnknownObjectError(7),
    ],
)
def test_errors_keep_their_class_and_words(error: HubbubError) -> None:
    back = crossed(error)
    assert type(back) is type(error)
    assert str(back) == str(error)


def test_what_is_corrupt_says_where() -> None:
    back = crossed(CorruptRecordError("bad", oid=3, tid=4))
    assert isinstance(back, CorruptRecordError)
    assert (back.oid, back.tid, str(back)) == (3, 4, "bad")


def test_a_host_that_shuts_down_is_worth_another_try() -> None:
    assert isinstance(crossed(ClosedError("shutting down")), TransientError)


@pytest.mark.rule("PE2")
def test_internals_do_not_cross() -> None:
    back = crossed(ValueError("secret"))
    assert isinstance(back, RemoteError)
    assert "secret" not in str(back)


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("login_failed", LoginFailedError),
        ("unknown_space", RemoteError),
        ("protocol", RemoteProtocolError),
        ("closing", BrokenError),
    ],
)
def test_a_fault_has_a_class_and_names_the_host(kind: str, expected: type[HubbubError]) -> None:
    error = from_fault(peer.Fault(kind, "why"), "h:1")
    assert type(error) is expected
    assert "h:1" in str(error)
    assert "why" in str(error)
