from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hubbub import mount
from hubbub.gateway.admission import Admission
from hubbub.gateway.peers import PeerOptions
from hubbub.kernel import (
    BrokenError,
    Changeset,
    ConfigurationError,
    LoginFailedError,
    ReadOnlyError,
    Record,
    RemoteError,
    RemoteProtocolError,
    SpaceInUseError,
)
from hubbub.mount.address import Address
from hubbub.store import MemoryStore
from tests.conformance.mount.serving import HostThread, free_port


@pytest.mark.parametrize(
    "url, expected, text",
    [
        ("hub://host", Address("host", 1975), "host:1975"),
        ("hub://host:5/chat", Address("host", 5, "", "chat"), "host:5"),
        ("hub://[::1]:5", Address("::1", 5), "[::1]:5"),
        ("hub+unix:///tmp/x", Address(path="/tmp/x"), "/tmp/x"),
        ("hub+unix:///tmp/x?space=chat", Address(path="/tmp/x", space="chat"), "/tmp/x"),
        ("hubs://host/chat", Address("host", 1975, "", "chat", True), "host:1975"),
    ],
)
def test_addresses(url: str, expected: Address, text: str) -> None:
    assert Address.of(url) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "url", ["hub://", "hub://h:x", "hub://h:99999", "hub+unix://tmp/x", "hub+unix://"]
)
def test_addresses_that_make_no_sense(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Address.of(url)


@pytest.mark.parametrize(
    "url, words",
    [
        ("postgresql://h/x", "PostgreSQL are not there yet"),
        ("space.toml", "space.toml can't be read"),
        ("http://h", "hub://host:port"),
    ],
)
def test_what_can_not_be_opened_says_why(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        mount.open(url)


def test_a_path_is_a_space_of_this_process(tmp_path: Path) -> None:
    path = tmp_path / "a.hub"
    with mount.open(path), pytest.raises(SpaceInUseError):
        mount.open(path)
    with mount.open(path, read_only=True) as space:
        assert space.tid == 0
    with mount.open("memory:") as space:
        assert space.stats.requests == 0


def test_nobody_there() -> None:
    with pytest.raises(BrokenError, match=r"no host at 127\.0\.0\.1:\d+ .*is it running"):
        mount.open(f"hub://127.0.0.1:{free_port()}")
    with pytest.raises(BrokenError, match=r"no host at /nowhere/at/all"):
        mount.open("hub+unix:///nowhere/at/all")


@pytest.fixture
def speak() -> Iterator[Callable[[bytes], str]]:
    servers: list[socket.socket] = []

    def make(answer: bytes) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def run() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        threading.Thread(target=run, daemon=True).start()
        return f"hub://127.0.0.1:{server.getsockname()[1]}"

    yield make
    for server in servers:
        server.close()


def test_somebody_else_there(speak: Callable[[bytes], str]) -> None:
    with pytest.raises(
        RemoteProtocolError, match=r"not a Hubbub host: it answered b'HTTP/1\.1 400"
    ):
        mount.open(speak(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with pytest.raises(RemoteProtocolError, match="not a Hubbub host"):
        mount.open(speak(b"\0\0\0\4nope"))
    with pytest.raises(BrokenError, match="closed the connection before it answered"):
        mount.open(speak(b""))


def test_somebody_silent_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(BrokenError, match="did not answer within"):
            mount.open(f"hub://127.0.0.1:{port}", wait_timeout_s=0.1)


def test_tokens_spaces_and_reading_only() -> None:
    server = HostThread(
        MemoryStore(),
        options=PeerOptions(read_only=True),
        space="chat",
        admission=Admission(secret="t0k"),
    )
    try:
        with pytest.raises(LoginFailedError, match="token"):
            mount.open(server.url)
        with pytest.raises(LoginFailedError):
            mount.open(server.url, token="t0k€")
        with pytest.raises(RemoteError, match="no space 'other'"):
            mount.open(server.url + "/other", token="t0k")
        with (
            mount.open(server.url, token="t0k"),
            mount.open(server.url + "/chat", token="t0k") as space,
        ):
            with pytest.raises(ReadOnlyError, match="only read"):
                space._mount.new_oid()
            record = Record(1, 0, "test:Thing", (), b"x")
            with pytest.raises(ReadOnlyError, match="only read"):
                space._mount.commit(Changeset(0, [record]))
    finally:
        server.close()


def test_the_sync_path_needs_no_asyncio() -> None:
    code = "import sys, hubbub.mount; hubbub.mount.open('memory:').close(); sys.exit('asyncio' in sys.modules)"
    source = str(Path(__file__).parents[3] / "src")
    result = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": source}, check=False)
    assert result.returncode == 0
