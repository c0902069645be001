"""Requests whose head was read before: what is one, and what is not."""

from __future__ import annotations

import pytest

from hubbub.gateway.known_requests import learned

HEAD = b"POST /_hub/poll HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n"


def test_another_body_of_the_same_length_is_known():
    known = learned(HEAD + b"{}", b"{}", b"vary: Origin\r\n")
    assert known is not None
    assert known.headers == b"vary: Origin\r\n"
    assert known.body_of(HEAD + b"[]") == b"[]"


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"{",
        HEAD + b"{}P",
        HEAD + b"{}" + HEAD + b"{}",
        HEAD.replace(b"x", b"y") + b"{}",
        HEAD.replace(b": 2", b": 3") + b"{}",
        b"\r\n" + HEAD + b"{}",
        b"",
    ],
)
def test_anything_else_is_not(data: bytes):
    known = learned(HEAD + b"{}", b"{}", b"")
    assert known is not None
    assert known.body_of(data) is None


@pytest.mark.parametrize(
    "data, body",
    [
        (b"", b"{}"),
        (HEAD, b"{}"),  # the body came by itself
        (HEAD + b"{}" + HEAD, b"{}"),
        (b"\r\n\r\n" + HEAD + b"{}", b"{}"),
        (HEAD.replace(b"content-length: 2", b"transfer-encoding: chunked") + b"2\r\n{}\r\n", b"{}"),
        (HEAD.replace(b"host", b"Upgrade: h2c\r\nhost") + b"{}", b"{}"),
        (HEAD.replace(b"x", 5000 * b"x") + b"{}", b"{}"),
    ],
)
def test_what_does_not_come_whole_and_alone_is_not_learned(data: bytes, body: bytes):
    assert learned(data, body, b"") is None
