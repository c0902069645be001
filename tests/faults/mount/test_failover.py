"""Several addresses of copies of one space: which is taken, and which never."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hubbub
from hubbub.gateway.admission import Admission
from hubbub.kernel import BrokenError, ConfigurationError, LoginFailedError
from hubbub.mount.address import Address, addresses_of
from hubbub.store import MemoryStore, Store, open_store
from tests.conformance.mount.serving import HostThread, free_port

Start = Callable[..., HostThread]


@pytest.fixture
def start() -> Iterator[Start]:
    made: list[HostThread] = []

    def begin(store: Store | None = None, **options: Any) -> HostThread:
        host = HostThread(store or MemoryStore(), **options)
        made.append(host)
        return host

    yield begin
    for host in made:
        host.close()


def put(root: Any) -> int:
    root["n"] = root.get("n", 0) + 1
    return int(root["n"])


def get(root: Any) -> Any:
    return root.get("n")


def test_lists_of_addresses() -> None:
    assert addresses_of("hub://a:1,b,[::1]:3/x") == (
        Address("a", 1, "", "x"),
        Address("b", 1975, "", "x"),
        Address("::1", 3, "", "x"),
    )
    assert addresses_of(["hub://a", "hubs://b", "hub+unix:///s", "hub://a"]) == (
        Address("a"),
        Address("b", tls=True),
        Address(path="/s"),
    )


@pytest.mark.parametrize(
    "urls, words",
    [
        ([], "names no host"),
        (["hub://a/x", "hub://b/y"], "copies of one space"),
        ("hub://a,,b", "names no host"),
        (["hub://a", "chat.hub"], "names no host"),
        ("hub://ann@a", "names no host"),
    ],
)
def test_lists_that_make_no_sense(urls: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        hubbub.open(urls)


def test_the_first_usable_wins(start: Start) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    nobody, mute = free_port(), silent.getsockname()[1]
    wrong = start(admission=Admission(secret="another"))
    right = start()
    with hubbub.open(
        f"hub://127.0.0.1:{nobody},127.0.0.1:{mute},127.0.0.1:{wrong.port},127.0.0.1:{right.port}",
        token="x",
        wait_timeout_s=2,
    ) as space:
        assert space.run(put) == 1
    assert right.command(get) == 1
    silent.close()


def test_none_of_use_tells_why_of_each(start: Start) -> None:
    nobody = free_port()
    wrong = start(admission=Admission(secret="another"))
    with pytest.raises(
        LoginFailedError, match=rf"none of 2 hosts.*no host at 127\.0\.0\.1:{nobody}.*not valid"
    ):
        hubbub.open([f"hub://127.0.0.1:{nobody}", wrong.url], token="x")
    with pytest.raises(BrokenError, match="none of 2 hosts is of use"):
        hubbub.open([f"hub://127.0.0.1:{nobody}", "hub+unix:///nowhere"])


def test_another_copy_that_is_as_new_is_gone_on_with(start: Start, tmp_path: Path) -> None:
    one = start(open_store(tmp_path / "one.hub"))
    port = free_port()
    space = hubbub.open([one.url, f"hub://127.0.0.1:{port}"], wait_timeout_s=20)
    try:
        assert [space.run(put) for _ in range(5)] == [1, 2, 3, 4, 5]
        one.close()
        shutil.copy(tmp_path / "one.hub", tmp_path / "two.hub")
        two = start(open_store(tmp_path / "two.hub"), port=port)
        assert space.read(get) == 5
        assert space.run(put) == 6
        assert two.command(get) == 6
        assert space.stats.reconnects == 1
    finally:
        space.close()


def test_a_copy_that_is_behind_is_never_gone_on_with(start: Start, tmp_path: Path) -> None:
    one = start(open_store(tmp_path / "one.hub"))
    with hubbub.open(one.url) as first:
        first.run(put)
    one.close()
    shutil.copy(tmp_path / "one.hub", tmp_path / "two.hub")
    behind = start(open_store(tmp_path / "two.hub"))
    port = free_port()
    one = start(open_store(tmp_path / "one.hub"), port=port)
    space = hubbub.open([one.url, behind.url], wait_timeout_s=0.5)
    try:
        assert space.run(put) == 2
        one.close()
        with pytest.raises(BrokenError, match=r"is at tid [0-9a-f]{16}, behind [0-9a-f]{16}"):
            space.read(get)
        assert behind.command(get) == 1
        again = start(open_store(tmp_path / "one.hub"), port=port)  # the newest comes back
        assert space.read(get) == 2
        assert again.command(get) == 2
    finally:
        space.close()
    with hubbub.open([behind.url]) as anew:  # who has seen nothing newer may
        assert anew.read(get) == 1


def test_another_space_in_its_place_is_told_at_once(start: Start, tmp_path: Path) -> None:
    port = free_port()
    one = start(open_store(tmp_path / "one.hub"), port=port)
    space = hubbub.open(one.url, wait_timeout_s=600)
    try:
        space.run(put)
        one.close()
        start(open_store(tmp_path / "other.hub"), port=port)
        with pytest.raises(BrokenError, match="serves another space") as raised:
            space.read(get)
        assert raised.value.code == "other_space"
    finally:
        space.close()
