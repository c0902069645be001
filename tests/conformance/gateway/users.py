"""A user's client, as small as can be, over each transport. Messages are dicts; the transports differ nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import msgspec
import websockets

from hubbub.wire import patch
from hubbub.wire.frames import PREFACE_USER, FrameReader, frame
from tests.conformance.gateway.application import OTHER_SERVER, Served

Message = dict[str, Any]

KINDS = ("ws", "asgi", "sse", "poll", "tcp")
"""Ways to a session; ``asgi`` is a WebSocket as it is carried under another server than ours."""


class Link:
    """One connection: what it brings is in `inbox`; None is its end."""

    def __init__(self, served: Served, cursor: Callable[[], str]) -> None:
        self.served = served
        self.cursor = cursor
        self.inbox: asyncio.Queue[Message | None] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None

    async def open(self, hello: Message) -> Message:
        raise NotImplementedError

    async def send(self, *messages: Message) -> None:
        raise NotImplementedError

    async def cut(self) -> None:
        raise NotImplementedError

    def read(self) -> None:
        async def run() -> None:
            try:
                await self.reading()
            except (OSError, httpx.HTTPError, websockets.ConnectionClosed, EOFError):
                pass
            finally:
                self.inbox.put_nowait(None)

        self.task = asyncio.create_task(run())

    async def reading(self) -> None:
        raise NotImplementedError

    def got(self, messages: Message | list[Message]) -> None:
        for message in messages if isinstance(messages, list) else [messages]:
            self.inbox.put_nowait(message)

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            # A task that is cancelled before its first step says nothing.
            self.inbox.put_nowait(None)


class WebSocketLink(Link):
    query = ""

    async def open(self, hello: Message) -> Message:
        url = self.served.url.replace("http", "ws") + "_hub/ws" + self.query
        self.socket = await websockets.connect(url, compression=None, max_size=None)
        with contextlib.suppress(websockets.ConnectionClosed):
            await self.socket.send(
                json.dumps(hello)
            )  # whoever is turned away at the door is told without it
        return json.loads(await self.socket.recv())

    async def send(self, *messages: Message) -> None:
        await self.socket.send(json.dumps(list(messages) if len(messages) > 1 else messages[0]))

    async def reading(self) -> None:
        async for text in self.socket:
            self.got(json.loads(text))

    async def cut(self) -> None:
        self.socket.transport.abort()
        await self.stop()
        await self.socket.wait_closed()


class AsgiLink(WebSocketLink):
    query = "?" + OTHER_SERVER


class TcpLink(Link):
    async def open(self, hello: Message) -> Message:
        host, _, port = self.served.tcp.address.rpartition(":")
        self.reader, self.writer = await asyncio.open_connection(host, int(port))
        self.frames = FrameReader(1 << 30)
        self.writer.write(PREFACE_USER)
        await self.send(hello)
        while not (payloads := self.frames.feed(await self.reader.read(1 << 16))):
            pass
        first, *others = map(msgspec.msgpack.decode, payloads)
        self.got(others)
        return first

    async def send(self, *messages: Message) -> None:
        self.writer.write(b"".join(frame(msgspec.msgpack.encode(m)) for m in messages))

    async def reading(self) -> None:
        while data := await self.reader.read(1 << 16):
            for payload in self.frames.feed(data):
                self.got(msgspec.msgpack.decode(payload))

    async def cut(self) -> None:
        self.writer.transport.abort()
        await self.stop()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class HttpLink(Link):
    session: Message = {}

    async def open(self, hello: Message) -> Message:
        self.web = httpx.AsyncClient(base_url=self.served.url, timeout=30)
        first = (await self.web.post("_hub/open", json=hello)).json()[0]
        if first["t"] == "welcome":
            self.session = {"session": first["session"], "secret": first["secret"]}
        return first

    async def send(self, *messages: Message) -> None:
        answer = await self.web.post("_hub/send", json={**self.session, "messages": messages})
        self.got(answer.json())

    async def cut(self) -> None:
        await self.stop()
        await self.web.aclose()


class EventsLink(HttpLink):
    async def reading(self) -> None:
        if not self.session:
            return
        body = {**self.session, "cursor": self.cursor()}
        async with self.web.stream("POST", "_hub/events", json=body) as response:
            if "event-stream" not in response.headers["content-type"]:
                self.got(json.loads(await response.aread()))
                return
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    self.got(json.loads(line[6:]))
                elif line == ":":
                    self.got({"t": "beat"})


class PollLink(HttpLink):
    async def reading(self) -> None:
        while self.session:
            body = {**self.session, "cursor": self.cursor(), "wait_s": 5}
            messages = (await self.web.post("_hub/poll", json=body)).json()
            self.got(messages)
            if any(m["t"] in ("closing", "fault") for m in messages):
                return
            # The cursor has to have moved before it is shown again.
            while not self.inbox.empty():
                await asyncio.sleep(0.001)


LINKS: dict[str, type[Link]] = {
    "ws": WebSocketLink,
    "asgi": AsgiLink,
    "sse": EventsLink,
    "poll": PollLink,
    "tcp": TcpLink,
}


class User:
    """A session seen by its client."""

    def __init__(self, served: Served, kind: str, *, alive: bool = True) -> None:
        self.served, self.kind = served, kind
        self.session = self.secret = self.epoch = ""
        self.seen = 0
        self.next_call = 1
        self.messages: list[Message] = []
        self.link: Link
        self.pump: asyncio.Task[None]
        self.news = asyncio.Event()
        self.ended = False
        self.repeats = 0
        self.signs = 0
        self.alive = alive
        self.beat: asyncio.Task[None] | None = None

    @property
    def cursor(self) -> str:
        return f"{self.epoch}.{self.seen}" if self.epoch else ""

    async def login(self, name: str = "", mind: bool = False, **credentials: str) -> Message:
        hello: Message = {"t": "hello", "mind": mind}
        hello["credentials"] = {**({"name": name} if name else {}), **credentials}
        return await self._open(hello)

    async def resume(self) -> Message:
        return await self._open(
            {"t": "hello", "session": self.session, "secret": self.secret, "cursor": self.cursor}
        )

    async def _open(self, hello: Message) -> Message:
        self.ended = False
        self.link = LINKS[self.kind](self.served, lambda: self.cursor)
        welcome = await self.link.open(hello)
        if welcome["t"] == "welcome":
            self.session, self.secret = welcome["session"], welcome["secret"]
            epoch, _, seq = welcome["cursor"].rpartition(".")
            if epoch != self.epoch:
                self.epoch, self.seen = epoch, int(seq)
        # With the cursor that the welcome has set.
        self.link.read()
        self.pump = asyncio.create_task(self._pump())
        if self.alive and self.kind != "poll":
            self.beat = asyncio.create_task(self._beat(welcome.get("heartbeat_s", 15)))
        return welcome

    async def _beat(self, period_s: float) -> None:
        with contextlib.suppress(OSError, httpx.HTTPError, websockets.ConnectionClosed):
            while True:
                await asyncio.sleep(period_s / 2)
                await self.send({"t": "ping"})

    async def _pump(self) -> None:
        while (message := await self.link.inbox.get()) is not None:
            if message["t"] == "beat" or message == {"t": "pong"}:
                self.signs += 1
                self.news.set()
                continue
            if message["t"] == "lagged":
                epoch, _, seq = message["cursor"].rpartition(".")
                self.epoch, self.seen = epoch, int(seq)
            if "n" in message and message["t"] != "pong":
                if message["n"] <= self.seen:
                    self.repeats += 1
                    continue
                assert message["n"] == self.seen + 1, f"a hole before {message} at {self.seen}"
                self.seen = message["n"]
            self.messages.append(message)
            self.news.set()
        self.ended = True
        self.news.set()

    async def cut(self) -> None:
        if self.beat is not None:
            self.beat.cancel()
            await asyncio.gather(self.beat, return_exceptions=True)
        await self.link.cut()
        await self.pump

    close = cut

    async def send(self, *messages: Message) -> None:
        await self.link.send(*messages)

    async def call(self, name: str, *args: Any, **kwargs: Any) -> Message:
        call_id = self.next_call
        self.next_call += 1
        await self.send({"t": "call", "id": call_id, "name": name, "args": args, "kwargs": kwargs})
        return await self.expect("result", id=call_id)

    async def ack(self) -> None:
        await self.send({"t": "ack", "cursor": self.cursor})

    async def expect(self, t: str, timeout_s: float = 10.0, **fields: Any) -> Message:
        """Return the first message of this kind with these fields, and forget it."""
        async with asyncio.timeout(timeout_s):
            while True:
                self.news.clear()
                for index, message in enumerate(self.messages):
                    if message["t"] == t and all(message.get(k) == v for k, v in fields.items()):
                        return self.messages.pop(index)
                assert not self.ended, f"ended before {t} {fields}; there are {self.messages}"
                await self.news.wait()

    async def signs_of_life(self, wanted: int, timeout_s: float) -> None:
        async with asyncio.timeout(timeout_s):
            while self.signs < wanted:
                self.news.clear()
                await self.news.wait()

    async def until_ended(self, timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not self.ended:
                self.news.clear()
                await self.news.wait()


class Watched:
    """The newest answer of a watch."""

    def __init__(self, user: User, watch_id: int) -> None:
        self.user, self.id = user, watch_id
        self.value: Any = None
        self.patches = 0

    async def until(self, wanted: Any) -> None:
        while self.value != wanted:
            answer = await self.user.expect("answer", id=self.id)
            if "patch" in answer:
                self.patches += 1
                self.value = patch.apply(self.value, answer["patch"])
            else:
                self.value = answer["value"]


@contextlib.asynccontextmanager
async def user_of(
    served: Served, kind: str, name: str = "", *, alive: bool = True, **options: Any
) -> AsyncIterator[User]:
    user = User(served, kind, alive=alive)
    await user.login(name, **options)
    try:
        yield user
    finally:
        await user.close()
