"""The bounded queue of a session (PE5, PE6)."""

from __future__ import annotations

import itertools

import pytest
from msgspec import UNSET, Raw

from hubbub.kernel import LocalProtocolError, RemoteProtocolError
from hubbub.perspective.backlog import Backlog
from hubbub.perspective.offers import Offered
from hubbub.wire.session import (
    Answer,
    End,
    Failure,
    Gap,
    Item,
    Lagged,
    MindCall,
    Result,
    decode_to_client,
)

BIG = 1 << 20


def make(items=100, limit_bytes=100_000, form="json"):
    epochs = itertools.count(2)
    return Backlog(form, items, limit_bytes, "e1", lambda: f"e{next(epochs)}")


def taken(backlog, limit=BIG):
    return [decode_to_client(data, backlog.form) for data in backlog.take(limit)]


def item(number, stream_id=1):
    return Item(0, stream_id, Raw(b"%d" % number))


def shown(messages):
    return [bytes(m.value).decode() if isinstance(m, Item) else type(m).__name__ for m in messages]


def mind(number=0, size=2):
    return MindCall(0, number, "f", Raw(b" " * (size - 2) + b"[]"), Raw(b"{}"))


@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_numbers_are_given_when_a_transport_takes(form):
    backlog = make(form=form)
    value = b"1" if form == "json" else b"\x01"
    for call_id in (7, 8):
        assert backlog.offer(Result(0, call_id, value=Raw(value)), kept=True) is Offered.KEPT
    assert backlog.cursor == "e1.0"
    assert [(m.n, m.id) for m in taken(backlog, 1)] == [(1, 7)]
    assert [(m.n, m.id) for m in taken(backlog)] == [(2, 8)]
    assert taken(backlog) == []
    assert backlog.cursor == "e1.2"


@pytest.mark.rule("PE6")
def test_what_is_not_acknowledged_is_sent_again_after_a_rewind():
    backlog = make()
    for number in range(3):
        backlog.offer(mind(number))
    first = backlog.take(BIG)
    assert backlog.rewind(1)
    assert backlog.cursor == "e1.1"
    assert backlog.take(BIG) == first[1:]
    backlog.ack(2)
    assert not backlog.rewind(1)
    assert not backlog.rewind(4)
    assert backlog.rewind(2)
    backlog.ack(3)
    assert backlog.take(BIG) == []
    assert backlog.held == (0, 0)


def test_an_acknowledgement_of_what_was_never_sent_changes_nothing():
    backlog = make()
    backlog.offer(mind())
    with pytest.raises(RemoteProtocolError, match="0 is the newest"):
        backlog.ack(1)
    assert len(taken(backlog)) == 1


def test_acknowledging_tells_results_and_ends():
    backlog = make()
    backlog.offer(Result(0, 5, value=Raw(b"1")), kept=True)
    backlog.offer(End(0, 6), kept=True)
    assert backlog.has_result(5)
    taken(backlog)
    assert backlog.ack(2) == ([5], [6])
    assert not backlog.has_result(5)
    assert backlog.ack(1) == ([], [])


@pytest.mark.rule("PE5")
def test_a_slow_client_lags_instead_of_growing_the_queue():
    backlog = make(items=3)
    backlog.offer(mind(1))
    taken(backlog)
    backlog.offer(Result(0, 9, value=Raw(b"1")), kept=True)
    assert [backlog.offer(mind(n)) for n in (2, 3, 4)] == [
        Offered.KEPT,
        Offered.KEPT,
        Offered.LAGGED,
    ]
    assert backlog.dropped == ([], [1, 2, 3, 4], True)
    assert backlog.held == (0, 0)
    backlog.offer(Gap(0, 0, "lag"))
    lagged, gap = taken(backlog)
    assert lagged == Lagged("e2.0")
    assert (gap.n, gap.id) == (1, 0)


@pytest.mark.rule("PE5")
def test_bytes_are_bounded_too():
    backlog = make(limit_bytes=1000)
    assert backlog.offer(mind(1, 600)) is Offered.KEPT
    assert backlog.offer(mind(2, 600)) is Offered.LAGGED


def test_results_that_were_on_their_way_at_a_lag_are_told():
    backlog = make(items=2)
    backlog.offer(Result(0, 1, value=Raw(b"1")), kept=True)
    taken(backlog)
    backlog.rewind(0)  # to a new carrier, which has not taken it yet
    for _ in range(3):
        backlog.offer(mind())
    assert backlog.dropped.results == []
    backlog = make(items=2)
    backlog.offer(Result(0, 1, value=Raw(b"1")), kept=True)
    taken(backlog)
    for _ in range(3):
        backlog.offer(mind())
    assert backlog.dropped.results == [1]


@pytest.mark.rule("PE5")
def test_what_is_kept_elsewhere_waits_for_acknowledgements_and_never_lags():
    backlog = make(items=4, limit_bytes=4000)
    for call_id in range(1, 20):
        assert backlog.offer(Result(0, call_id, value=Raw(b"1")), kept=True) is Offered.KEPT
    seen = []
    while messages := taken(backlog):
        assert len(messages) <= 2
        seen += [m.id for m in messages]
        assert not backlog.pending
        backlog.ack(messages[-1].n)
    assert seen == list(range(1, 20))


def test_a_delivery_larger_than_all_bounds_travels_alone():
    backlog = make(limit_bytes=1000)
    backlog.offer(Answer(0, 1, "a", value=Raw(b'"' + b"x" * 5000 + b'"')), kept=True)
    backlog.offer(Answer(0, 2, "a", value=Raw(b"1")), kept=True)
    assert [m.id for m in taken(backlog, 10)] == [1]
    assert taken(backlog) == []
    backlog.ack(1)
    assert [m.id for m in taken(backlog)] == [2]


def test_a_waiting_answer_is_replaced_where_it_stands():
    backlog = make()
    backlog.offer(Answer(0, 1, "a", value=Raw(b"1")), kept=True)
    backlog.offer(Answer(0, 2, "a", value=Raw(b"2")), kept=True)
    assert backlog.has_answer(1)
    backlog.offer(Answer(0, 1, "b", value=Raw(b"3")), kept=True)
    assert [(m.id, m.tid, bytes(m.value)) for m in taken(backlog)] == [
        (1, "b", b"3"),
        (2, "a", b"2"),
    ]
    assert not backlog.has_answer(1)
    backlog.offer(Answer(0, 1, "c", patch=Raw(b"[]")), kept=True)
    assert taken(backlog)[0].value is UNSET


def fill(when_full, count=6, sent=0):
    backlog = make()
    backlog.open_stream(1, 3, BIG, when_full)
    for number in range(sent):
        backlog.offer(item(number))
    taken(backlog)
    return backlog, [backlog.offer(item(number)) for number in range(sent, count)]


@pytest.mark.rule("PE5")
def test_a_stream_that_is_too_slow_is_ended_and_told():
    backlog, outcomes = fill("disconnect", 5)
    assert outcomes == [*[Offered.KEPT] * 3, Offered.ENDED, Offered.IGNORED]
    (end,) = taken(backlog)
    assert end.error == Failure("limit", "too_slow", "this stream was not read fast enough")


@pytest.mark.rule("PE5")
def test_a_stream_that_lags_shows_one_gap():
    backlog, outcomes = fill("lag")
    assert set(outcomes) == {Offered.KEPT}
    assert shown(taken(backlog)) == ["Gap", "3", "4", "5"]
    backlog, _ = fill("lag", 9, sent=3)
    assert shown(taken(backlog)) == ["Gap"]
    backlog.ack(4)
    backlog.offer(item(9))
    assert shown(taken(backlog)) == ["9"]


@pytest.mark.rule("PE5")
def test_a_stream_of_the_latest_keeps_the_newest_item():
    backlog, _ = fill("latest", 4)
    assert shown(taken(backlog)) == ["Gap", "3"]
    backlog, _ = fill("latest", 9, sent=3)
    assert shown(taken(backlog)) == ["Gap", "8"]


def test_a_streams_bytes_are_bounded_too():
    backlog = make()
    backlog.open_stream(1, 100, 150, "disconnect")
    assert backlog.offer(item(1)) is Offered.KEPT
    assert backlog.offer(item(2)) is Offered.KEPT
    assert backlog.offer(item(3)) is Offered.ENDED


def test_the_gap_stands_in_the_place_of_what_was_lost():
    backlog = make()
    backlog.open_stream(1, 2, BIG, "lag")
    backlog.offer(item(1))
    backlog.offer(mind())
    backlog.offer(item(2))
    backlog.offer(item(3))
    assert shown(taken(backlog)) == ["Gap", "MindCall", "3"]


def test_gaps_do_not_pile_up():
    backlog = make()
    backlog.open_stream(1, 2, BIG, "lag")
    backlog.offer(item(1))
    for _ in range(50):
        backlog.offer(Gap(0, 1, "lag"))
        backlog.offer(Gap(0, 0, "lag"))
    assert shown(taken(backlog)) == ["1", "Gap", "Gap"]


def test_what_a_user_left_is_forgotten():
    backlog = make()
    backlog.open_stream(1, 2, BIG, "lag")
    for number in range(3):
        backlog.offer(item(number))
    backlog.offer(Answer(0, 2, "a", value=Raw(b"1")), kept=True)
    backlog.forget(1)
    backlog.forget(2)
    assert taken(backlog) == []
    assert backlog.held == (0, 0)
    assert backlog.offer(item(9)) is Offered.IGNORED


def test_a_stream_opens_once():
    backlog = make()
    backlog.open_stream(1, 2, BIG, "lag")
    for stream_id in (0, 1):
        with pytest.raises(LocalProtocolError, match=f"stream {stream_id}"):
            backlog.open_stream(stream_id, 2, BIG, "lag")


def test_what_was_sent_of_a_stream_before_does_not_count_for_the_next_one_of_its_number():
    backlog = make()
    backlog.open_stream(1, 3, BIG, "disconnect")
    for number in range(3):
        backlog.offer(item(number))
    assert len(taken(backlog)) == 3
    backlog.forget(1)
    backlog.open_stream(1, 2, BIG, "disconnect")
    backlog.offer(item(3))
    assert len(taken(backlog)) == 1
    backlog.ack(4)  # three of the old one and one of the new
    assert [backlog.offer(item(number)) for number in (4, 5, 6)] == [
        Offered.KEPT,
        Offered.KEPT,
        Offered.ENDED,
    ]


def test_a_new_epoch_begins_with_nothing():
    backlog = make()
    backlog.open_stream(1, 2, BIG, "lag")
    backlog.offer(mind(4))
    assert backlog.reset() == ([], [4], True)
    assert (backlog.epoch, taken(backlog)) == ("e2", [])
    assert backlog.offer(item(1)) is Offered.IGNORED
