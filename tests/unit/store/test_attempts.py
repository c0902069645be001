"""Which attempts are certainly new."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.kernel import Changeset, FakeClock, Label
from hubbub.store import MemoryStore
from hubbub.store.attempts import MOUNT_KEY_BYTES, Attempts
from hubbub.store.ledger import Ledger

MOUNT, OTHER = b"m" * MOUNT_KEY_BYTES, b"n" * MOUNT_KEY_BYTES


def key(number: int, mount: bytes = MOUNT) -> bytes:
    return mount + number.to_bytes(8, "big")


def test_only_what_is_above_all_that_is_stored_or_was_asked_for_is_new() -> None:
    asked: list[bytes] = []

    def stored(mount: bytes) -> list[bytes]:
        asked.append(mount)
        return [key(7), key(5)] if mount == MOUNT else []

    attempts = Attempts(stored)
    assert [attempts.is_new(key(number)) for number in (6, 7, 9, 8, 9, 10)] == [
        *(False, False, True, False, False, True)
    ]
    assert attempts.is_new(key(1, OTHER))
    assert not attempts.is_new(key(1, OTHER))
    assert asked == [MOUNT, OTHER]


@pytest.mark.parametrize("odd", [b"", b"x", MOUNT, key(3) + b"x"])
def test_a_key_of_another_form_is_never_called_new(odd: bytes) -> None:
    assert not Attempts(lambda _: []).is_new(odd)


@pytest.mark.rule("PE4")
@given(
    st.lists(
        st.tuples(st.sampled_from([MOUNT, OTHER]), st.integers(0, 6), st.booleans()), max_size=30
    )
)
def test_a_repeat_finds_its_first_outcome_whatever_came_between(
    asked: list[tuple[bytes, int, bool]],
) -> None:
    """Against a dict, with the process that knows the attempts started anew here and there."""
    store, clock = MemoryStore(), FakeClock()
    ledger = Ledger(store, clock, lambda *_: "no merge", cache_records=4)
    model: dict[bytes, int] = {}
    for mount, number, starts_anew in asked:
        if starts_anew:
            store = store.reopen()
            ledger = Ledger(store, clock, lambda *_: "no merge", cache_records=4)
        attempt = key(number, mount)
        assert ledger.outcome_of(attempt) == model.get(attempt)
        if attempt not in model:
            commit, _ = ledger.commit_changeset(Changeset(0, [], label=Label(), key=attempt))
            model[attempt] = commit.tid
            assert ledger.outcome_of(attempt) == commit.tid
            store.write([commit])
            ledger.settle([commit])
            ledger.absorb()
