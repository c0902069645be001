"""The ``hubbub`` command, in processes of its own."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, expect

import hubbub
from tests.e2e.conftest import Login
from tests.e2e.hosts import EXAMPLES, Host, Hosts, environment, until
from tests.e2e.pages import enter

APPLICATIONS = Path(__file__).with_name("applications")


def test_help_helps(hosts: Hosts) -> None:
    status, shown, _ = hosts.hubbub("--help")
    assert status == 0
    for command in ("new", "serve", "demo", "call", "watch", "tail", "user", "shell"):
        assert re.search(rf"^  {command} ", shown, re.MULTILINE), command
        status, own, _ = hosts.hubbub(command, "--help")
        assert status == 0
        assert "Usage:" in own
    for option in ("--data", "--web", "--listen", "--reload", "--token"):
        assert option in hosts.hubbub("serve", "--help")[1]


def test_version(hosts: Hosts) -> None:
    status, shown, _ = hosts.hubbub("--version")
    assert status == 0
    assert re.fullmatch(
        r"hubbub, version \d+\.\S+|hubbub, version 0 \(not installed\)", shown.strip()
    )


def test_what_does_not_exist_is_said_in_one_line(hosts: Hosts) -> None:
    status, _, errors = hosts.hubbub("serve", "nosuch:hub", "--data", "x.hub")
    assert status == 1
    assert "no module 'nosuch'" in errors
    assert "Traceback" not in errors
    status, _, errors = hosts.hubbub("call", "say", "text=hi", "--connect", "hub://127.0.0.1:1")
    assert status == 1
    assert "nobody answers at hub://127.0.0.1:1" in errors
    assert "Traceback" not in errors


async def test_new_makes_an_application_that_runs(hosts: Hosts, browser: Browser) -> None:
    status, shown, errors = hosts.hubbub("new", "shopping-list")
    assert status == 0, errors
    made = hosts.directory / "shopping-list"
    assert "cd shopping-list" in shown
    assert (made / "shopping_list.py").exists()
    assert hosts.hubbub("new", "shopping-list")[0] == 1, "it is there already"
    tested = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=made,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr

    host = hosts.host("shopping_list:hub", made).start()
    page = await browser.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept("ann")))
    await page.goto(host.web)
    async with hubbub.login(host.hub, name="bob") as bob:
        await bob.add("milk")
        await expect(page.get_by_text("milk")).to_be_visible()
    assert problems == []


async def test_demo_says_where_to_look_and_ctrl_c_ends_it(hosts: Hosts) -> None:
    demo = hosts.run(
        "-m", "hubbub", "demo", "chat", "--web", "127.0.0.1:0", "--listen", "127.0.0.1:0"
    )
    url = demo.until_printed(r"in a browser +(http://\S+)", 20)[1]
    demo.until_printed("Ctrl-C stops it")
    assert str(hosts.directory / "chat.hub") in demo.printed
    # What it says to type goes to where it really listens.
    listen = demo.until_printed(r"demo chat --join --listen (\S+)")[1]
    assert f"tail --connect hub://{listen}" in demo.printed
    async with httpx.AsyncClient() as web:
        page = await web.get(url)
        assert page.status_code == 200
        assert "The Room" in page.text
    demo.send(signal.SIGINT)
    assert demo.wait() == 0
    assert "everything acknowledged is in" in demo.logged
    assert "Traceback" not in demo.logged


def test_call_watch_and_tail(hosts: Hosts, chat: Host) -> None:
    connect = ("--connect", chat.hub)
    watch = hosts.run("-m", "hubbub", "watch", "room.recent", "limit=5", "--name", "bob", *connect)
    watch.until_printed(r"\[\]", 20)
    status, shown, errors = hosts.hubbub("call", "say", "text=hi there", "--name", "ann", *connect)
    assert (status, shown) == (0, ""), errors
    watch.until_printed('"text": "hi there"')
    status, shown, _ = hosts.hubbub("call", "room.recent", "limit=1", *connect)
    assert status == 0
    assert '"author": "ann"' in shown
    status, _, errors = hosts.hubbub("call", "say", "text=", "--name", "ann", *connect)
    assert status == 1
    assert "Say something." in errors
    watch.send(signal.SIGINT)
    assert watch.wait() == 0

    tail = hosts.run("-m", "hubbub", "tail", *connect)
    line = tail.until_printed(r".*say\(.*hi there.*", 20)[0]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  anon:\w+ +say\(.*\) +\d+ obj +\d+ B", line)
    hosts.hubbub("call", "say", "text=and more", "--name", "ann", *connect)
    tail.until_printed("and more")
    tail.send(signal.SIGINT)
    assert tail.wait() == 0
    for program in (watch, tail):
        assert "Traceback" not in program.logged


def test_without_a_name_one_is_a_guest_when_the_system_name_is_taken(
    hosts: Hosts, chat: Host
) -> None:
    connect = ("--connect", chat.hub)
    watch = hosts.run("-m", "hubbub", "watch", "room.recent", *connect)
    watch.until_printed(r"\[\]", 20)
    status, _, errors = hosts.hubbub("call", "say", "text=5", *connect)
    assert status == 0, errors
    assert "is taken now, so you are a guest" in errors
    watch.until_printed('"text": "5"')
    assert '"author": "guest-' in watch.printed
    status, _, errors = hosts.hubbub("call", "room.recent.first", *connect)
    assert status == 1
    assert "room.recent hands out no object" in errors
    watch.send(signal.SIGINT)
    assert watch.wait() == 0


def test_user_add_list_remove(hosts: Hosts) -> None:
    data = ("--data", "x.hub")
    status, shown, errors = hosts.hubbub(
        "user", "add", "ann", *data, "--stdin", typed="long enough\n"
    )
    assert (status, shown) == (0, "ann can log in.\n"), errors
    status, _, errors = hosts.hubbub("user", "add", "bob", *data, "--stdin", typed="short\n")
    assert status == 1
    assert "at least 8 characters" in errors
    assert hosts.hubbub("user", "list", *data)[1] == "ann\n"
    assert hosts.hubbub("user", "remove", "ann", *data)[0] == 0
    assert hosts.hubbub("user", "remove", "ann", *data)[0] == 1
    assert hosts.hubbub("user", "list", *data)[1] == ""


def test_shell(hosts: Hosts, chat: Host) -> None:
    status, shown, errors = hosts.hubbub(
        "shell", chat.hub, "-x", "root['greeting'] = 'hi'; commit(); print(root['greeting'])"
    )
    assert (status, shown) == (0, "hi\n"), errors
    status, shown, errors = hosts.hubbub("shell", chat.hub, typed="print(sorted(root.keys()))\n")
    assert status == 0, errors
    assert "['greeting']" in shown


@pytest.mark.parametrize("option", ["--web", "--listen"])
def test_a_taken_port_says_so_and_how_to_choose_another(
    hosts: Hosts, chat: Host, option: str
) -> None:
    other = hosts.host()
    if option == "--web":
        other.web_address = taken = chat.web_address
    else:
        other.listen_address = taken = chat.listen_address
    program = other.launch()
    assert program.wait() == 1
    assert f"{taken} is taken" in program.logged
    assert f"choose another with {option}" in program.logged
    assert "Traceback" not in program.logged
    # The one that was first notices nothing.
    assert chat.running.is_running
    assert httpx.get(chat.web).status_code == 200


@pytest.mark.rule("ST8")
def test_a_second_host_on_the_same_file_is_told_of_the_first(hosts: Hosts, chat: Host) -> None:
    second = hosts.host(data=chat.data).launch()
    assert second.wait() == 1
    assert f"{chat.data} is in use by process {chat.running.pid}" in second.logged
    assert f"listening on {chat.hub}. Mount it" in second.logged
    assert "Mount it over the network instead" in second.logged
    assert "Traceback" not in second.logged
    chat.kill()
    chat.start()  # the lock has ended with its process


@pytest.mark.browser
@pytest.mark.rule("ST2", "PE6")
async def test_sigterm_drains(hosts: Hosts, login: Login, browser: Browser) -> None:
    host = hosts.serve("desk:hub", APPLICATIONS)
    chat = hosts.serve()
    page = await enter(browser, chat, "page")
    states: list[str] = []
    ann = await login(host, "ann", on_state=lambda state: states.append(state.value))
    bob = await login(host, "bob")
    under_way = asyncio.create_task(_call(ann.hold(0.8)))
    await asyncio.sleep(0.3)
    host.running.send(signal.SIGTERM)
    chat.running.send(signal.SIGTERM)

    # What was begun is finished, and its result arrives.
    assert await asyncio.wait_for(under_way, 10) == "done"
    assert await asyncio.to_thread(host.running.wait) == 0
    assert await asyncio.to_thread(chat.running.wait) == 0
    assert "stopping: no new work" in host.logged
    assert "everything acknowledged is in" in host.logged
    assert "Traceback" not in host.logged
    # Clients were told to come back: what is called meanwhile waits for the next host.
    await page.until_state("reconnecting")
    waiting = asyncio.create_task(_call(bob.add("after the drain")))
    await asyncio.to_thread(host.start)
    await asyncio.to_thread(chat.start)
    assert await asyncio.wait_for(waiting, 15) == 2
    assert await bob.desk().recent() == ["held 0.8", "after the drain"]
    assert "reconnecting" in states
    await page.until_state("live", timeout_ms=15_000)


async def _call(request: object) -> object:
    return await request  # type: ignore[misc]


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "with users"])
async def test_ctrl_c_ends_it_with_0(chat: Host, login: Login, busy: bool) -> None:
    if busy:
        ann = await login(chat, "ann")
        await ann.say("hi")
    chat.running.send(signal.SIGINT)
    assert await asyncio.to_thread(chat.running.wait) == 0
    assert "Traceback" not in chat.logged


def test_without_an_application_a_bare_space_is_served_to_peers(hosts: Hosts) -> None:
    host = hosts.serve(None, hosts.directory)
    assert "web page" not in host.logged
    with hubbub.open(host.hub) as space:
        space.run(lambda root: root.__setitem__("answer", 42))
    assert host.terminate() == 0
    with hubbub.open(str(host.data)) as space:
        assert space.read(lambda root: root["answer"]) == 42


def test_a_socket_path_serves_too(hosts: Hosts) -> None:
    host = hosts.host(None, hosts.directory)
    host.listen_address = str(hosts.directory / "hub.sock")
    program = host.launch()
    program.until_logged("Ctrl-C stops it")
    with hubbub.open(f"hub+unix://{host.listen_address}") as space:
        space.run(lambda root: root.__setitem__("answer", 42))
        assert space.read(lambda root: root["answer"]) == 42


RELOADED = """
from hubbub import Anonymous, Avatar, Hub, Realm, query

class Teller(Avatar):
    @query
    def version(self) -> int:
        return 1

class TellerRealm(Realm):
    def request_avatar(self, root, who):
        return Teller()

hub = Hub(TellerRealm(), checkers=[Anonymous()])
"""


def test_reload_starts_again_when_a_file_changes(hosts: Hosts, tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    source = tmp_path / "app" / "teller.py"
    source.parent.mkdir()
    source.write_text(RELOADED)
    host = hosts.host("teller:hub", source.parent, "--reload", data=tmp_path / "teller.hub")
    host.start()
    assert httpx.get(f"{host.web}api/version").json() == 1
    starts = host.logged.count("Ctrl-C stops it")
    until(lambda: _touch(source, host, starts), "a second start", 20)
    url = re.findall(r"web page: (http://\S+)", host.logged)[-1]
    assert httpx.get(f"{url}api/version").json() == 2
    assert "teller.py changed: starting again" in host.logged
    host.running.send(signal.SIGINT)
    assert host.running.wait() == 0
    assert "Traceback" not in host.logged


def _touch(source: Path, host: Host, starts: int) -> bool:
    # Whoever watches files may begin to do so a moment after the host listens.
    text = RELOADED.replace("return 1", "return 2")
    if host.logged.count("Ctrl-C stops it") == starts and source.read_text() != text:
        source.write_text(text)
    return host.logged.count("Ctrl-C stops it") > starts


def test_the_chat_is_short(hosts: Hosts) -> None:
    lines = (EXAMPLES / "chat" / "chat.py").read_text().splitlines()
    assert len(lines) <= 60
