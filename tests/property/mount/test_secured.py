"""TLS over a socket that threads share: whatever the pieces, what arrives is what was sent."""

from __future__ import annotations

import select
import socket
import ssl
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.mount.secured import SecuredSocket
from tests.faults.gateway.certificates import Certificates


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    host = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    host.load_cert_chain(made.host)
    return ssl.create_default_context(cafile=made.ca), host


class Pair:
    """A secured socket, and the other end in plain blocking TLS."""

    def __init__(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        near, far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        found: list[ssl.SSLSocket] = []
        thread = threading.Thread(
            target=lambda: found.append(contexts[1].wrap_socket(far, server_side=True))
        )
        thread.start()
        self.near = SecuredSocket(near, contexts[0], "127.0.0.1", 10.0)
        thread.join(10)
        self.far = found[0]
        self.near.settimeout(None)

    def close(self) -> None:
        self.near.close()
        self.far.close()


pieces = st.lists(st.integers(1, 200_000), min_size=1, max_size=6)


def data_of(sizes: list[int], seed: int) -> list[bytes]:
    return [bytes([(seed + n) % 256]) * size for n, size in enumerate(sizes)]


@settings(deadline=None, max_examples=25)
@given(pieces, pieces, st.sampled_from([1, 100, 16384, 65536]))
def test_what_is_sent_arrives_and_nothing_stays_behind(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], out: list[int], back: list[int], size: int
) -> None:
    pair = Pair(contexts)
    sent, answered = data_of(out, 1), data_of(back, 101)
    total = sum(out)
    heard = bytearray()

    def other_end() -> None:
        while len(heard) < total:
            heard.extend(pair.far.recv(65536))
        for data in answered:
            pair.far.sendall(data)

    there = threading.Thread(target=other_end)
    there.start()

    def send_all() -> None:
        for data in sent:
            view = memoryview(data)
            while view:
                try:
                    view = view[pair.near.send(view, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    select.select([], [pair.near], [], 10)

    here = threading.Thread(target=send_all)
    here.start()
    got = bytearray()
    while len(got) < sum(back):
        try:
            data = pair.near.recv(size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            # Nothing that is decrypted stays behind: else this would wait for ever.
            assert select.select([pair.near], [], [], 10)[0]
            continue
        assert data
        assert len(data) <= size
        got += data
    here.join(10)
    there.join(10)
    assert bytes(heard) == b"".join(sent)
    assert bytes(got) == b"".join(answered)
    pair.far.close()
    end = b"?"
    while end:
        try:
            end = pair.near.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            select.select([pair.near], [], [], 10)
    pair.close()
