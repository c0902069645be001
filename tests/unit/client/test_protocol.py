"""The client's state machine, message by message."""

from __future__ import annotations

import msgspec
import pytest

from hubbub.kernel import (
    ClosedError,
    LimitError,
    LocalProtocolError,
    NotAllowedError,
    OutcomeUnknownError,
    Refused,
    RemoteProtocolError,
)
from hubbub.perspective.client import events as told
from hubbub.perspective.client.protocol import ClientProtocol, ProtocolState
from hubbub.wire import session as wire


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(value))


def welcome(cursor: str = "e.0", session: str = "s") -> wire.Welcome:
    return wire.Welcome(session, "secret", cursor, False, "anon:1", "ann", 10.0, 60.0, 1 << 20)


def opened(cursor: str = "e.0", **options) -> ClientProtocol:
    client = ClientProtocol(
        wire.Hello(credentials={"name": "ann"}), msgspec.msgpack.decode, **options
    )
    client.connected()
    assert client.take() == [wire.Hello(credentials={"name": "ann"})]
    client.receive(welcome(cursor))
    return client


def again(client: ClientProtocol, cursor: str) -> list[wire.ToHost]:
    client.lost()
    client.connected()
    (hello,) = client.take()
    assert isinstance(hello, wire.Hello)
    assert (hello.session, hello.secret, hello.credentials) == ("s", "secret", {})
    client.receive(welcome(cursor))
    return client.take()


def test_a_call_gets_its_id_when_it_is_sent_and_its_result_once() -> None:
    client = opened()
    calls = [client.call(wire.Call(0, name)) for name in "abc"]
    client.cancel(calls[1])
    assert [m.id for m in client.take() if isinstance(m, wire.Call)] == [1, 2]
    assert client.receive(wire.Result(1, 2, value=raw("x"))) == [told.Finished(calls[2], "x")]
    assert client.receive(wire.Result(2, 2, value=raw("x"))) == []
    (finished,) = client.receive(wire.Result(3, 1, error=wire.Failure("refused", "no", "Not so.")))
    assert isinstance(finished, told.Finished)
    assert isinstance(finished.error, Refused)
    assert finished.error.code == "no"


@pytest.mark.rule("PE4")
def test_calls_are_repeated_with_their_ids_ahead_of_new_ones() -> None:
    client = opened()
    client.call(wire.Call(0, "a"))
    cancelled = client.call(wire.Call(0, "b"))
    client.take()
    client.cancel(cancelled)
    client.call(wire.Call(0, "c"))
    client.lost()
    client.call(wire.Call(0, "d"))
    repeated = again(client, "f.0")
    assert [(type(m).__name__, m.id) for m in repeated] == [  # type: ignore[union-attr]
        ("Call", 1), ("Call", 2), ("Cancel", 2), ("Call", 3), ("Call", 4),
    ]  # fmt: skip
    client.receive(wire.Lagged("g.0"))
    names = [type(m).__name__ for m in client.take()]
    assert names == ["Call", "Call", "Cancel", "Call", "Call", "Ack"]


def test_deliveries_are_counted() -> None:
    client = opened(ack_every=3)
    watch = client.watch(wire.Watch(0, "w"))
    client.take()
    assert len(client.receive(wire.Answer(1, 1, "t1", value=raw([1])))) == 1
    assert client.receive(wire.Answer(1, 1, "t0", value=raw([0]))) == []
    assert watch.value == [1]
    with pytest.raises(RemoteProtocolError, match="delivery 3 came after 1"):
        client.receive(wire.Answer(3, 1, "t3", value=raw([3])))
    client.receive(wire.Answer(2, 1, "t2", patch=raw([["s", 1, 0, [2]]])))
    assert watch.value == [1, 2]
    assert client.take() == []
    client.receive(wire.Answer(3, 1, "t3", value=raw([3])))
    assert client.take() == [wire.Ack("e.3")]
    client.acknowledge()
    assert client.take() == []


@pytest.mark.rule("PE6")
def test_the_same_epoch_goes_on_and_a_new_one_begins_again() -> None:
    client = opened()
    watch, stream = (
        client.watch(wire.Watch(0, "w")),
        client.watch(wire.Watch(0, "s"), is_stream=True),
    )
    unseen = client.watch(wire.Watch(0, "u"))
    client.take()
    client.receive(wire.Answer(1, watch.id, "t", value=raw({"a": 1})))
    client.receive(wire.Item(2, stream.id, raw("x")))
    assert again(client, "e.7") == [unseen.message], "what showed a sign of life is open still"
    client.receive(wire.Answer(3, watch.id, "t", patch=raw([["k", "b", 2]])))
    assert watch.value == {"a": 1, "b": 2}
    client.lost()
    client.connected()
    client.take()
    events = client.receive(welcome("f.0"))
    assert events[1:] == [told.Missed(stream, "restart")]
    assert client.take() == [watch.message, stream.message, unseen.message]
    with pytest.raises(RemoteProtocolError, match="without the answer"):
        client.receive(wire.Answer(1, watch.id, "t", patch=raw([])))


def test_after_a_lag_a_patch_needs_a_whole_answer_first() -> None:
    client = opened()
    watch = client.watch(wire.Watch(0, "w"))
    client.receive(wire.Answer(1, watch.id, "t", value=raw([])))
    client.receive(wire.Lagged("f.0"))
    with pytest.raises(RemoteProtocolError):
        client.receive(wire.Answer(1, watch.id, "t", patch=raw([])))


def test_what_was_left_is_left_once_more_if_the_host_goes_on() -> None:
    client = opened()
    watch = client.watch(wire.Watch(0, "w"))
    client.take()
    client.unwatch(watch)
    client.unwatch(watch)
    assert client.take() == [wire.Unwatch(1)]
    again(client, "e.0")
    assert client.receive(wire.Answer(1, 1, "t", value=raw(1))) == []
    assert client.receive(wire.Answer(2, 1, "t", value=raw(1))) == []
    assert client.take() == [wire.Unwatch(1)]


def test_a_watch_of_a_stream_says_what_to_write() -> None:
    client = opened()
    watch = client.watch(wire.Watch(0, "w"))
    client.take()
    (ended,) = client.receive(wire.Item(1, watch.id, raw(1)))
    assert isinstance(ended, told.Ended)
    assert "w is followed with .stream()" in str(ended.error)
    assert client.take() == [wire.Unwatch(1)]


def test_replies_of_the_mind_are_sent_again_within_their_epoch_only() -> None:
    client = opened()
    (called,) = client.receive(wire.MindCall(1, 5, "m", raw([1]), raw({"x": 2})))
    assert isinstance(called, told.MindCalled)
    assert (called.args, called.kwargs) == ([1], {"x": 2})
    client.reply(called, msgspec.msgpack.encode(3))
    reply = wire.Reply(5, raw(3))
    assert [(m.id, bytes(m.value)) for m in client.take()] == [(5, bytes(reply.value))]  # type: ignore[union-attr]
    assert [type(m) for m in again(client, "e.1")] == [wire.Reply]
    assert again(client, "f.0") == []
    client.reply(called, msgspec.msgpack.encode(3))
    assert client.take() == []


def test_heartbeats() -> None:
    client = opened()
    assert client.tick(5.0)
    assert client.take(5.0) == []
    assert client.tick(6.0)
    assert client.take(6.0) == [wire.Ping(1)]
    client.receive(wire.Pong(1), 7.0)
    assert client.tick(30.0)
    assert not client.tick(33.0)
    client.lost()
    assert client.tick(1000.0)
    client.connected(1000.0)
    assert client.tick(1029.0)
    assert not client.tick(1031.0)


def test_how_the_host_parts() -> None:
    client = opened()
    (drain,) = client.receive(wire.Closing("drain", 2.0))
    assert isinstance(drain, told.Parting)
    assert (drain.is_final, drain.retry_s) == (False, 2.0)
    (replaced,) = client.receive(wire.Closing("replaced"))
    assert isinstance(replaced, told.Parting)
    assert replaced.is_final
    assert str(replaced.error) == "the host ended the session (replaced)"
    (full,) = client.receive(wire.Fault("limit", "host_full", "full"))
    assert isinstance(full, told.Parting)
    assert not full.is_final
    assert isinstance(full.error, LimitError)
    (lost,) = client.receive(wire.Fault("not_allowed", "session_lost", "gone"))
    assert isinstance(lost, told.Parting)
    assert lost.is_final
    assert isinstance(lost.error, NotAllowedError)


def test_closing_tells_everybody_what_is_known() -> None:
    client = opened()
    sent = client.call(wire.Call(0, "a"))
    client.take()
    unsent = client.call(wire.Call(0, "b"))
    watch = client.watch(wire.Watch(0, "w"))
    first, second, third = client.close()
    assert isinstance(first, told.Finished)
    assert first.call is sent
    assert isinstance(first.error, OutcomeUnknownError)
    assert isinstance(second, told.Finished)
    assert second.call is unsent
    assert isinstance(second.error, ClosedError)
    assert isinstance(third, told.Ended)
    assert third.subscription is watch
    assert client.close() == []
    with pytest.raises(ClosedError):
        client.call(wire.Call(0, "c"))
    with pytest.raises(ClosedError):
        client.watch(wire.Watch(0, "c"))


def test_what_is_out_of_turn() -> None:
    client = opened()
    with pytest.raises(LocalProtocolError):
        client.connected()
    with pytest.raises(RemoteProtocolError):
        client.receive(welcome())
    client.lost()
    client.connected()
    with pytest.raises(RemoteProtocolError, match="Pong while GREETING"):
        client.receive(wire.Pong(1))
    with pytest.raises(RemoteProtocolError, match="another session"):
        client.receive(welcome("e.0", "other"))
    client.lost()
    assert client.state is ProtocolState.IDLE
