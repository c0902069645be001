"""The client's state machine against the host's real one, over connections that break at any point, with a host that is
killed at any point (PE4, PE5, PE6, LV1)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from hubbub.kernel import Limits
from hubbub.perspective.client import events as told
from hubbub.perspective.client.protocol import ClientProtocol, ProtocolState
from hubbub.perspective.identity import Identity
from hubbub.perspective.calls import StoredResult
from hubbub.perspective.new_answer import NewAnswer
from hubbub.perspective.session import Session
from hubbub.wire import patch as patches
from hubbub.wire import session as wire

LIMITS = Limits(max_calls=6, max_watches=6, backlog_items=8, backlog_bytes=2500)
encode = msgspec.msgpack.encode
NONE = encode(None)


class Host:
    """A space with one list. A call appends to it; watches follow it; what is stored outlives `kill`."""

    def __init__(self) -> None:
        self.stored: list[int] = []
        self.results: dict[int, StoredResult] = {}
        self.pruned_to = 0
        self.lives = 0
        self.tid = 0
        self.start()

    def start(self) -> None:
        self.lives += 1
        self.waiting: list[int] = []
        self.watching: dict[int, str] = {}  # watch -> tid of what it was given
        self.streaming: set[int] = set()
        self.before: tuple[str, list[int]] = ("", [])
        identity = Identity("anon:1", "ann")
        self.session = Session(
            "s", "secret", identity, "msgpack", self, LIMITS, f"life{self.lives}", mind=True
        )
        if self.lives > 1:
            self.session.restore(dict(self.results), self.pruned_to)

    # Desk
    def call(self, session, message):
        self.waiting.append(message.id)

    def run(self, count: int) -> None:
        for call_id in self.waiting[:count]:
            self.before = (str(self.tid), list(self.stored))
            self.stored.append(call_id)
            self.tid += 1
            self.results[call_id] = StoredResult(str(self.tid), encode(call_id * 10))
            self.session.result(call_id, str(self.tid), encode(call_id * 10), None)
            for watch_id in list(self.watching):
                self.tell(watch_id)
            for stream_id in list(self.streaming):
                self.session.item(stream_id, encode(len(self.stored)))
            self.session.mind_call(0, "hear", encode([len(self.stored)]), encode({}))
        del self.waiting[:count]

    def tell(self, watch_id: int, *, whole: bool = False) -> None:
        patch = None if whole else patches.diff(self.before[1], self.stored)
        data = None if patch is None else encode(patch)
        base = self.before[0] if data else ""
        tid, value = str(self.tid), encode(self.stored)
        self.session.answer(NewAnswer(watch_id, self.session.form, tid, value, data, base))

    def watch(self, session, message):
        if message.name == "items":
            self.streaming.add(message.id)
            session.open_stream(message.id, 4, 1000, "lag")
        else:
            self.watching[message.id] = ""
            self.tell(message.id, whole=True)

    def refresh(self, session, watch_id):
        self.tell(watch_id, whole=True)

    def unwatch(self, session, watch_id):
        self.watching.pop(watch_id, None)
        self.streaming.discard(watch_id)

    def cancel(self, session, call_id): ...

    def reply(self, session, mind_id, value, failure): ...

    def pruned(self, session, ids, pruned_to):
        for call_id in ids:
            self.results.pop(call_id, None)
        self.pruned_to = pruned_to

    def bye(self, session): ...


class Carrier:
    def __init__(self) -> None:
        self.closed = None

    def wake(self): ...

    def close(self, message):
        self.closed = message


class ClientAndHost(RuleBasedStateMachine):
    """Everything that can go wrong between them does; at the end all has come to pass exactly once."""

    @initialize()
    def begin(self) -> None:
        self.host = Host()
        self.client = ClientProtocol(wire.Hello(mind=True), msgspec.msgpack.decode, ack_every=3)
        self.carrier: Carrier | None = None
        self.to_host: list[bytes] = []
        self.to_client: list[bytes] = []
        self.calls: list[told.Pending] = []
        self.finished: dict[int, int] = {}
        self.watches: list[told.Subscription] = []
        self.streams: list[told.Subscription] = []
        self.items: dict[int, list] = {}
        self.longest: dict[int, int] = {}
        self.heard: list = []

    # --- the user ---

    @rule()
    def call(self) -> None:
        if len(self.calls) - len(self.finished) < LIMITS.max_calls // 2:
            pending = self.client.call(wire.Call(0, "add"), len(self.calls))
            self.calls.append(pending)

    @rule()
    def watch(self) -> None:
        if len(self.watches) < 3:
            self.watches.append(self.client.watch(wire.Watch(0, "all")))

    @rule()
    def stream(self) -> None:
        if len(self.streams) < 2:
            self.streams.append(self.client.watch(wire.Watch(0, "items"), is_stream=True))

    @rule(which=st.integers(0, 2))
    def unwatch(self, which: int) -> None:
        if which < len(self.watches):
            self.client.unwatch(self.watches.pop(which))

    @rule()
    def acknowledge(self) -> None:
        self.client.acknowledge()

    # --- the host ---

    @rule(count=st.integers(1, 4))
    def run(self, count: int) -> None:
        self.host.run(count)

    @rule()
    def kill(self) -> None:
        self.cut()
        self.host.start()

    # --- the connection ---

    @rule()
    def connect(self) -> None:
        if self.client.state is ProtocolState.IDLE:
            self.client.connected()
            (hello,) = self.client.take()
            assert isinstance(hello, wire.Hello)
            self.carrier = Carrier()
            self.host.session.attach(self.carrier, hello.cursor)
            was = self.client.welcome is not None
            welcome = wire.Welcome(
                "s", "secret", self.host.session.cursor, was, "anon:1", "ann", 15.0, 60.0, 1 << 20
            )
            self.to_client.append(wire.encode(welcome, "msgpack"))

    @rule()
    def cut(self) -> None:
        if self.carrier is not None:
            self.host.session.detach(self.carrier)
        self.carrier = None
        self.to_host.clear()
        self.to_client.clear()
        self.client.lost()

    @rule(count=st.integers(1, 6))
    def upwards(self, count: int) -> None:
        if self.carrier is None:
            return
        self.to_host += [wire.encode(message, "msgpack") for message in self.client.take()]
        for data in self.to_host[:count]:
            self.host.session.receive(wire.decode_to_host(data, "msgpack"))
        del self.to_host[:count]

    @rule(count=st.integers(1, 6))
    def downwards(self, count: int) -> None:
        if self.carrier is None:
            return
        assert self.carrier.closed is None
        self.to_client += self.host.session.take(400)
        for data in self.to_client[:count]:
            for event in self.client.receive(wire.decode_to_client(data, "msgpack")):
                self.told(event)
        del self.to_client[:count]

    @rule()
    def exchange(self) -> None:
        """Everything that is under way arrives, and is answered."""
        self.upwards(100)
        self.host.run(100)
        self.downwards(100)

    @rule(kill=st.booleans())
    def lose_what_goes_up(self, kill: bool) -> None:
        """Calls leave the client, and the connection breaks before they arrive."""
        self.call()
        self.client.take()
        self.kill() if kill else self.cut()

    @rule(kill=st.booleans())
    def lose_what_comes_down(self, kill: bool) -> None:
        """Calls run and are told of, and the connection breaks before that arrives."""
        self.call()
        self.upwards(100)
        self.host.run(100)
        if self.carrier is not None:
            self.host.session.take(10_000)
        self.kill() if kill else self.cut()

    @rule()
    def duplicate(self) -> None:
        """A delivery that was seen already comes again."""
        if self.client.state is ProtocolState.OPEN and self.client._seen:
            again = wire.Result(self.client._seen, 1, value=msgspec.Raw(NONE))
            assert self.client.receive(again) == []

    # --- what must hold ---

    def told(self, event: told.Event) -> None:
        match event:
            case told.Finished():
                assert event.call.tag not in self.finished, "a result arrived twice"
                assert event.error is None
                self.finished[event.call.tag] = event.value
            case told.Answered():
                value = event.subscription.value
                assert value == self.host.stored[: len(value)]
                assert len(value) >= self.longest.get(event.subscription.id, 0), (
                    "an answer went back"
                )
                self.longest[event.subscription.id] = len(value)
            case told.Streamed():
                self.items.setdefault(event.subscription.id, []).append(event.item)
            case told.Missed():
                seen = (
                    self.heard
                    if event.subscription is None
                    else self.items.setdefault(event.subscription.id, [])
                )
                seen.append("gap")
            case told.MindCalled():
                self.heard.append(event.args[0])
            case told.Ended() | told.Parting():
                raise AssertionError(event)

    def come_to_rest(self) -> None:
        for _ in range(60):
            self.connect()
            self.exchange()
            self.client.acknowledge()

    def teardown(self) -> None:
        if not hasattr(self, "host"):
            return
        self.come_to_rest()
        # A result whose acknowledgement was lost with the host is let go by the next call (see `Session`).
        self.calls.append(self.client.call(wire.Call(0, "add"), len(self.calls)))
        self.come_to_rest()
        assert len(self.finished) == len(self.calls), "a result never arrived"
        ids = [call.message.id for call in self.calls]
        assert ids == list(range(1, len(ids) + 1))
        assert sorted(self.host.stored) == ids, "a call did not run exactly once"
        assert all(self.finished[index] == (index + 1) * 10 for index in range(len(ids)))
        for subscription in self.watches:
            assert subscription.value == self.host.stored
        for seen in (self.heard, *self.items.values()):
            check_no_silent_hole(seen)
        assert self.host.results == {}, "results are kept that the client has acknowledged"


def check_no_silent_hole(seen: list) -> None:
    before = None
    for item in seen:
        if item != "gap" and before not in (None, "gap"):
            assert item == before + 1, f"a hole without a gap: {seen}"
        before = item


ClientAndHost.TestCase.settings = settings(max_examples=400, stateful_step_count=60, deadline=None)
TestClientAndHost = pytest.mark.rule("PE4", "PE5", "PE6", "LV1")(ClientAndHost.TestCase)
