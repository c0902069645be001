from __future__ import annotations

import socket
import stat

import pytest

from hubbub import AddressInUseError, ConfigurationError
from hubbub.gateway.binding import bind, host_and_port, is_loopback, name_of, refuse_open_door


@pytest.mark.parametrize(
    "text, expected",
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
        (":80", ("", 80)),
        ("80", ("127.0.0.1", 80)),
    ],
)
def test_addresses(text, expected):
    assert host_and_port(text) == expected


@pytest.mark.parametrize("text", ["host", "host:", "host:x", "host:99999", ""])
def test_what_is_no_address(text):
    with pytest.raises(ConfigurationError):
        host_and_port(text)


def test_a_taken_port_names_the_address_and_the_option():
    (first,) = bind("127.0.0.1:0", "--web")
    with first, pytest.raises(AddressInUseError, match=rf"{name_of(first)} is taken.*--web"):
        bind(name_of(first), "--web")


def test_an_address_of_somebody_else():
    with pytest.raises(ConfigurationError, match=r"203\.0\.113\.1:80.*--listen"):
        bind("203.0.113.1:80", "--listen")


def test_a_unix_socket_is_private_and_a_taken_one_stays(tmp_path):
    path = str(tmp_path / "hub.sock")
    (sock,) = bind(path, "--listen")
    with sock:
        assert stat.S_IMODE((tmp_path / "hub.sock").stat().st_mode) == 0o600
        with pytest.raises(AddressInUseError, match="--listen"):
            bind(path, "--listen")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


def test_a_socket_left_over_is_replaced_and_a_file_is_not(tmp_path):
    path = tmp_path / "hub.sock"
    bind(f"unix:{path}", "--listen")[0].close()
    bind(f"unix:{path}", "--listen")[0].close()
    plain = tmp_path / "file"
    plain.write_text("precious")
    with pytest.raises(ConfigurationError, match="not a socket"):
        bind(str(plain), "--listen")
    assert plain.read_text() == "precious"


@pytest.mark.parametrize(
    "host, expected",
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_loopback(host, expected):
    assert is_loopback(host) is expected


@pytest.mark.rule("GW2")
def test_an_open_door_is_refused_unless_declared():
    def door(address: str, *, authenticated: bool = False, public: bool = False) -> None:
        refuse_open_door(address, authenticated=authenticated, public=public, option="--web")

    for address in ("0.0.0.0:8000", ":8000", "[::]:8000", "hub.example:8000"):
        with pytest.raises(ConfigurationError, match=r"--web .* password.*--public"):
            door(address)
        door(address, authenticated=True)
        door(address, public=True)
    for address in ("127.0.0.1:8000", "[::1]:8000", "localhost:8000", "/run/hub.sock"):
        door(address)
