"""The greeter: one stored avatar for each user, one session at most, log-in by password."""

from __future__ import annotations

import pytest

import hubbub
from hubbub import LimitError, LoginFailedError
from tests.e2e.conftest import Login
from tests.e2e.hosts import Host, Hosts, Program

PASSWORD = "correct horse"

CLIENT = """
import sys, hubbub.sync
with hubbub.sync.login(sys.argv[1], name="ann", password=sys.argv[2]) as me:
    print(me.greet(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def greeter(hosts: Hosts) -> Host:
    """A greeter that knows ann."""
    host = hosts.host("greeter:hub", "greeter")
    status, _, errors = hosts.hubbub(
        "user", "add", "ann", "--data", str(host.data), "--stdin", typed=f"{PASSWORD}\n"
    )
    assert status == 0, errors
    return host.start()


def client_of(hosts: Hosts, host: Host) -> Program:
    """A client in a process of its own, that has greeted once and stays."""
    client = hosts.run("-c", CLIENT, host.hub, PASSWORD)
    client.until_printed("hello ann")
    return client


@pytest.mark.rule("PE7")
async def test_one_session_at_most(greeter: Host, login: Login) -> None:
    ann = await login(greeter, "ann", password=PASSWORD)
    assert await ann.greet() == "<1>hello ann"
    with pytest.raises(LimitError) as caught:
        await login(greeter, "ann", password=PASSWORD)
    assert caught.value.code == "too_many_sessions"
    assert await ann.greet() == "<2>hello ann", "the first one notices nothing"
    await ann.close()
    again = await login(greeter, "ann", password=PASSWORD)
    assert await again.greet() == "<3>hello ann"


@pytest.mark.rule("PE6")
async def test_the_place_is_free_when_the_client_is_killed(
    hosts: Hosts, greeter: Host, login: Login
) -> None:
    client = client_of(hosts, greeter)
    with pytest.raises(LimitError):
        await login(greeter, "ann", password=PASSWORD)
    client.kill()
    ann = await login(greeter, "ann", password=PASSWORD)
    assert await ann.greet() == "<2>hello ann"


@pytest.mark.rule("PE6", "ST2")
async def test_the_place_is_free_when_the_host_is_killed_and_the_count_lasts(
    hosts: Hosts, greeter: Host, login: Login
) -> None:
    client = client_of(hosts, greeter)
    greeter.kill()
    client.kill()
    greeter.start()
    ann = await login(greeter, "ann", password=PASSWORD)
    assert await ann.greet() == "<2>hello ann"
    with pytest.raises(LimitError):
        await login(greeter, "ann", password=PASSWORD)


@pytest.mark.rule("PE6", "PE4")
async def test_a_client_that_lives_on_keeps_its_place_over_a_kill(
    hosts: Hosts, greeter: Host, login: Login
) -> None:
    ann = await login(greeter, "ann", password=PASSWORD)
    assert await ann.greet() == "<1>hello ann"
    greeter.kill()
    greeter.start()
    assert await ann.greet() == "<2>hello ann"
    with pytest.raises(LimitError):
        await login(greeter, "ann", password=PASSWORD)


@pytest.mark.rule("PE2")
async def test_a_wrong_password_and_an_unknown_name_are_told_alike(
    greeter: Host, login: Login
) -> None:
    for name, password in (("ann", "wrong horse"), ("bob", PASSWORD)):
        with pytest.raises(LoginFailedError, match="name or password is wrong") as caught:
            await login(greeter, name, password=password)
        assert caught.value.code == "login_failed"
    with pytest.raises(hubbub.HubbubError):
        await login(greeter, "ann")
    ann = await login(greeter, "ann", password=PASSWORD)
    assert await ann.greet() == "<1>hello ann"
