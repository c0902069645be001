from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import HTTPConnection

from hubbub import Gateway
from hubbub.gateway.callers import Callers

pytestmark = pytest.mark.rule("GW2")


def request(client: str = "10.0.0.9", **headers: str) -> HTTPConnection:
    scope: dict[str, Any] = {
        "type": "http",
        "client": (client, 1) if client else None,
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
    }
    return HTTPConnection(scope)


def may_come(options: Gateway | None = None, **headers: str) -> bool:
    return Callers(options or Gateway()).may_come(request(**headers))


def test_without_an_origin_it_is_no_page():
    assert may_come(host="hub.example")


@pytest.mark.parametrize(
    "host, origin",
    [
        ("hub.example", "https://hub.example"),
        ("hub.example", "http://hub.example"),
        ("hub.example:443", "https://hub.example"),
        ("hub.example:8000", "http://hub.example:8000"),
        ("HUB.example", "https://hub.EXAMPLE"),
        ("[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_pages_of_the_same_host_may(host, origin):
    assert may_come(host=host, origin=origin)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://hub.example.evil",
        "https://hub.example:444",
        "null",
        "http://[",
        "",
    ],
)
def test_other_pages_may_not(origin):
    assert not may_come(host="hub.example", origin=origin)


def test_listed_pages_may():
    options = Gateway(origins=["https://app.example"])
    assert may_come(options, host="hub.example", origin="https://app.example")
    assert not may_come(options, host="hub.example", origin="http://app.example")
    assert may_come(Gateway(origins=["*"]), host="hub.example", origin="https://any.example")


def test_forwarded_addresses_are_believed_only_from_trusted_proxies():
    forwarded = request("10.0.0.9", x_forwarded_for="1.2.3.4")
    assert Callers(Gateway()).address(forwarded) == "10.0.0.9"
    assert Callers(Gateway(trusted_proxies=["10.0.0.0/8"])).address(forwarded) == "1.2.3.4"


def test_the_newest_hop_that_is_no_proxy_counts():
    callers = Callers(Gateway(trusted_proxies=["10.0.0.0/8"]))
    assert callers.address(request(x_forwarded_for="6.6.6.6, 1.2.3.4, 10.0.0.2")) == "1.2.3.4"
    assert callers.address(request(x_forwarded_for="10.0.0.3, 10.0.0.2")) == "10.0.0.3"
    assert callers.address(request(x_forwarded_for="1.2.3.4, rubbish")) == "10.0.0.9"


def test_a_unix_socket_can_be_trusted():
    forwarded = request("", x_forwarded_for="1.2.3.4")
    assert Callers(Gateway()).address(forwarded) == ""
    assert Callers(Gateway(trusted_proxies=["unix"])).address(forwarded) == "1.2.3.4"


def test_a_forwarded_host_is_believed_only_from_trusted_proxies():
    headers = {
        "host": "10.1.1.1:80",
        "x_forwarded_host": "hub.example",
        "origin": "https://hub.example",
    }
    assert not may_come(None, **headers)
    assert may_come(Gateway(trusted_proxies=["10.0.0.9"]), **headers)
