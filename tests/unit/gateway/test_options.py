from __future__ import annotations

import pytest

from hubbub import ConfigurationError, Gateway


def test_everything_is_on_by_default():
    assert tuple(Gateway().transports) == ("ws", "sse", "poll")


@pytest.mark.parametrize(
    "options, word",
    [
        ({"transports": ["telegraph"]}, "telegraph"),
        ({"transports": "ws"}, "list"),
        ({"poll_s": 0}, "poll_s"),
        ({"origins": ["app.example"]}, "app.example"),
        ({"origins": ["https://app.example/path"]}, "origin"),
        ({"trusted_proxies": ["proxy"]}, "proxy"),
    ],
)
def test_nonsense_is_named(options, word):
    with pytest.raises(ConfigurationError, match=word):
        Gateway(**options)
