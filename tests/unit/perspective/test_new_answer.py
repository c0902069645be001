"""A new answer is put together once, however many sessions get it."""

from __future__ import annotations

import msgspec
import pytest

from hubbub.perspective.live_query import Update
from hubbub.perspective.new_answer import NewAnswer
from hubbub.wire import session as wire
from hubbub.wire.deliveries import Encoded, whole


def message(entry: Encoded | None, form: str) -> wire.ToClient:
    assert entry is not None
    return wire.decode_to_client(whole(entry, 7, form), form)


@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_it_is_the_answer_whole_and_as_a_patch(form: str) -> None:
    encode = msgspec.json.encode if form == "json" else msgspec.msgpack.encode
    new = NewAnswer(3, form, "b", encode([1, 2]), encode([["s", 1, 0, [2]]]), "a")
    assert (new.watch_id, new.tid, new.base_tid) == (3, "b", "a")
    patch, answer = message(new.patch, form), message(new.whole(), form)
    assert patch == wire.Answer(7, 3, "b", patch=msgspec.Raw(encode([["s", 1, 0, [2]]])))
    assert answer == wire.Answer(7, 3, "b", value=msgspec.Raw(encode([1, 2])))
    assert new.whole() is new.whole()


def test_a_patch_of_nothing_is_none() -> None:
    assert NewAnswer(1, "json", "a", b"1", b"[]", "").patch is None
    assert NewAnswer(1, "json", "a", None, b"[]", "z").whole() is None


@pytest.mark.rule("LV2")
def test_an_update_is_told_in_each_form_and_under_each_number() -> None:
    update = Update((("s1", 1), ("s2", 5), ("s3", 1)), "b")
    update.value = {"json": b"[1,2]", "msgpack": b"\x92\x01\x02"}
    update.patch = {"json": b"[]"}
    update.base_tid = "a"
    one, other = update.told_as(1, "json"), update.told_as(5, "msgpack")
    assert (one.watch_id, one.value, one.patch is None) == (1, b"[1,2]", False)
    assert (other.watch_id, other.value, other.patch) == (5, b"\x92\x01\x02", None)
