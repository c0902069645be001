"""Whatever goes wrong gives its own clear error to whom it concerns; nobody else notices, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import websockets

import hubbub
from hubbub import (
    DiskFullError,
    InvalidArgumentsError,
    LimitError,
    LoginFailedError,
    NotAllowedError,
    RemoteError,
    UnknownClassError,
)
from tests.e2e.conftest import Login
from tests.e2e.hosts import Host, Hosts

APPLICATIONS = Path(__file__).with_name("applications")
PASSWORD = "correct horse"


@pytest.fixture
def desk(hosts: Hosts) -> Host:
    """A hub in which things go wrong; 'carol' has a password there."""
    host = hosts.host("desk:hub", APPLICATIONS)
    status, _, errors = hosts.hubbub(
        "user", "add", "carol", "--data", str(host.data), "--stdin", typed=f"{PASSWORD}\n"
    )
    assert status == 0, errors
    return host.start()


# --- calls that are wrong ------------------------------------------------------------------------------------------------


@pytest.mark.rule("PE1")
async def test_a_wrong_argument_is_named_and_nothing_runs(desk: Host, login: Login) -> None:
    ann = await login(desk, "ann")
    for arguments, culprit in (
        ({"text": 5}, "text"),
        ({"text": "x", "copies": "many"}, "copies"),
        ({}, "text"),
        ({"text": "x", "colour": "red"}, "colour"),
    ):
        with pytest.raises(InvalidArgumentsError, match=culprit) as caught:
            await ann.add(**arguments)
        assert caught.value.code == "invalid"
    async with httpx.AsyncClient(base_url=desk.web) as web:
        answer = await web.post("/api/add", json={"text": 5})
        assert answer.status_code == 400
        assert answer.json()["kind"] == "invalid"
        assert "text" in answer.json()["message"]
    assert await ann.count() == 0


@pytest.mark.rule("PE1")
async def test_what_is_not_declared_can_not_be_called(desk: Host, login: Login) -> None:
    ann = await login(desk, "ann")
    for name in ("hidden", "nosuch", "__init__", "_desk", "connected"):
        with pytest.raises(NotAllowedError) as caught:
            await ann[name]()
        assert caught.value.code == "undeclared"
    with pytest.raises(NotAllowedError):
        await ann.desk().notes()
    assert await ann.add("still here") == 1
    async with httpx.AsyncClient(base_url=desk.web) as web:
        assert (await web.post("/api/hidden", json={})).status_code == 404


@pytest.mark.rule("PE2")
async def test_a_failing_body_gives_a_number_and_stores_nothing(desk: Host, login: Login) -> None:
    ann = await login(desk, "ann")
    with pytest.raises(RemoteError) as caught:
        await ann.fail()
    assert caught.value.code == "internal"
    assert "safe" not in str(caught.value)
    assert re.search(rf"incident {caught.value.incident}\b", desk.logged)
    assert "the combination of the safe is 1234" in desk.logged
    assert await ann.count() == 0


# --- who one is ----------------------------------------------------------------------------------------------------------


async def test_wrong_password_and_names_that_are_somebody_elses(desk: Host, login: Login) -> None:
    with pytest.raises(LoginFailedError, match="name or password is wrong"):
        await login(desk, "carol", password="wrong horse")
    # A name with a password is not for the anonymous, whether or not carol is here.
    with pytest.raises(LoginFailedError, match="'carol' is taken") as caught:
        await login(desk, "carol")
    assert caught.value.code == "name_taken"
    with pytest.raises(LoginFailedError):
        await login(desk, "Carol")
    carol = await login(desk, "carol", password=PASSWORD)
    assert carol.identity == "password:carol"
    ann = await login(desk, "ann")
    with pytest.raises(LoginFailedError, match="'ann' is taken"):
        await login(desk, "ann")
    await ann.close()
    assert await (await login(desk, "ann")).add("free again") == 1


# --- frames that are wrong ------------------------------------------------------------------------------------------------


def talk(host: Host, *parts: bytes) -> bytes:
    """Say ``parts`` on the hub's port and return all that it answers until it hangs up."""
    name, _, port = host.listen_address.partition(":")
    with closing(socket.create_connection((name, int(port)), timeout=10)) as sock:
        for part in parts:
            sock.sendall(part)
        answer = b""
        while chunk := _received(sock):
            answer += chunk
        return answer


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except ConnectionResetError:
        return b""


def framed(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


def faults(answer: bytes) -> list[dict[str, Any]]:
    found = []
    while answer:
        (length,) = struct.unpack(">I", answer[:4])
        found.append(msgspec.msgpack.decode(answer[4 : 4 + length]))
        answer = answer[4 + length :]
    return [message for message in found if message["t"] == "fault"]


HELLO = framed(msgspec.msgpack.encode({"t": "hello", "credentials": {}}))  # a guest


@pytest.mark.rule("PE7")
async def test_oversized_and_garbled_frames_end_one_connection_only(
    desk: Host, login: Login
) -> None:
    ann = await login(desk, "ann")
    for parts, code in (
        ((b"hubbub/1 user\n", b"\xff\xff\xff\xff" + b"x" * 100), "too_large"),
        ((b"hubbub/1 user\n", HELLO, b"\x7f\xff\xff\xff" + b"x" * 100), "too_large"),
        ((b"hubbub/1 user\n", framed(b"\xc1" * 50)), ""),
        ((b"hubbub/1 user\n", HELLO, framed(b"\xc1" * 50)), ""),
        ((b"hubbub/1 user\n", HELLO, framed(msgspec.msgpack.encode({"t": "nosuch"}))), ""),
        ((b"hubbub/1 user\n", framed(msgspec.msgpack.encode({"t": "ping", "n": 1}))), ""),
    ):
        answer = await asyncio.to_thread(talk, desk, *parts)
        told = faults(answer)
        assert len(told) == 1, answer
        assert told[0]["kind"] == "protocol"
        assert told[0]["message"]
        if code:
            assert told[0]["code"] == code
            assert "over the limit of 100000" in told[0]["message"]
    for part in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    ):
        answer = await asyncio.to_thread(talk, desk, part)
        assert b"This is a Hubbub port" in answer
    assert await ann.add("nobody else notices") == 1
    assert "Traceback" not in desk.logged


@pytest.mark.rule("PE7")
async def test_oversized_and_garbled_messages_of_a_page(desk: Host, login: Login) -> None:
    ann = await login(desk, "ann")
    url = desk.web.replace("http", "ws") + "_hub/ws"
    hello = json.dumps({"t": "hello", "credentials": {}})
    for text, code in (
        ("{garbled", ""),
        (json.dumps({"t": "ping", "pad": "x" * 200_000}), "too_large"),
    ):
        async with websockets.connect(url, max_size=None) as page:
            await page.send(hello)
            assert "welcome" in await asyncio.wait_for(page.recv(), 5)
            await page.send(text)
            told = json.loads(await asyncio.wait_for(page.recv(), 5))
            (fault,) = told if isinstance(told, list) else [told]
            assert (fault["t"], fault["kind"]) == ("fault", "protocol")
            if code:
                assert fault["code"] == code
    async with httpx.AsyncClient(base_url=desk.web) as web:
        answer = await web.post("/api/add", json={"text": "x" * 200_000})
        assert answer.status_code == 413
        assert "100000 bytes at most" in answer.json()["message"]
        answer = await web.post(
            "/api/add", content=b"{garbled", headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400
    assert await ann.add("nobody else notices") == 1
    assert "Traceback" not in desk.logged


@pytest.mark.rule("PE7")
async def test_a_call_that_is_too_large_is_refused_and_the_session_goes_on(
    desk: Host, login: Login
) -> None:
    ann = await login(desk, "ann")
    watch = ann.desk().recent.watch()
    assert await anext(watch) == []
    with pytest.raises(LimitError, match="at most 100000") as caught:
        await asyncio.wait_for(_awaited(ann.add("x" * 200_000)), 10)
    assert caught.value.code == "too_big"
    assert await ann.add("x" * 99_000) == 1
    assert await anext(watch) == ["x" * 99_000]
    watch.close()


async def _awaited(request: Any) -> Any:
    return await request


# --- a body that blocks ------------------------------------------------------------------------------------------------


@pytest.mark.rule("PE8")
async def test_a_body_that_blocks_delays_bodies_only_and_its_stack_is_in_the_log(
    desk: Host, login: Login
) -> None:
    ann = await login(desk, "ann")
    url = desk.web.replace("http", "ws") + "_hub/ws"
    async with websockets.connect(url) as page:
        await page.send(json.dumps({"t": "hello", "credentials": {"name": "eve"}}))
        assert "welcome" in await page.recv()
        began = time.monotonic()
        blocking = asyncio.create_task(_awaited(ann.hold(1.0)))
        while time.monotonic() - began < 0.8:
            asked = time.monotonic()
            await page.send(json.dumps({"t": "ping", "n": 7}))
            assert "pong" in await asyncio.wait_for(page.recv(), 5)
            assert time.monotonic() - asked < 0.3, "a heartbeat waited for the body"
            await asyncio.sleep(0.05)
        assert not blocking.done()
        assert await blocking == "done"
    stack = desk.running.until_logged(r"Clerk\.hold has been running for \d+ ms", 5)
    assert "use an action for what waits" in desk.logged[stack.start() :]
    assert "time.sleep(seconds)" in desk.logged[stack.start() :]
    assert desk.logged.count("has been running for") == 1


@pytest.mark.rule("PE8")
async def test_in_dev_mode_a_body_that_blocks_is_an_error(hosts: Hosts, login: Login) -> None:
    host = hosts.serve("desk:hub", APPLICATIONS, "--dev")
    ann = await login(host, "ann")
    with pytest.raises(RemoteError):
        await ann.hold(0.01)
    assert "BlockingError" in host.logged
    assert "use an action" in host.logged
    assert await ann.add("goes on") == 1


# --- the disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("ST6")
@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
async def test_a_flipped_bit_in_the_left_over_log_is_an_error_at_the_start(
    desk: Host, login: Login, where: float
) -> None:
    ann = await login(desk, "ann")
    for number in range(50):
        await ann.add(f"note {number}")
    desk.kill()
    await ann.close()
    log = desk.data.with_name(desk.data.name + "-log")
    whole = log.read_bytes()
    damaged = bytearray(whole)
    # Each of the calls was a group, and each group stands at the border of a block.
    damaged[int(50 * where) * 4096 + 150] ^= 0x10
    log.write_bytes(damaged)
    for _ in range(2):  # and it stays one: nothing is cut off in passing
        program = desk.launch()
        assert await asyncio.to_thread(program.wait) == 1
        assert "damaged" in program.logged
        assert str(log.name) in program.logged or str(desk.data) in program.logged
        assert "Traceback" not in program.logged
        assert log.read_bytes() == bytes(damaged)
    log.write_bytes(whole)
    await asyncio.to_thread(desk.start)
    bob = await login(desk, "bob")
    assert await bob.desk().recent() == [f"note {number}" for number in range(50)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"a tmpfs can't be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the room that there is."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


@pytest.mark.rule("ST5", "ST2")
async def test_a_full_disk_is_told_to_who_writes_and_writing_resumes(
    small_disk: Path, hosts: Hosts, login: Login
) -> None:
    host = hosts.host("desk:hub", APPLICATIONS, data=small_disk / "desk.hub").start()
    ann, bob = await login(host, "ann"), await login(host, "bob")
    watch = bob.desk().recent.watch()
    assert await anext(watch) == []
    kept: list[str] = []
    await ann.add("first")
    kept.append("first")
    filler = fill(small_disk)
    refused = 0
    for number in range(200):
        text = f"note {number} {'x' * 2000}"
        try:
            await asyncio.wait_for(_awaited(ann.add(text)), 10)
        except DiskFullError:
            refused += 1
            if refused == 3:
                break
        else:
            kept.append(text)
    assert refused == 3
    # Nobody else notices: reading goes on, and the answer is that of what is kept.
    assert await bob.desk().recent() == kept
    assert await bob.count() == len(kept)

    filler.unlink()
    assert await ann.add("room again") == len(kept) + 1
    kept.append("room again")
    async with asyncio.timeout(10):
        async for notes in watch:
            if notes == kept:
                break
    watch.close()
    host.kill()
    await asyncio.to_thread(host.start)
    assert await bob.desk().recent() == kept
    assert await ann.count() == len(kept)


# --- a class that the host does not know (SP3) ---------------------------------------------------------------------------

STRANGER = """
import sys, msgspec, hubbub
from hubbub import Persistent, SortedMap

class Colour(msgspec.Struct, frozen=True):
    red: int

class Lamp(Persistent):
    def __init__(self):
        self.colour, self.watts, self.rooms = Colour(200), 40, SortedMap(hall=1)
    def bright(self):
        return self.watts > 30

with hubbub.open(sys.argv[1]) as space:
    if sys.argv[2] == "make":
        space.run(lambda root: root.__setitem__("lamp", Lamp()))
    else:
        lamp = lambda root: (root["lamp"].bright(), root["lamp"].colour, dict(root["lamp"].rooms.items()))
        print(space.read(lamp), flush=True)
"""


@pytest.mark.rule("SP3")
def test_a_class_that_the_host_does_not_know(hosts: Hosts, tmp_path: Path) -> None:
    (tmp_path / "stranger.py").write_text(STRANGER)
    host = hosts.serve(None, hosts.directory)
    assert hosts.run("stranger.py", host.hub, "make").wait() == 0
    with hubbub.open(host.hub) as space:
        # Here it is as strange as in the host: its data can be read, its behaviour is not there.
        assert space.read(lambda root: (root["lamp"].watts, root["lamp"].colour.red)) == (40, 200)
        for touch in (
            lambda root: root["lamp"].bright(),
            lambda root: setattr(root["lamp"], "watts", 60),
            lambda root: root["lamp"].colour.brighter(),
        ):
            with pytest.raises(UnknownClassError, match="stranger:"):
                space.run(touch)
        # What is known inside it can be changed.
        space.run(lambda root: root["lamp"].rooms.__setitem__("kitchen", 2))
    host.kill()
    host.start()
    reader = hosts.run("stranger.py", host.hub, "look")
    assert reader.wait() == 0, reader.logged
    assert reader.printed == "(True, Colour(red=200), {'hall': 1, 'kitchen': 2})\n"
