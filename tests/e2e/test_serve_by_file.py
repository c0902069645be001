"""``hubbub serve --config`` and ``hubbub token``, in processes of their own."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

import hubbub
from hubbub.kernel import LoginFailedError
from tests.e2e.hosts import EXAMPLES, Hosts, Program, until
from tests.faults.gateway.certificates import Certificates

CONFIGURATION = """
listen = ["127.0.0.1:0", { address = "localhost:0", tls = true }, "./hub.sock"]

[tls]
certificate = "host.pem"

[logging]
file = "hub.log"

[spaces.shop]
data = "shop.hub"

[spaces.chat]
data = "chat.hub"
application = "APPLICATION"
web = "127.0.0.1:0"
"""


def serve(hosts: Hosts, *options: str) -> tuple[Program, Path]:
    here = hosts.directory
    Certificates(here)
    text = CONFIGURATION.replace("APPLICATION", str(EXAMPLES / "chat" / "chat.py") + ":hub")
    (here / "hub.toml").write_text(text)
    program = hosts.run("-m", "hubbub", "serve", "--config", "hub.toml", *options)
    return program, here / "hub.log"


def test_two_spaces_by_a_file_and_a_token_that_is_taken_back(hosts: Hosts) -> None:
    program, log = serve(hosts)
    until(lambda: log.exists() and "Ctrl-C stops it" in log.read_text(), "the start", 20)
    plain, secured, unix = re.findall(r"users and peers: (\S+)", log.read_text())
    (page,) = re.findall(r"web page: (\S+)", log.read_text())
    assert httpx.get(page, timeout=10).status_code == 200
    with hubbub.open(f"{plain}/shop") as space:
        space.run(lambda root: root.update(n=1))
    status, secret, _ = hosts.hubbub("token", "add", "a", "--config", "hub.toml", "--space", "shop")
    assert status == 0
    with pytest.raises(LoginFailedError):
        hubbub.open(f"{plain}/shop")
    where = secured.replace("127.0.0.1", "localhost").replace("[::1]", "localhost")
    with (
        hubbub.open(f"{where}/shop", token=secret.strip(), ca=hosts.directory / "ca.pem") as space,
        hubbub.open(f"{unix}?space=shop", token=secret.strip()) as other,
    ):
        assert space.read(lambda root: root["n"]) == 1
        waiting = other.changes()
        next(waiting)
        assert hosts.hubbub("token", "remove", "a", "--config", "hub.toml")[0] == 0
        with pytest.raises(LoginFailedError):
            next(waiting)
    assert program.terminate() == 0
    assert "everything acknowledged is in" in log.read_text()


def test_a_file_is_checked_without_serving(hosts: Hosts) -> None:
    program, log = serve(hosts, "--check")
    assert program.wait() == 0
    assert "hub.toml makes sense: shop, chat at 127.0.0.1:0, localhost:0, " in program.printed
    assert not log.exists()
    (hosts.directory / "hub.toml").write_text('[spaces.a]\ndta = "a.hub"\n')
    status, _, errors = hosts.hubbub("serve", "--config", "hub.toml", "--check")
    assert status == 1
    assert errors == "hubbub: hub.toml:2: [spaces.a] has no key 'dta': did you mean 'data'?\n"
    status, _, errors = hosts.hubbub("serve", "--config", "hub.toml", "--listen", "none")
    assert status == 2
    assert "--listen is said by the file of --config" in errors
    assert hosts.hubbub("serve", "--check")[0] == 2


def test_public_takes_a_word_or_none(hosts: Hosts) -> None:
    for words, told in (
        (("--public", "readonly", "chat.py:hub"), "takes users, read-only or all, not 'readonly'"),
        (("--key", "x.pem"), "go with --cert"),
        (("--data", "x.hub-tokens"), "it is no space"),
        (("--cert", "none.pem", "--data", "x.hub"), "the PEM file none.pem can't be read"),
        (("--public", "chat:hub", "--data", "x.hub"), "there is no module 'chat'"),
    ):
        status, _, errors = hosts.hubbub("serve", *words)
        assert status != 0
        assert told in errors


def test_a_public_space_on_the_command_line(hosts: Hosts) -> None:
    program = hosts.run(
        *("-m", "hubbub", "serve", "--data", str(hosts.directory / "cds.hub")),
        *("--listen", "0.0.0.0:0", "--public", "read-only"),
    )
    program.until_logged("Ctrl-C stops it")
    found = re.search(r"users and peers: (\S+)", program.logged)
    assert found
    with hubbub.open(found[1].replace("0.0.0.0", "127.0.0.1"), read_only=True) as stranger:
        assert stranger.read(len) == 0
    assert program.terminate() == 0
