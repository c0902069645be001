"""`hubbub.open` against a host that lies."""

from __future__ import annotations

import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hubbub.kernel import HubbubError, Label
from hubbub.mount import RemoteMount, tail
from hubbub.wire import peer
from hubbub.wire.frames import PREFACE_PEER, FrameReader, frame

GREETING: dict[str, Any] = {
    "tid": 10,
    "host_epoch": "e",
    "changed": None,
    "first_oid": 100,
    "oid_count": 2,
    "heartbeat_s": 15.0,
    "max_bytes": 1 << 20,
}


@contextmanager
def host_that(answers: Callable[[Any], bytes | None], **greeting: Any) -> Iterator[str]:
    """Listen, greet each peer with ``greeting`` and then say what ``answers`` makes of its messages."""
    listening = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                link, _ = listening.accept()
            except OSError:
                return
            held.append(link)
            threading.Thread(target=talk, args=(link,), daemon=True).start()

    def talk(link: socket.socket) -> None:
        frames = FrameReader(1 << 24)
        data = b""
        try:
            while len(data) < len(PREFACE_PEER):
                data += link.recv(len(PREFACE_PEER) - len(data))
            while data := link.recv(1 << 16):
                for payload in frames.feed(data):
                    message = peer.decode_to_host(payload)
                    if isinstance(message, peer.Mount):
                        link.sendall(frame(peer.encode(peer.Mounted(**{**GREETING, **greeting}))))
                    answer = answers(message)
                    if answer is not None:
                        link.sendall(answer)
        except OSError:
            return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"hub://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(2)
        for link in held:
            link.close()


@pytest.mark.parametrize(
    "lie",
    [
        {"oid_count": 1 << 40},
        {"oid_count": -5},
        {"first_oid": -5},
        {"first_oid": 1 << 61},
        {"heartbeat_s": 0.0},
        {"heartbeat_s": -1.0},
        {"heartbeat_s": math.nan},
        {"heartbeat_s": math.inf},
        {"max_bytes": 0},
        {"tid": -1},
    ],
    ids=str,
)
def test_a_greeting_that_makes_no_sense_is_refused(lie: dict[str, Any]) -> None:
    """A trillion oids filled the memory; no heartbeat at all span one core."""
    with host_that(lambda _: None, **lie) as url, pytest.raises(HubbubError):
        RemoteMount(url, wait_timeout_s=0.5).close()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda i: peer.OidBlock(i, 5, 1 << 40),
        lambda i: peer.OidBlock(i, 5, 5),
        lambda i: peer.Committed(i, 5, []),
        lambda i: peer.Pong(i, 5),
        lambda i: peer.Mounted(**GREETING),
        lambda i: peer.Told(i, 5, Label(), 1, 1, 1.0),
        lambda i: peer.Fed(i, []),
    ],
)
def test_an_answer_to_another_question_ends_the_link(wrong: Callable[[int], Any]) -> None:
    def answers(message: Any) -> bytes | None:
        if isinstance(message, peer.Load):
            return frame(peer.encode(wrong(message.id)))
        return None

    with host_that(answers) as url:
        mount = RemoteMount(url, wait_timeout_s=0.3)
        began = time.monotonic()
        with pytest.raises(HubbubError):
            mount.load(7, 10)
        assert time.monotonic() - began < 10
        mount.close()


@pytest.mark.parametrize("tids", [(11, 11), (12, 11), (10,), (9,)])
def test_a_feed_out_of_order_ends_the_link(tids: tuple[int, ...]) -> None:
    def answers(message: Any) -> bytes | None:
        if isinstance(message, peer.Feed):
            commits = [peer.FedCommit(tid, Label(), (1,), 1) for tid in tids]
            return frame(peer.encode(peer.Fed(message.id, commits)))
        return None

    with host_that(answers) as url:
        mount = RemoteMount(url, wait_timeout_s=0.3)
        with pytest.raises(HubbubError):
            mount.feed(10)
        mount.close()


@pytest.mark.parametrize("garbage", [b"\xc1", b"\xff" * 40, b"\x91" * 5000, b"", b"\x93\x15\x01"])
def test_garbage_for_an_answer_ends_the_link(garbage: bytes) -> None:
    def answers(message: Any) -> bytes | None:
        return frame(garbage) if isinstance(message, peer.Load) else None

    with host_that(answers) as url:
        mount = RemoteMount(url, wait_timeout_s=0.2)
        with pytest.raises(HubbubError):
            mount.load(7, 10)
        mount.close()


def test_a_greeting_drop_by_drop_has_its_time() -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        link, _ = listening.accept()
        link.sendall(struct.pack(">I", 1000))
        try:
            for _ in range(100):
                link.sendall(b"\x97")
                time.sleep(0.05)
        except OSError:
            pass
        link.close()

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    began = time.monotonic()
    with pytest.raises(HubbubError):
        RemoteMount(f"hub://127.0.0.1:{listening.getsockname()[1]}", wait_timeout_s=0.3)
    assert time.monotonic() - began < 1.5
    listening.close()
    thread.join(2)


def test_a_greeting_that_claims_to_be_huge_is_refused_at_once() -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def claim() -> None:
        link, _ = listening.accept()
        link.sendall(struct.pack(">I", 1 << 29))
        link.recv(1 << 16)
        link.recv(1 << 16)
        link.close()

    thread = threading.Thread(target=claim, daemon=True)
    thread.start()
    with pytest.raises(HubbubError):
        RemoteMount(f"hub://127.0.0.1:{listening.getsockname()[1]}", wait_timeout_s=1)
    listening.close()
    thread.join(2)


def test_tail_of_a_lying_host_ends_with_an_error_of_ours() -> None:
    def answers(message: Any) -> bytes | None:
        return frame(b"\xc1") if isinstance(message, peer.Follow) else None

    with host_that(answers) as url, pytest.raises(HubbubError):
        list(tail(url))
