"""The declared limits."""

from __future__ import annotations

import pytest

from hubbub.kernel import ConfigurationError, Limits


@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_that_lets_nothing_through_is_a_mistake(value):
    with pytest.raises(
        ConfigurationError, match=f"limit max_calls has to be more than 0, not {value}"
    ):
        Limits(max_calls=value)


def test_the_defaults():
    limits = Limits()
    assert (limits.max_message_bytes, limits.max_calls, limits.nesting) == (1 << 20, 1000, 64)
