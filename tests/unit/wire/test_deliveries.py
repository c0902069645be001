"""Deliveries that are encoded before they have a number."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from hubbub.wire import session as wire
from hubbub.wire.deliveries import OVERHEAD_BYTES, Run, encoded, encoded_result, numbered

ids = st.integers(0, (1 << 53) - 1)
texts = st.text(max_size=20)
failures = st.none() | st.builds(wire.Failure, texts, texts, texts, texts)


def raws(form: str) -> st.SearchStrategy[Raw]:
    encode = msgspec.json.encode if form == "json" else msgspec.msgpack.encode
    return st.builds(lambda value: Raw(encode(value)), texts | st.lists(st.integers(0, 300)))


def deliveries(form: str) -> st.SearchStrategy[Any]:
    raw = raws(form)
    maybe = raw | st.just(UNSET)
    zero = st.just(0)
    return st.one_of(
        st.builds(wire.Result, zero, ids, texts, maybe, failures),
        st.builds(wire.Answer, zero, ids, texts, maybe, maybe),
        st.builds(wire.Item, zero, ids, raw),
        st.builds(wire.Gap, zero, ids, texts),
        st.builds(wire.End, zero, ids, failures),
        st.builds(wire.MindCall, zero, ids, texts, raw, raw),
    )


@pytest.mark.parametrize("form", ["json", "msgpack"])
@given(data=st.data())
def test_what_is_numbered_later_is_what_would_have_been_encoded(form: str, data: Any) -> None:
    several = data.draw(st.lists(deliveries(form), max_size=4))
    first = data.draw(st.sampled_from([1, 120, 127, 255, 65_535, (1 << 32) - 1]))
    entries = [encoded(delivery, form) for delivery in several]
    expected = []
    for n, delivery in enumerate(several, first):
        delivery.n = n
        expected.append(wire.encode(delivery, form))
    assert numbered(entries, first, form) == expected
    assert [entry.id for entry in entries] == [delivery.id for delivery in several]


@pytest.mark.parametrize("form", ["json", "msgpack"])
@given(data=st.data())
def test_a_result_is_encoded_as_any_delivery(form: str, data: Any) -> None:
    value = data.draw(st.none() | raws(form).map(bytes))
    call_id, tid, failure = data.draw(ids), data.draw(texts), data.draw(failures)
    found = encoded_result(call_id, tid, value, failure, form)
    raw = UNSET if value is None else Raw(value)
    expected = encoded(wire.Result(0, call_id, tid, raw, failure), form, kept=True)
    for name in type(found).__slots__:
        assert getattr(found, name) == getattr(expected, name)


def test_a_delivery_costs_its_values_and_something_more() -> None:
    answer = encoded(wire.Answer(0, 1, "a", value=Raw(b"[1]"), patch=Raw(b"[]")), "json", kept=True)
    assert (answer.cost, answer.counts) == (OVERHEAD_BYTES + 5, False)
    mind = encoded(wire.MindCall(0, 1, "f", Raw(b"[]"), Raw(b"{}")), "json")
    assert (mind.cost, mind.counts) == (OVERHEAD_BYTES + 5, True)
    assert encoded(wire.Gap(0, 1, "lag"), "json").cost == OVERHEAD_BYTES


def test_a_run_knows_whether_something_is_missing() -> None:
    item = encoded(wire.Item(0, 1, Raw(b"1")), "json")
    gap = encoded(wire.Gap(0, 1, "unsendable"), "json")
    run = Run([item, item])
    assert (run.cost, run.is_whole) == (2 * item.cost, True)
    assert not Run([item, gap]).is_whole


@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_what_many_get_with_the_same_number_is_the_same_object(form: str) -> None:
    shared = encoded(wire.Item(0, 1, Raw(b"1")), form)
    other = encoded(wire.Item(0, 1, Raw(b"2")), form)
    (first,) = numbered([shared], 7, form)
    (second,) = numbered([shared], 7, form)
    assert first is second
    (eighth,) = numbered([shared], 8, form)
    assert wire.decode_to_client(eighth, form) == wire.Item(8, 1, Raw(b"1"))
    (third,) = numbered([other], 8, form)
    assert wire.decode_to_client(third, form) == wire.Item(8, 1, Raw(b"2"))
