"""Classes that merge themselves."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.kernel import ConflictError, Record
from hubbub.space.classes import find_class
from hubbub.space.containers import (
    List,
    NotPlainError,
    merge_attributes,
    merge_plain_records,
    merge_records,
)
from hubbub.space.persistent import Persistent
from hubbub.space.weak import WeakRef
from tests.unit.space.small_space import Conflict, SmallSpace


class Summed(Persistent, name="tests.merge.Summed"):
    """Merges by a class method, which knows the class."""

    unit = 1

    def __init__(self) -> None:
        self.value = 0
        self.other: Any = None

    @classmethod
    def merge(cls, old: Any, committed: Any, new: Any) -> Any:
        value = committed["value"] + new["value"] - old["value"]
        return {**committed, "value": value * cls.unit}


class Doubled(Summed, name="tests.merge.Doubled"):
    unit = 2


class FromZodb(Persistent, name="tests.merge.FromZodb"):
    value = 0

    def _p_resolveConflict(self, old: Any, saved: Any, new: Any) -> Any:  # noqa: N802
        assert type(self) is FromZodb
        return {**saved, "value": saved["value"] + new["value"] - old.get("value", 0)}


class Card(Persistent, name="tests.merge.Card"):
    merge = merge_attributes

    def __init__(self) -> None:
        self.front: Any = ""
        self.back: Any = ""
        self.tags: Any = [1]


class Other(Persistent, name="tests.merge.Other"):
    """What others refer to."""

    def __init__(self, name: str = "") -> None:
        self.name = name


def two_writers(cls: Any, first: Any, second: Any, prepare: Any = lambda obj, root: None) -> Any:
    """Let two transactions change one object at a time, and return it as it is stored then."""
    space = SmallSpace()

    def put(root: Any) -> None:
        root["other"] = Other("x")
        root["obj"] = obj = cls()
        prepare(obj, root)

    space.do(put)
    one, two = space.connect(), space.connect()
    one.run(lambda root: first(root["obj"], root))
    two.run(lambda root: second(root["obj"], root))
    one.commit()
    two.commit()
    return space.connect().root["obj"]


def add(number: int) -> Any:
    def change(obj: Any, root: Any) -> None:
        obj.value += number

    return change


def put(**attributes: Any) -> Any:
    def change(obj: Any, root: Any) -> None:
        for name, value in attributes.items():
            setattr(obj, name, value(root) if callable(value) else value)

    return change


@pytest.mark.rule("ST4", "SP9")
@pytest.mark.parametrize("cls, wanted", [(Summed, 5), (Doubled, 10), (FromZodb, 5)])
def test_a_class_merges_by_its_own_method(cls: Any, wanted: int) -> None:
    assert two_writers(cls, add(2), add(3)).value == wanted


@pytest.mark.rule("ST4", "SP9")
def test_references_can_be_moved_by_a_merge() -> None:
    found = two_writers(Summed, put(other=lambda root: root["other"]), add(3))
    assert (found.value, found.other.name) == (3, "x")


def merging(how: Any) -> Any:
    """Return a class that merges by ``how``."""

    class Made(Persistent, name="tests.merge.Made"):
        value = 0
        other = None
        merge = staticmethod(how)

    return Made


@pytest.mark.rule("ST4", "SP9")
@pytest.mark.parametrize(
    "how, text",
    [
        (lambda old, committed, new: None, "could not merge the two changes"),
        (lambda old, committed, new: 1 // 0, "its merge raised ZeroDivisionError: "),
        (lambda old, committed, new: old["nothing"], "its merge raised KeyError: 'nothing'"),
        (lambda old, committed, new: [1], "returned a list instead of a dict of attributes"),
        (lambda old, committed, new: {1: 1}, "returned a dict instead of a dict of attributes"),
        (lambda old, committed, new: {"x": object()}, "its merge returned what can't be stored"),
        (lambda old, committed, new: {"x": Other()}, "a merge can only move those that were there"),
        (lambda old, committed, new: new["other"].name, "its merge raised AttributeError"),
        (lambda one: None, "its merge raised TypeError"),
    ],
)
def test_what_goes_wrong_in_a_merge_is_a_conflict_that_says_so(how: Any, text: str) -> None:
    with pytest.raises(Conflict) as caught:
        two_writers(merging(how), add(1), put(other=lambda root: root["other"]))
    assert text in str(caught.value)


def test_a_method_that_is_neither_static_nor_of_the_class_is_not_called() -> None:
    class Odd(Persistent, name="tests.merge.Odd"):
        value = 0

        def merge(self, other: Any, third: Any) -> Any:
            raise AssertionError(other, third)

    with pytest.raises(Conflict, match="its merge is neither a static nor a class method"):
        two_writers(Odd, add(1), add(2))


def test_a_class_without_a_merge_conflicts() -> None:
    with pytest.raises(Conflict, match="objects of its class can't be merged"):
        two_writers(Other, put(name="a"), put(name="b"))


@pytest.mark.rule("SP3")
def test_an_unknown_class_is_not_looked_for() -> None:
    record = Record(5, 1, "json.tool:Tool", (), b"\x80")
    assert merge_records(record, record, record) == "its class is not known here"
    assert find_class("json.tool:Tool") is None


def test_no_code_of_the_applications_runs_where_it_may_not() -> None:
    for name in ("tests.merge.Summed", "tests.merge.FromZodb", "tests.merge.Card"):
        record = Record(5, 1, name, (), b"\x80")
        with pytest.raises(NotPlainError):
            merge_plain_records(record, record, record)


@pytest.mark.rule("ST4", "SP9")
def test_attributes_merge_one_by_one() -> None:
    found = two_writers(Card, put(front="a"), put(back="b", new=(1, [2])))
    assert (found.front, found.back, found.new) == ("a", "b", (1, [2]))
    found = two_writers(Card, put(front="same"), put(front="same"))
    assert found.front == "same"
    found = two_writers(Card, lambda obj, root: delattr(obj, "front"), put(back="b"))
    assert (found.back, vars(found).keys()) == ("b", {"back", "tags"})
    found = two_writers(Card, put(back="b"), lambda obj, root: delattr(obj, "front"))
    assert (found.back, vars(found).keys()) == ("b", {"back", "tags"})
    found = two_writers(Card, put(front="a"), lambda obj, root: obj.tags.append(2))
    assert (found.front, found.tags) == ("a", [1, 2])


@pytest.mark.rule("ST4", "SP9")
@pytest.mark.parametrize(
    "first, second",
    [
        (put(front="a"), put(front="b")),
        (put(front=1), put(front=True)),
        (put(front="a"), lambda obj, root: delattr(obj, "front")),
        (put(front=lambda root: root["other"]), put(front="b")),
        (put(new=1), put(new=2)),
    ],
)
def test_an_attribute_that_both_have_changed_is_a_conflict(first: Any, second: Any) -> None:
    with pytest.raises(Conflict, match=r"ValueError: both changed '(front|new)'"):
        two_writers(Card, first, second)


def test_attributes_that_refer_to_objects_merge() -> None:
    found = two_writers(
        Card,
        put(front=lambda root: WeakRef(root["other"])),
        put(back=lambda root: root["other"]),
        prepare=lambda obj, root: obj.tags.append(root["other"]),
    )
    assert found.front() is found.back is found.tags[1]


def test_a_list_with_a_merge_of_its_own_does_not_merge_by_attributes() -> None:
    class Ordered(List[int], name="tests.merge.Ordered"):
        merge = merge_attributes

    with pytest.raises(Conflict, match="a record could not be read"):
        two_writers(Ordered, lambda obj, root: obj.append(1), lambda obj, root: obj.append(2))


def test_the_reason_is_in_the_error() -> None:
    error = ConflictError(
        5, "tests.merge.Card", 1, 2, "its merge raised ValueError: both changed 'x'"
    )
    assert "both changed 'x'" in str(error)
