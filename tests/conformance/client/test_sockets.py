"""The asynchronous client over TCP and Unix sockets."""

from __future__ import annotations

import asyncio

import pytest

import hubbub
from hubbub.perspective.client import ClientState
from tests.conformance.client.application import Line, Me
from tests.conformance.client.serving import Serving


async def test_the_readme_s_client(serving: Serving) -> None:
    me = Me()
    async with hubbub.login(serving.url, name="ann", mind=me) as ann:
        watch = ann.room().recent.watch(limit=2)
        assert await anext(watch) == []
        assert await ann.say("hello") == 1
        assert await anext(watch) == [Line("ann", "hello")]
        with pytest.raises(hubbub.Refused):
            await ann.say("")
        assert await ann.ask(4) == [8]
        assert me.calls == ["hello"]
    assert ann.state is ClientState.CLOSED
    assert [line async for line in watch] == []
    with pytest.raises(hubbub.ClosedError):
        await ann.say("too late")


async def test_awaited_and_many_calls_at_once(serving: Serving) -> None:
    ann = await hubbub.login(serving.url, name="ann")
    try:
        results = await asyncio.gather(*(ann.say(f"line {n}") for n in range(200)))
        assert results == list(range(1, 201))
    finally:
        await ann.close()
    await ann.close()


@pytest.mark.rule("PE4", "PE6")
async def test_cuts_while_calls_are_under_way(serving: Serving) -> None:
    async with hubbub.login(serving.url, name="ann") as ann:
        said = ann.said.stream()
        watch = ann.room().recent.watch(limit=1000)
        loop = asyncio.get_running_loop()
        for number in range(5):
            flying = [asyncio.ensure_future(ann.say(f"{number}.{n}")) for n in range(20)]
            await asyncio.sleep(0.002 * number)
            await loop.run_in_executor(None, serving.cut)
            await asyncio.gather(*flying)
        expected = [f"{number}.{n}" for number in range(5) for n in range(20)]
        assert [line.text for line in await ann.room().recent(limit=1000)] == expected
        async for lines in watch:
            if len(lines) == 100:
                break
        assert [(await anext(said)) for _ in range(100)] == expected
        assert said.gaps == 0


@pytest.mark.rule("PE6")
async def test_a_host_that_restarts_is_found_again(serving: Serving) -> None:
    states: list[ClientState] = []
    async with hubbub.login(serving.url, name="ann", on_state=states.append) as ann:
        await ann.say("before")
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, serving.restart)
        assert await ann.say("after") == 2
    assert states[-2:] == [ClientState.OPEN, ClientState.CLOSED]
    assert ClientState.RECONNECTING in states


async def test_nobody_answers(unused_tcp_port: int, tmp_path) -> None:
    with pytest.raises(
        hubbub.BrokenError, match=rf"nobody answers at hub://127.0.0.1:{unused_tcp_port}.*serve"
    ):
        await hubbub.login(f"hub://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(hubbub.BrokenError, match=r"no\.sock.*socket"):
        await hubbub.login(f"hub+unix://{tmp_path}/no.sock")


async def test_somebody_else_answers() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-nothing of yours, go away, we are not a hub at all\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(hubbub.HubbubError):
            await hubbub.login(f"hub://127.0.0.1:{port}", timeout_s=2)


async def test_silence_is_not_waited_for() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(hubbub.BrokenError, match=r"did not answer within 0\.2 s"):
            await hubbub.login(f"hub://127.0.0.1:{port}", timeout_s=0.2)


@pytest.mark.parametrize("url", ["http://x", "hub://", "x", "hub://host:port", "hub+unix://"])
def test_addresses_that_make_no_sense(url: str) -> None:
    with pytest.raises(hubbub.ConfigurationError, match="give hub://|port has to be|a Unix socket is"):
        hubbub.login(url)


def test_a_mind_is_a_mind() -> None:
    with pytest.raises(hubbub.ConfigurationError, match="subclass of hubbub"):
        hubbub.login("hub://x", mind=object())  # type: ignore[arg-type]
