"""How a thread waits at a link."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from hubbub.mount.address import Address
from hubbub.mount.link import Bell, Link


@pytest.fixture
def ends() -> Iterator[tuple[Link, socket.socket, Bell]]:
    bell = Bell()
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = Link(Address.of(f"hub://127.0.0.1:{server.getsockname()[1]}"), bell, 5.0)
        there, _ = server.accept()
    yield link, there, bell
    there.close()
    link.close()
    bell.close()


@pytest.mark.parametrize("quick", [False, True])
def test_a_wait_ends_with_what_comes_the_bell_or_its_time(
    ends: tuple[Link, socket.socket, Bell], quick: bool
) -> None:
    """Whether the thread looks a few times before it sleeps or sleeps at once."""
    link, there, bell = ends
    link._is_quick = quick
    link.poll(0.01)  # nothing comes: it returns all the same
    assert not link._is_quick  # and the next wait sleeps at once
    link._is_quick = quick
    there.sendall(b"x")
    link.poll(10.0)
    assert link._socket.recv(1) == b"x"
    link._is_quick = quick
    threading.Timer(0.02, bell.ring).start()
    link.poll(10.0)
    link._is_quick = quick
    link.poll(0.01)  # the bell was heard once and is silent again


def test_after_a_quick_answer_it_looks_before_it_sleeps(
    ends: tuple[Link, socket.socket, Bell],
) -> None:
    link, there, _ = ends
    for _ in range(50):  # what is there already comes quickly, but for a pause of the machine
        there.sendall(b"x")
        while not link._socket.recv(1, socket.MSG_PEEK):
            pass
        link.poll(10.0)
        link._socket.recv(1)
        if link._is_quick:
            break
    assert link._is_quick
