"""One user's conversation (PE4, PE5, PE6)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from msgspec import Raw, UnsetType

from hubbub.kernel import ClosedError, LimitError, Limits, LocalProtocolError, RemoteProtocolError
from hubbub.perspective.calls import StoredResult
from hubbub.perspective.identity import Identity
from hubbub.perspective.new_answer import NewAnswer
from hubbub.perspective.session import Due, Session, SessionState
from hubbub.wire import session as wire


class RecordingDesk:
    def __init__(self):
        self.log = []

    def __getattr__(self, name):
        def note(session, *args):
            self.log.append((name, *(getattr(a, "id", a) for a in args)))

        return note


class RecordingCarrier:
    def __init__(self):
        self.wakes = 0
        self.closed: Any = None

    def wake(self):
        self.wakes += 1

    def close(self, message):
        self.closed = message


class Table:
    """A session, its desk and a client that reads what comes."""

    def __init__(self, attached=True, mind=False, **limits):
        epochs = itertools.count(2)
        self.desk = RecordingDesk()
        self.session = Session(
            "s", "secret", Identity("anon:1", "ann"), "json", self.desk, Limits(**limits), "e1",
            mind=mind, new_epoch=lambda: f"e{next(epochs)}",
        )  # fmt: skip
        self.carrier = RecordingCarrier()
        if attached:
            self.session.attach(self.carrier)

    def call(self, *ids):
        for call_id in ids:
            self.session.receive(wire.Call(call_id, "f"))

    def read(self):
        return [wire.decode_to_client(data, "json") for data in self.session.take(1 << 20)]

    def codes(self):
        return [(m.id, m.error.code if m.error else bytes(m.value).decode()) for m in self.read()]

    def ack(self):
        self.session.receive(wire.Ack(self.session.cursor))

    @property
    def runs(self):
        return [entry[1] for entry in self.desk.log if entry[0] == "call"]


@pytest.mark.rule("PE4")
def test_a_repeat_of_a_running_call_waits_for_it():
    table = Table()
    table.call(1, 1, 1)
    table.session.result(1, "a", b"7")
    table.call(1)
    assert table.runs == [1]
    assert table.codes() == [(1, "7")]


@pytest.mark.rule("PE4")
def test_a_repeat_of_a_done_call_gets_the_stored_result():
    table = Table()
    table.call(1)
    table.session.result(1, "a", b"7")
    table.read()
    assert not table.session.attach(RecordingCarrier(), "other.0")
    assert table.read() == []
    table.call(1)
    assert table.codes() == [(1, "7")]
    assert table.runs == [1]


@pytest.mark.rule("PE4")
def test_an_expired_call_never_runs():
    table = Table()
    table.call(1)
    table.session.result(1, "a", b"7")
    table.read()
    table.ack()
    assert ("pruned", [1], 1) in table.desk.log
    table.call(1)
    (result,) = table.read()
    assert (result.error.kind, result.error.code) == ("outcome_unknown", "expired")
    assert table.runs == [1]


@pytest.mark.rule("PE4")
def test_pruned_to_stops_at_what_still_runs():
    table = Table()
    table.call(1, 2, 3)
    for call_id in (1, 3):
        table.session.result(call_id, "a", b"0")
    table.read()
    table.ack()
    assert table.desk.log[-1] == ("pruned", [1, 3], 1)
    table.session.result(2, "a", b"0")
    table.read()
    table.ack()
    assert table.desk.log[-1] == ("pruned", [2], 3)
    assert table.session.kept_calls() == []


@pytest.mark.rule("PE4")
def test_results_survive_a_restart_of_the_host():
    table = Table(attached=False)
    table.session.restore(
        {3: StoredResult("a", b"3"), 5: StoredResult("b", b"5"), 1: StoredResult("", b"1")}, 2
    )
    assert not table.session.attach(RecordingCarrier(), "old.9")
    table.call(4, 5)  # 3 had arrived; 4 was lost with the host, and runs
    assert table.codes() == [(5, "5")]
    assert table.runs == [4]
    assert ("pruned", [3], 2) in table.desk.log or ("pruned", [3], 3) in table.desk.log
    table.call(3, 1, 6)
    assert table.codes() == [(3, "expired"), (1, "expired")]
    assert table.runs == [4, 6]


@pytest.mark.rule("PE4")
def test_pruned_to_does_not_pass_a_call_that_is_still_to_be_repeated():
    """Found by the machine: a result above it was acknowledged first."""
    table = Table(attached=False)
    table.session.restore({2: StoredResult("a", b"2")}, 0)
    table.session.attach(RecordingCarrier(), "old.1")
    table.call(1, 2)
    table.read()
    table.ack()
    assert table.desk.log[-1] == ("pruned", [2], 0)


@pytest.mark.rule("PE4", "PE5")
def test_calls_that_are_not_acknowledged_are_bounded():
    table = Table(max_calls=2)
    table.call(1, 2, 3)
    assert table.codes() == [(3, "too_many_calls")]
    table.call(3)
    assert table.read() == []  # it is on its way
    for call_id in (1, 2):
        table.session.result(call_id, "", b"0")
    table.read()
    table.ack()
    table.call(4)
    assert table.runs == [1, 2, 4]
    with pytest.raises(RemoteProtocolError, match="without end") as caught:
        table.call(*range(5, 50))
    assert caught.value.code == "flood"


@pytest.mark.rule("PE5")
def test_results_that_are_not_acknowledged_are_bounded_in_bytes():
    table = Table(backlog_bytes=1000)
    table.call(1)
    table.session.result(1, "", b" " * 2000 + b"1")
    table.call(2)
    assert [code for _, code in table.codes()][
        -1
    ] != "too_many_calls"  # one large result goes alone
    table.ack()
    table.call(3)
    assert table.runs == [1, 3]


def test_a_result_without_a_running_call_is_our_mistake():
    table = Table()
    with pytest.raises(LocalProtocolError, match="no running call 1"):
        table.session.result(1, "", b"0")
    table.call(1)
    table.session.result(1, "", b"0")
    with pytest.raises(LocalProtocolError, match="no running call 1"):
        table.session.result(1, "", b"0")


@pytest.mark.rule("PE4", "PE5")
def test_after_a_lag_calls_are_repeated_and_what_had_arrived_is_let_go():
    table = Table(backlog_items=3)
    table.call(1, 2, 3)
    table.session.result(1, "", b"1")
    table.read()
    table.session.result(2, "", b"2")
    for _ in range(4):
        table.session.mind_call(0, "f", b"[]", b"{}")
    table.call(3)
    lagged, gap, *rest = table.read()
    assert isinstance(lagged, wire.Lagged)
    assert (gap.id, gap.reason) == (0, "lag")
    table.call(2)
    table.session.receive(wire.Ack("e1.1"))  # of the numbering before: it crossed
    assert sorted(table.session.kept_calls()) == [1, 2, 3]
    table.ack()
    assert ("pruned", [1], 1) in table.desk.log
    assert [m.id for m in (*rest, *table.read()) if isinstance(m, wire.Result)] == [2]
    assert table.runs == [1, 2, 3]


@pytest.mark.rule("PE6")
def test_a_resumed_session_goes_on_where_the_client_stood():
    table = Table()
    for number in range(3):
        table.session.mind_call(0, f"f{number}", b"[]", b"{}")
    table.read()
    table.session.detach(table.carrier)
    assert table.session.state is SessionState.DETACHED
    assert table.session.attach(RecordingCarrier(), "e1.1")
    assert table.session.cursor == "e1.1"
    assert [(m.n, m.method) for m in table.read()] == [(2, "f1"), (3, "f2")]


@pytest.mark.rule("PE6")
def test_a_client_that_can_not_be_resumed_opens_again_and_sees_a_gap():
    table = Table(mind=True)
    table.session.receive(wire.Watch(1, "recent"))
    table.session.mind_call(5, "f", b"[]", b"{}")
    assert not table.session.attach(RecordingCarrier(), "e0.7")
    assert ("unwatch", 1) in table.desk.log
    assert table.desk.log[-1][:2] == ("reply", 5)
    assert table.session.cursor == "e2.0"
    (gap,) = table.read()
    assert (gap.id, gap.reason) == (0, "lag")


@pytest.mark.rule("PE6")
def test_after_a_restart_the_mind_shows_a_gap():
    table = Table(attached=False, mind=True)
    table.session.restore({}, 0)
    assert not table.session.attach(table.carrier, "e0.7")
    assert [(m.id, m.reason) for m in table.read()] == [(0, "restart")]


def test_what_is_sent_before_the_first_carrier_waits_for_it():
    table = Table(attached=False, mind=True)
    table.session.mind_call(0, "hello", b"[]", b"{}")
    assert not table.session.attach(table.carrier)
    assert [m.method for m in table.read()] == ["hello"]


@pytest.mark.rule("PE6")
def test_a_second_carrier_replaces_the_first():
    table = Table()
    second = RecordingCarrier()
    table.session.attach(second, table.session.cursor)
    assert table.carrier.closed.reason == "replaced"
    table.session.detach(table.carrier)
    assert table.session.is_attached


def test_a_carrier_is_woken_once_until_it_has_taken_all():
    table = Table()
    for _ in range(3):
        table.session.mind_call(0, "f", b"[]", b"{}")
    assert table.carrier.wakes == 1
    assert len(table.session.take(1)) == 1
    assert table.session.has_more
    table.session.mind_call(0, "f", b"[]", b"{}")
    assert table.carrier.wakes == 1  # it takes until there is no more
    assert len(table.read()) == 3
    assert not table.session.has_more
    table.session.mind_call(0, "f", b"[]", b"{}")
    assert table.carrier.wakes == 2


def answers(table):
    return [
        (m.id, m.tid, "patch" if isinstance(m.value, UnsetType) else bytes(m.value).decode())
        for m in table.read()
        if isinstance(m, wire.Answer)
    ]


def answer(session: Session, watch_id: int, *new: Any) -> None:
    session.answer(NewAnswer(watch_id, session.form, *new))


@pytest.mark.rule("LV2")
def test_a_patch_is_used_only_on_the_answer_that_it_builds_on():
    table = Table()
    session = table.session
    session.receive(wire.Watch(1, "recent"))
    answer(session, 1, "a", b"[1]", b"[]", "")
    answer(session, 1, "b", b"[1,2]", b"[]", "a")  # coalesced: whole
    assert answers(table) == [(1, "b", "[1,2]")]
    answer(session, 1, "c", b"[1,2,3]", b"[]", "b")
    assert answers(table) == [(1, "c", "patch")]
    answer(session, 1, "e", b"[5]", b"[]", "d")
    assert answers(table) == [(1, "e", "[5]")]


@pytest.mark.rule("LV2")
def test_who_missed_the_answer_before_gets_the_same_one_whole():
    tables = [Table(), Table(), Table()]
    for table in tables:
        table.session.receive(wire.Watch(1, "recent"))
    for table in tables[:2]:
        answer(table.session, 1, "a", b"[1]")
        table.read()
    new = NewAnswer(1, "json", "b", b"[1,2]", b"[]", "a")
    for table in tables:
        table.session.answer(new)
    assert [answers(table) for table in tables] == [
        [(1, "b", "patch")],
        [(1, "b", "patch")],
        [(1, "b", "[1,2]")],
    ]


@pytest.mark.rule("LV3")
def test_where_only_a_patch_is_at_hand_and_does_not_fit_the_desk_is_asked_once():
    table = Table()
    session = table.session
    session.receive(wire.Watch(1, "strokes"))
    answer(session, 1, "a", b"{}")
    answer(session, 1, "b", None, b"[]", "a")
    answer(session, 1, "c", None, b"[]", "b")
    assert table.desk.log.count(("refresh", 1)) == 1
    answer(session, 1, "c", b'{"x":1}')
    answer(session, 1, "d", None, b"[]", "c")
    assert table.desk.log.count(("refresh", 1)) == 2
    assert answers(table) == [(1, "c", '{"x":1}')]
    answer(session, 1, "d", b"{}")
    answers(table)
    answer(session, 1, "e", None, b"[]", "d")
    assert answers(table) == [(1, "e", "patch")]


@pytest.mark.rule("PE5")
def test_after_a_lag_watches_send_their_newest_answer_and_streams_a_gap():
    table = Table(backlog_items=3)
    session = table.session
    for watch_id in (1, 2, 3):
        session.receive(wire.Watch(watch_id, "w"))
    session.open_stream(2, 10, 1 << 20, "lag")
    answer(session, 1, "a", b"[1]")
    session.end(3, wire.Failure("not_allowed", "forbidden"))
    for number in range(6):
        session.item(2, b"%d" % number)
    kinds = []
    while messages := table.read():
        kinds += [(type(m).__name__, getattr(m, "id", None)) for m in messages]
        table.ack()
    assert kinds[0] == ("Lagged", None)
    assert {("Answer", 1), ("Gap", 2), ("End", 3)} <= set(kinds)


@pytest.mark.rule("PE5")
def test_a_stream_that_ended_before_a_lag_does_not_hide_what_it_lost():
    table = Table(backlog_items=3)
    session = table.session
    session.receive(wire.Watch(1, "s"))
    session.open_stream(1, 10, 1 << 20, "lag")
    session.item(1, b"1")
    session.end(1)
    for _ in range(3):
        session.mind_call(0, "f", b"[]", b"{}")
    kinds = []
    while messages := table.read():
        kinds += [(type(m).__name__, getattr(m, "id", None)) for m in messages]
        table.ack()
    assert kinds.index(("Gap", 1)) < kinds.index(("End", 1))


@pytest.mark.rule("PE5")
def test_a_stream_says_when_its_source_should_stop():
    table = Table()
    table.session.receive(wire.Watch(1, "lines"))
    table.session.open_stream(1, 2, 1 << 20, "disconnect")
    assert [table.session.item(1, b"1") for _ in range(4)] == [True, True, False, False]
    (end,) = table.read()
    assert end.error.code == "too_slow"
    table.ack()
    assert table.session.open_watches() == []


@pytest.mark.rule("PE5")
def test_watches_are_bounded():
    table = Table(max_watches=1)
    table.session.receive(wire.Watch(1, "w"))
    table.session.receive(wire.Watch(2, "w"))
    assert table.codes() == [(2, "too_many_watches")]
    with pytest.raises(RemoteProtocolError, match="without end"):
        for watch_id in range(3, 20):
            table.session.receive(wire.Watch(watch_id, "w"))


def test_a_watch_that_comes_again_is_the_same_one():
    table = Table()
    table.session.receive(wire.Watch(1, "w"))
    table.session.receive(wire.Watch(1, "w"))
    assert table.desk.log == [("watch", 1)]
    with pytest.raises(RemoteProtocolError, match="watch 1 is open, on w"):
        table.session.receive(wire.Watch(1, "other"))


def test_with_a_failure_a_waiting_answer_is_not_sent_any_more():
    table = Table()
    table.session.receive(wire.Watch(1, "w"))
    answer(table.session, 1, "a", b"1")
    table.session.end(1, wire.Failure("not_allowed", "forbidden"))
    answer(table.session, 1, "b", b"2")
    assert [type(m).__name__ for m in table.read()] == ["End"]


def test_an_unwatch_ends_it_at_the_desk():
    table = Table()
    table.session.receive(wire.Watch(1, "w"))
    answer(table.session, 1, "a", b"1")
    table.session.receive(wire.Unwatch(1))
    table.session.receive(wire.Unwatch(1))
    assert table.desk.log == [("watch", 1), ("unwatch", 1)]
    assert table.read() == []


def test_the_mind_is_asked_and_answers():
    table = Table(max_mind_calls=1)
    session = table.session
    session.mind_call(1, "f", b"[]", b"{}")
    with pytest.raises(LimitError, match="wait for an answer") as caught:
        session.mind_call(2, "f", b"[]", b"{}")
    assert caught.value.code == "too_many_mind_calls"
    session.receive(wire.Reply(1, Raw(b"7")))
    session.receive(wire.Reply(1, Raw(b"7")))
    assert table.desk.log == [("reply", 1, Raw(b"7"), None)]
    with pytest.raises(LocalProtocolError, match="mind call 1 after 1"):
        session.mind_call(1, "f", b"[]", b"{}")


@pytest.mark.parametrize(
    "message",
    [wire.Hello(), wire.Call(0, "f"), wire.Call(1 << 53, "f"), wire.Watch(-1, "f"), wire.Ack("nonsense"), wire.Ack("e1.5"), wire.Cancel(0), wire.Reply(0)],
)  # fmt: skip
def test_an_illegal_message_raises_and_changes_nothing(message):
    table = Table()
    with pytest.raises(RemoteProtocolError):
        table.session.receive(message)
    assert table.desk.log == []
    table.call(1)
    assert table.runs == [1]


def test_cancel_ping_and_bye():
    table = Table()
    table.call(1)
    table.session.receive(wire.Cancel(1))
    table.session.receive(wire.Cancel(2))
    table.session.receive(wire.Ping(4))
    table.session.receive(wire.Bye())
    assert table.desk.log == [("call", 1), ("cancel", 1), ("bye",)]
    assert table.read() == [wire.Pong(4)]


def test_the_clock_of_a_session():
    table = Table(heartbeat_s=10, grace_s=60)
    session = table.session
    session.heard(100)
    assert session.due(124) is Due.NOTHING
    assert session.due(126) is Due.SILENT
    session.detach(table.carrier)
    assert session.due(130) is Due.NOTHING
    assert session.due(189) is Due.NOTHING
    assert session.due(190) is Due.EXPIRED


def test_a_session_that_has_ended_is_closed_to_all():
    table = Table()
    session = table.session
    session.receive(wire.Watch(1, "w"))
    session.mind_call(1, "f", b"[]", b"{}")
    session.close()
    session.close()
    assert table.carrier.closed.reason == "ended"
    assert table.desk.log[-1][:2] == ("reply", 1)
    answer(session, 1, "a", b"1")
    session.gap(0, "lag")
    session.mind_call(2, "f", b"[]", b"{}")
    assert table.desk.log[-1][:2] == ("reply", 2)
    assert not session.item(1, b"1")
    for act in (lambda: session.attach(RecordingCarrier()), lambda: session.receive(wire.Ping())):
        with pytest.raises(ClosedError, match="has ended"):
            act()


def test_a_session_that_has_begun_is_not_restored():
    with pytest.raises(LocalProtocolError, match="has begun"):
        Table().session.restore({}, 0)
