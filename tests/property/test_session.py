"""Session and Backlog against a model client whose connections break at any point (PE4, PE5, PE6)."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hubbub.kernel import Limits
from hubbub.perspective.calls import StoredResult
from hubbub.perspective.identity import Identity
from hubbub.perspective.new_answer import NewAnswer
from hubbub.perspective.session import Session, SessionState
from hubbub.wire import session as wire

LIMITS = Limits(max_calls=4, max_watches=3, backlog_items=8, backlog_bytes=3000)


def patch_of(message: wire.Answer) -> Any:
    return message.patch


class HostModel:
    """Runs calls at once but hands their results in later; remembers what it has stored."""

    def __init__(self) -> None:
        self.ran: dict[int, int] = {}
        self.running: list[int] = []
        self.stored: dict[int, StoredResult] = {}
        self.deleted: dict[int, StoredResult] = {}  # with the next commit, which may never come
        self.pruned_to = self.stored_pruned_to = 0
        self.open: set[int] = set()
        self.refreshing: set[int] = set()

    def call(self, session, message):
        self.ran[message.id] = self.ran.get(message.id, 0) + 1
        self.running.append(message.id)

    def watch(self, session, message):
        self.open.add(message.id)

    def refresh(self, session, watch_id):
        self.refreshing.add(watch_id)

    def unwatch(self, session, watch_id):
        self.open.discard(watch_id)

    def cancel(self, session, call_id): ...

    def reply(self, session, mind_id, value, failure): ...

    def pruned(self, session, ids, pruned_to):
        for call_id in ids:
            if call_id in self.stored:
                self.deleted[call_id] = self.stored.pop(call_id)
        assert pruned_to >= self.pruned_to
        self.pruned_to = pruned_to

    def bye(self, session): ...


class Carrier:
    def __init__(self) -> None:
        self.closed = None
        self.woken = False
        self.wire: list[bytes] = []  # taken by the host's side, not yet read by the client

    def wake(self):
        assert not self.woken
        self.woken = True

    def close(self, message):
        self.closed = message


class ClientModel:
    """What a correct client knows."""

    def __init__(self) -> None:
        self.epoch, self.seen = "", 0
        self.next_call = itertools.count(1)
        self.next_watch = itertools.count(1)
        self.unanswered: dict[int, None] = {}
        self.answers: dict[int, str] = {}
        self.answered: dict[int, wire.Result] = {}
        self.watches: dict[int, dict] = {}
        self.streams: dict[int, dict] = {}
        self.mind_seen = 0
        self.mind_gap = False

    @property
    def cursor(self):
        return f"{self.epoch}.{self.seen}" if self.epoch else ""


class SessionMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.host = HostModel()
        self.client = ClientModel()
        self.epochs = itertools.count(1)
        self.tids = itertools.count(1)
        self.carrier: Any = None  # a Carrier, while connected
        self.values: dict[int, list[int]] = {}  # watch id -> newest answer
        self.tid_of: dict[int, str] = {}
        self.counters: dict[int, int] = {}  # stream id -> last item handed in
        self.mind_sent = 0
        self.session = self.new_session()

    def new_session(self) -> Session:
        def make() -> str:
            return f"e{next(self.epochs)}"

        return Session(
            "s",
            "x",
            Identity("anon:1", "ann"),
            "json",
            self.host,
            LIMITS,
            make(),
            mind=True,
            new_epoch=make,
        )

    # --- the network ---

    @rule()
    def connect(self):
        client, session = self.client, self.session
        former = self.carrier
        self.carrier = Carrier()
        resumed = session.attach(self.carrier, client.cursor)
        if former is not None:
            assert former.closed is not None
        epoch, seq = wire.parse_cursor(session.cursor)
        if resumed:
            assert (epoch, seq) == (client.epoch, client.seen)
        else:
            was = client.epoch
            client.epoch, client.seen = epoch, 0
            if was:  # begun before: open watches and streams again, which shows what they miss
                client.mind_gap = True
                for watch in client.watches.values():
                    watch["value"] = None
                for stream in client.streams.values():
                    stream["gap"] = True
            for watch_id in (*client.watches, *client.streams):
                self.send(wire.Watch(watch_id, "w"))
        if resumed:
            for watch_id, watch in client.watches.items():
                if watch["value"] is None:
                    self.send(wire.Watch(watch_id, "w"))
            for stream_id in client.streams:
                self.send(wire.Watch(stream_id, "w"))
        self.repeat_calls()

    @precondition(lambda self: self.carrier is not None)
    @rule()
    def lose_connection(self):
        self.session.detach(self.carrier)
        self.carrier = None  # what was on the wire is gone

    @precondition(lambda self: self.carrier is not None)
    @rule(limit=st.sampled_from([1, 200, 10_000]))
    def take(self, limit):
        taken = self.session.take(limit)
        self.carrier.wire += taken
        self.carrier.woken = self.session.has_more

    @precondition(lambda self: self.carrier is not None and self.carrier.wire)
    @rule(count=st.integers(1, 12))
    def read(self, count):
        carrier = self.carrier
        for data in carrier.wire[:count]:
            self.deliver(wire.decode_to_client(data, "json"))
        del carrier.wire[:count]

    @precondition(lambda self: self.carrier is not None and self.client.epoch)
    @rule()
    def acknowledge(self):
        self.send(wire.Ack(self.client.cursor))

    @rule(revive=st.booleans())
    def restart_host(self, revive):
        """As SIGKILL: what runs is lost, what is stored is not; deleted rows may be back."""
        host = self.host
        if revive:
            host.stored.update(host.deleted)
            host.pruned_to = host.stored_pruned_to
        host.deleted.clear()
        stored = host.stored
        host.stored_pruned_to = host.pruned_to
        for call_id in host.running:
            host.ran[call_id] -= 1  # its transaction never happened
        host.running.clear()
        host.open.clear()
        host.refreshing.clear()
        self.carrier = None
        self.session = self.new_session()
        self.session.restore(stored, host.pruned_to)
        self.client.mind_gap = True
        # What the dead host had under way is missing; the new epoch tells.

    # --- the client ---

    def send(self, message):
        assert self.carrier is not None
        self.session.receive(wire.decode_to_host(wire.encode(message, "json"), "json"))

    def repeat_calls(self):
        for call_id in self.client.unanswered:
            self.send(wire.Call(call_id, "f"))

    @precondition(lambda self: len(self.client.unanswered) < 6)
    @rule(arrives=st.booleans())
    def call(self, arrives):
        call_id = next(self.client.next_call)
        self.client.unanswered[call_id] = None
        if self.carrier is not None and arrives:
            self.send(wire.Call(call_id, "f"))
        elif self.carrier is not None:
            self.lose_connection()

    @precondition(lambda self: self.carrier is not None and len(self.client.watches) < 2)
    @rule()
    def watch(self):
        watch_id = next(self.client.next_watch)
        self.client.watches[watch_id] = {"value": None, "tid": ""}
        self.values[watch_id] = []
        self.send(wire.Watch(watch_id, "w"))

    @precondition(lambda self: self.carrier is not None and len(self.client.streams) < 1)
    @rule()
    def open_stream(self):
        stream_id = next(self.client.next_watch)
        self.client.streams[stream_id] = {
            "last": self.counters.setdefault(stream_id, 0),
            "gap": False,
        }
        self.send(wire.Watch(stream_id, "w"))

    @precondition(lambda self: self.carrier is not None and self.client.watches)
    @rule()
    def unwatch(self):
        watch_id = next(iter(self.client.watches))
        del self.client.watches[watch_id]
        self.send(wire.Unwatch(watch_id))
        assert not self.session.is_open(watch_id)

    def deliver(self, message):
        client = self.client
        if isinstance(message, wire.Lagged):
            client.epoch, client.seen = wire.parse_cursor(message.cursor)
            self.repeat_calls()
            return
        if isinstance(message, wire.Pong):
            return
        assert message.n <= client.seen + 1, "a hole in the numbering"
        if message.n <= client.seen:
            return
        client.seen = message.n
        if isinstance(message, wire.Result):
            if message.id in client.unanswered:
                del client.unanswered[message.id]
                client.answered[message.id] = message
                self.check_result(message)
        elif isinstance(message, wire.Answer):
            watch = client.watches.get(message.id)
            if watch is not None:
                assert message.tid >= watch["tid"], "an answer went back"
                watch["tid"] = message.tid
                if message.value is not msgspec.UNSET:
                    watch["value"] = msgspec.json.decode(message.value)
                else:
                    watch["value"] = watch["value"] + msgspec.json.decode(patch_of(message))
                assert watch["value"] == list(range(len(watch["value"]))), (
                    "a patch on the wrong answer"
                )
        elif isinstance(message, wire.Item):
            stream = client.streams.get(message.id)
            if stream is not None:
                number = msgspec.json.decode(message.value)["number"]
                assert number > stream["last"]
                assert number == stream["last"] + 1 or stream["gap"], "a silent hole"
                stream["last"], stream["gap"] = number, False
        elif isinstance(message, wire.Gap):
            if message.id == 0:
                client.mind_gap = True
            elif message.id in client.streams:
                client.streams[message.id]["gap"] = True
        elif isinstance(message, wire.End):
            assert message.error is not None
            assert message.error.code in ("too_slow", "too_many_watches")
            client.streams.pop(message.id, None)
            client.watches.pop(message.id, None)
        elif isinstance(message, wire.MindCall):
            number = msgspec.json.decode(message.args)[0]
            assert number > client.mind_seen
            assert number == client.mind_seen + 1 or client.mind_gap, "a silent hole"
            client.mind_seen, client.mind_gap = number, False

    def check_result(self, message):
        if message.error is None:
            assert self.host.ran.get(message.id) == 1
            assert msgspec.json.decode(message.value) == message.id
        elif message.error.code == "too_many_calls":
            assert not self.host.ran.get(message.id)
        else:
            raise AssertionError(f"call {message.id} was lost: {message.error}")

    # --- the host ---

    @precondition(lambda self: self.host.running)
    @rule(last=st.booleans(), big=st.booleans())
    def finish(self, last, big):
        host = self.host
        call_id = host.running.pop(-1 if last else 0)
        value = str(call_id).encode().rjust(900 if big else 1)
        host.stored[call_id] = StoredResult("1", value)
        if big:  # this commit took the deletions along
            host.deleted.clear()
            host.stored_pruned_to = host.pruned_to
        self.session.result(call_id, "1", value)

    @precondition(lambda self: self.host.open & self.values.keys())
    @rule(data=st.data(), size=st.integers(0, 3), patch_only=st.booleans())
    def answer(self, data, size, patch_only):
        watch_id = data.draw(st.sampled_from(sorted(self.host.open & self.values.keys())))
        value = self.values[watch_id]
        start = len(value)
        more = list(range(start, start + size))
        value.extend(more)
        base, tid = self.tid_of.get(watch_id, ""), f"{next(self.tids):016x}"
        self.tid_of[watch_id] = tid
        patch = msgspec.json.encode(more) if base else None
        whole = None if patch_only and patch else msgspec.json.encode(value)
        self.session.answer(NewAnswer(watch_id, "json", tid, whole, patch, base))

    def refresh_all(self):
        for watch_id in sorted(self.host.refreshing):
            tid = self.tid_of.get(watch_id, "")
            whole = msgspec.json.encode(self.values[watch_id])
            self.session.answer(NewAnswer(watch_id, "json", tid, whole))
        self.host.refreshing.clear()

    @precondition(lambda self: self.host.refreshing)
    @rule()
    def refresh(self):
        self.refresh_all()

    @precondition(lambda self: self.host.open & self.counters.keys())
    @rule(
        when_full=st.sampled_from(["lag", "disconnect", "latest"]),
        count=st.integers(1, 5),
        big=st.booleans(),
    )
    def items(self, when_full, count, big):
        session = self.session
        for stream_id in sorted(self.host.open & self.counters.keys()):
            if not session.is_open(stream_id):
                self.host.open.discard(stream_id)
                continue
            if not session._watched[stream_id].is_stream:
                session.open_stream(stream_id, 3, 2000, when_full)
            for _ in range(count):
                self.counters[stream_id] += 1
                item = {"number": self.counters[stream_id], "pad": "x" * (600 if big else 1)}
                if not session.item(stream_id, msgspec.json.encode(item)):
                    self.host.open.discard(stream_id)
                    break

    @rule()
    def mind(self):
        self.mind_sent += 1
        self.session.mind_call(0, "f", msgspec.json.encode([self.mind_sent]), b"{}")

    # --- what always holds ---

    @invariant()
    def nothing_runs_twice(self):
        assert all(count <= 1 for count in self.host.ran.values())

    @invariant()
    def it_is_bounded(self):
        backlog = self.session._backlog
        items, size = backlog.held
        # One delivery may pass the bounds alone, and answers and results take half of them.
        assert items <= LIMITS.backlog_items * 3 // 2 + 1
        assert size <= LIMITS.backlog_bytes * 3 // 2 + 1000
        assert len(self.session._calls) <= LIMITS.max_calls
        assert items >= 0
        assert size >= 0

    @invariant()
    def nobody_sleeps_over_something(self):
        carrier = self.carrier
        if carrier is not None and self.session.state is SessionState.ATTACHED:
            assert carrier.woken or not self.session._backlog.pending

    def teardown(self):
        """With a working connection everything arrives."""
        self.connect()
        for _ in range(200):
            while self.host.running:
                self.finish(last=False, big=False)
            self.refresh_all()
            taken = self.session.take(10_000)
            self.carrier.woken = self.session.has_more
            if not taken and not self.client.unanswered:
                break
            for data in taken:
                self.deliver(wire.decode_to_client(data, "json"))
            self.send(wire.Ack(self.client.cursor))
        self.send(wire.Ack(self.client.cursor))
        assert not self.client.unanswered, "a result was lost"
        for watch_id in self.client.watches:
            watch = self.client.watches[watch_id]
            if watch["tid"] == self.tid_of.get(watch_id) and watch["value"] is not None:
                assert watch["value"] == self.values[watch_id]
            elif watch_id in self.tid_of and self.session._watched[watch_id].tid:
                raise AssertionError("the newest answer did not arrive")
        for stream_id, stream in self.client.streams.items():
            assert stream["last"] == self.counters[stream_id] or stream["gap"], (
                "a silent hole at the end"
            )
        assert self.client.mind_seen == self.mind_sent or self.client.mind_gap


SessionMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


@pytest.mark.rule("PE4", "PE5", "PE6")
class TestSession(SessionMachine.TestCase):  # type: ignore[name-defined,misc,valid-type]
    pass
