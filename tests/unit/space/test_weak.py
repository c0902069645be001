"""Weak references to persistent objects."""

from __future__ import annotations

import copy

import pytest

from hubbub.kernel import UnknownObjectError, UnstorableError
from hubbub.space.containers import List, Log, Map
from hubbub.space.persistent import Ephemeral, Persistent
from hubbub.space.presence import Entries
from hubbub.space.weak import WeakRef
from tests.unit.space.small_space import SmallSpace


class Line(Persistent, name="tests.weak.Line"):
    def __init__(self, text: str = "") -> None:
        self.text = text


class Proud(Persistent, name="tests.weak.Proud"):
    """Has a hash that needs its state."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Proud) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


@pytest.fixture
def space():
    space = SmallSpace()
    space.do(lambda root: root.update(line=Line("x")))
    return space


def oid_of(obj):
    return int.from_bytes(obj._p_oid, "big")


def test_a_weak_reference_gives_its_object(space):
    space.do(lambda root: root.update(weak=WeakRef(root["line"]), deep=[(WeakRef(root["line"]),)]))
    root = space.connect().root
    assert root["weak"]() is root["line"]
    assert root["deep"][0][0]().text == "x"
    assert root["weak"] == root["deep"][0][0]
    assert hash(root["weak"]) == hash(root["deep"][0][0])
    assert root["weak"] != WeakRef(Line())
    assert root["weak"] != root["line"]


@pytest.mark.rule("ST7")
def test_its_oid_is_not_among_those_that_the_record_refers_to(space):
    space.do(lambda root: root.update(holder=Line()))
    space.do(lambda root: setattr(root["holder"], "text", WeakRef(root["line"])))
    root = space.connect().root
    assert space.newest(oid_of(root["holder"])).refs == ()


def test_of_an_object_that_is_gone_it_gives_none(space):
    space.do(lambda root: root.update(weak=WeakRef(root["line"])))
    space.do(lambda root: root.__delitem__("line"))
    client = space.connect()
    assert client.root["weak"]().text == "x"  # not packed yet
    del space.records[oid_of(client.root["weak"].target)]
    client = space.connect()
    weak = client.root["weak"]
    assert weak() is None
    with pytest.raises(UnknownObjectError):
        weak.target.text  # noqa: B018
    # Written back it is what it was.
    client.run(lambda root: root.update(again=[root["weak"]]))
    client.commit()
    assert space.connect().root["again"][0]() is None


def test_a_query_that_asks_for_it_depends_on_the_object(space):
    space.do(lambda root: root.update(weak=WeakRef(root["line"])))
    connection = space.connect().connection
    connection.track()
    assert connection.root["weak"]() is not None
    target = oid_of(connection.root["weak"].target)
    assert target in connection.end_track()


def test_a_new_object_that_is_only_referred_to_weakly_is_stored(space):
    space.do(lambda root: root.update(weak=WeakRef(Line("new"))))
    assert space.connect().root["weak"]().text == "new"


def test_weak_references_to_objects_with_a_hash_of_their_own_can_be_members(space):
    space.do(lambda root: root.update(weak={WeakRef(Proud("a")), WeakRef(Proud("b"))}))
    assert {weak().text for weak in space.connect().root["weak"]} == {"a", "b"}


def test_an_object_with_a_weak_reference_wakes_in_each_connection_with_its_own(space):
    space.do(lambda root: root.update(holder=Line()))
    space.do(lambda root: setattr(root["holder"], "text", WeakRef(root["line"])))
    for _ in range(3):  # the decoded state of a record is shared from the second time on
        root = space.connect().root
        assert root["holder"].text() is root["line"]


def test_a_log_keeps_weak_references(space):
    space.do(lambda root: root.update(log=Log()))
    space.do(lambda root: root["log"].append((WeakRef(root["line"]), 1)))
    space.do(lambda root: root["log"].extend([WeakRef(root["line"]), "x" * 2000]))
    root = space.connect().root
    assert [root["log"][0][0](), root["log"][1]()] == [root["line"], root["line"]]


def test_merges_keep_weak_references_weak(space):
    space.do(lambda root: root.update(map=Map(), log=Log()))
    one, two = space.connect(), space.connect()
    for client, key in ((one, "a"), (two, "b")):
        client.run(lambda root: root["map"].update({key: WeakRef(root["line"])}))  # noqa: B023
        client.run(lambda root: root["map"].update({key * 2: List()}))  # noqa: B023
        client.run(lambda root: root["log"].append(WeakRef(root["line"])))
        client.run(lambda root: root["log"].append(List()))
    one.commit()
    two.commit()
    root = space.connect().root
    line = oid_of(root["line"])
    assert space.merges == 2
    for name in ("map", "log"):
        record = space.newest(oid_of(root[name]))
        assert line not in record.refs
        assert record.refs
    assert root["map"]["a"]() is root["map"]["b"]() is root["log"][2]() is root["line"]


def test_a_durable_object_refers_to_no_ephemeral_one_weakly_either(space):
    with pytest.raises(UnstorableError, match="host's memory only"):
        space.do(lambda root: root.update(weak=WeakRef(Entries())))
    assert issubclass(Entries, Ephemeral)


def test_only_persistent_objects_have_weak_references():
    with pytest.raises(TypeError, match="a dict is no persistent object"):
        WeakRef({})


def test_it_is_no_key_of_a_map(space):
    with pytest.raises(UnstorableError, match="use its id or name"):
        space.do(lambda root: root.update(map=Map({WeakRef(root["line"]): 1})))


def test_it_copies_and_shows_itself():
    line = Line()
    weak = WeakRef(line)
    assert copy.copy(weak) is copy.deepcopy(weak) is weak
    assert repr(weak) == "<weak reference to Line new>"


def test_a_merge_of_a_users_class_keeps_it(space):
    class Pair(Persistent, name="tests.weak.Pair"):
        a = b = None

        @staticmethod
        def merge(old, committed, new):
            return {**committed, "b": new.get("b")}

    space.do(lambda root: root.update(pair=Pair()))
    one, two = space.connect(), space.connect()
    one.run(lambda root: setattr(root["pair"], "a", WeakRef(root["line"])))
    two.run(lambda root: setattr(root["pair"], "b", WeakRef(root["line"])))
    one.commit()
    two.commit()
    root = space.connect().root
    assert root["pair"].a() is root["pair"].b() is root["line"]
    assert space.newest(oid_of(root["pair"])).refs == ()
