"""A whole space is checked: what would not load, how often, and where the first one is."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from hubbub.kernel import CorruptRecordError, Job, JobStoppedError, UnknownObjectError
from hubbub.mount import LocalMount, Space
from hubbub.mount.checking import Checked
from hubbub.space import classes
from hubbub.space.containers import Collection, List, Log, Map, SortedMap
from hubbub.space.indexed import Indexed
from hubbub.space.persistent import Persistent
from hubbub.space.registering import register
from hubbub.space.steps import upgrade
from hubbub.store import MemoryStore

State = dict[str, Any]


@pytest.fixture(autouse=True)
def _own_names() -> Iterator[None]:
    registered, persistent = classes._registered.copy(), classes._persistent.copy()
    yield
    for names, kept in ((classes._registered, registered), (classes._persistent, persistent)):
        names.clear()
        names.update(kept)  # type: ignore[arg-type]


def forget(*names: str) -> None:
    for name in names:
        classes._registered.pop(name)
        classes._persistent.pop(name, None)


@pytest.fixture
def mount() -> Iterator[LocalMount]:
    mount = LocalMount(MemoryStore())
    yield mount
    mount.close()


@pytest.fixture
def space(mount: LocalMount) -> Space:
    return Space(mount)


def found(checked: Checked) -> list[tuple[Any, ...]]:
    return [(*finding.misfit, finding.objects, finding.path) for finding in checked.findings]


def fill(space: Space) -> None:
    """Store what `Room`, `Post`, `Line` and `Mood` are at first."""

    class Room(Persistent, name="check.Room"):
        def __init__(self, name: str) -> None:
            self.name = name
            self.posts: Map[str, Any] = Map()
            self.log: Any = Log()

    class Post(Persistent, name="check.Post"):
        def __init__(self, text: str) -> None:
            self.text = text

    @register(name="check.Line")
    class Line(msgspec.Struct, frozen=True):
        text: str

    @register(name="check.Mood")
    class Mood(enum.Enum):
        GLAD = 1
        SAD = 2

    @register(name="check.Key")
    @dataclass(frozen=True)
    class Key:
        x: int

    def body(root: Any) -> None:
        root["rooms"] = SortedMap()
        for number in range(100):
            room = root["rooms"][f"room{number:03}"] = Room(f"{number}")
            room.posts["a"] = Post("x")
            room.log.append(Line("hi"))
        root["mood"] = Mood.SAD
        root["by"] = Map({Key(1): List([Post("y")])})

    space.run(body)


@pytest.mark.rule("SP7")
def test_a_space_whose_classes_are_as_they_were_loads(space: Space) -> None:
    assert space.check().objects == 0
    fill(space)
    checked = space.check()
    assert checked.findings == []
    assert (checked.tid, checked.upgraded, checked.renamed) == (space.tid, {}, {})
    assert checked.classes["check.Room"] == 100
    assert checked.objects == sum(checked.classes.values())


@pytest.mark.rule("SP7")
@pytest.mark.rule("SP3")
def test_unknown_classes_are_counted_and_the_first_one_is_named_by_its_path(space: Space) -> None:
    fill(space)
    forget("check.Room", "check.Post", "check.Mood", "check.Key")
    by_what = {finding.misfit[:2]: finding for finding in space.check().findings}
    assert {what: finding.objects for what, finding in by_what.items()} == {
        ("unknown class", "check.Mood"): 1,
        ("unknown class", "check.Key"): 1,
        ("unknown class", "check.Post"): 101,
        ("unknown class", "check.Room"): 100,
    }
    assert by_what["unknown class", "check.Room"].path == "root['rooms']['room000']"
    assert by_what["unknown class", "check.Post"].path == "root['by'][<unknown check.Key(x=1)>][0]"
    assert by_what["unknown class", "check.Mood"].path == "root"
    assert by_what["unknown class", "check.Mood"].misfit.detail == "an enum"


@pytest.mark.rule("SP7")
def test_attributes_and_values_that_do_not_fit_are_found(space: Space) -> None:
    fill(space)
    forget("check.Post")

    class Room(Persistent, name="check.Room"):
        topic = ""

        def __init__(self, name: str) -> None:
            self.name = name
            self.topic = "x"
            self.owner = "ann"

    class Story(Persistent, name="check.Story", formerly="check.Post"):
        pass

    @register(name="check.Line")
    class Line(msgspec.Struct, frozen=True):
        text: str
        author: str

    @register(name="check.Mood")
    class Mood(enum.Enum):
        GLAD = 1

    @register(name="check.Key")
    @dataclass(frozen=True)
    class Key:
        x: int
        y: int = 0

    checked = space.check()
    assert set(found(checked)) == {
        ("missing attribute", "check.Room", "owner", 100, "root['rooms']['room000']"),
        (
            "value does not fit",
            "check.Line",
            "there is no 'author'",
            100,
            "root['rooms']['room000'].log",
        ),
        ("value does not fit", "check.Mood", "there is no such member", 1, "root"),
        ("key of another shape", "check.Key", "", 1, "root['by']"),
    }
    assert checked.renamed == {"check.Post": 101}


@pytest.mark.rule("SP7")
def test_steps_are_run_on_copies_and_versions_are_compared(mount: LocalMount, space: Space) -> None:
    fill(space)

    class Room2(Persistent, name="check.Room", version=2):
        @upgrade(from_version=1)
        @staticmethod
        def no_room_seven(state: State) -> State:
            return {**state, "seats": 10 // (int(state["name"]) - 7)}

    tid = space.tid
    checked = space.check()
    assert found(checked) == [
        (
            "step fails",
            "check.Room",
            "1 to 2: no_room_seven: ZeroDivisionError: integer division or modulo by zero",
            1,
            "root['rooms']['room007']",
        )
    ]
    assert checked.upgraded == {"check.Room": 100}
    assert space.tid == tid, "nothing is written"
    # Another one, whose objects are of the new class.
    Space(mount).run(lambda root: setattr(root["rooms"]["room010"], "name", "11"))
    assert space.check().upgraded == {"check.Room": 99}

    class Room1(Persistent, name="check.Room"):
        pass

    assert found(space.check()) == [
        ("newer version", "check.Room", "version 2, here 1", 1, "root['rooms']['room010']")
    ]


@pytest.mark.rule("SP7")
def test_indexes_that_a_step_has_left_behind_are_told(mount: LocalMount, space: Space) -> None:
    class Person1(Indexed, name="check.Person"):
        def __init__(self, age: int) -> None:
            self.age = age

    people = Collection({"ann": Person1(30), "bob": Person1(40)}, indexes=["age"])
    space.run(lambda root: root.update(people=people))
    assert space.check().findings == []

    class Person2(Indexed, name="check.Person", version=2):
        @upgrade(from_version=1)
        @staticmethod
        def in_months(state: State) -> State:
            return {**state, "age": state["age"] * 12}

    assert found(space.check()) == [
        ("index is behind", "hubbub.Collection", "", 1, "root['people']")
    ]
    again = Space(mount)
    again.run(lambda root: root["people"].rebuild())
    assert again.check().findings == []
    assert again.read(lambda root: len(root["people"].find(age=360))) == 1


def test_a_class_that_fails_to_load_is_told(space: Space) -> None:
    fill(space)

    class Post(Persistent, name="check.Post"):
        def __setstate__(self, state: State) -> None:
            raise RuntimeError("not so")

    (finding,) = space.check().findings
    assert finding.misfit == ("fails to load", "check.Post", "RuntimeError: not so")
    assert finding.objects == 101


def test_a_check_tells_how_far_it_is_and_can_be_stopped(space: Space) -> None:
    space.run(lambda root: root.update(many=Map({n: List() for n in range(3000)})))
    told: list[tuple[str, int, int]] = []
    job = Job(lambda *step: told.append(step))
    assert space.check(job).objects > 3000
    assert told[:3] == [("checking", 1000, 0), ("checking", 2000, 0), ("checking", 3000, 0)]
    job.stop()
    with pytest.raises(JobStoppedError):
        space.check(job)


def test_a_deep_space_is_walked(space: Space) -> None:
    class Link(Persistent, name="check.Link"):
        following: Any = None

    def body(root: Any) -> None:
        root["chain"] = link = Link()
        for _ in range(3000):
            link.following = link = Link()

    space.run(body)
    assert space.check().classes == {"hubbub.space.root:Root": 1, "check.Link": 3001}
    forget("check.Link")
    (finding,) = space.check().findings
    assert finding.objects == 3001


def test_the_way_to_an_object_is_named(space: Space) -> None:
    class Thing(Persistent, name="check.Thing"):
        pass

    class Lost(Persistent, name="check.Lost"):
        pass

    @register(name="check.Holder")
    class Holder(msgspec.Struct):
        held: Any

    ways = {
        "root['a'].x['k'][0]": lambda root, thing, lost: setattr(thing, "x", {"k": (lost,)}),
        "root['a'].x.held": lambda root, thing, lost: setattr(thing, "x", Holder(lost)),
        "root['a'].x{...}": lambda root, thing, lost: setattr(thing, "x", frozenset({lost})),
        "root['a'].x[...]": lambda root, thing, lost: setattr(thing, "x", Log([lost])),
        "root['a'].x[1]": lambda root, thing, lost: setattr(thing, "x", List([1, lost])),
        "root['a'].x[5]": lambda root, thing, lost: setattr(thing, "x", SortedMap({5: lost})),
        "root['a'].x[(5, 'b')]": lambda root, thing, lost: setattr(
            thing, "x", Map({(5, "b"): lost})
        ),
        "root['a'].x[1500]": lambda root, thing, lost: setattr(
            thing, "x", Map({n: lost if n == 1500 else None for n in range(3000)})
        ),
    }
    found_ways = []
    for way in ways.values():

        def body(root: Any, way: Any = way) -> None:
            root["a"] = thing = Thing()
            way(root, thing, Lost())

        space.run(body)
        class_ = classes._persistent["check.Lost"]
        forget("check.Lost")
        (finding,) = space.check().findings
        found_ways.append(finding.path)
        register(class_)
    assert found_ways == list(ways)


def test_damage_and_what_is_missing_are_told_and_the_rest_is_looked_at(
    mount: LocalMount, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(space)
    oids = space.read(
        lambda root: [int.from_bytes(room._p_oid, "big") for room in root["rooms"].values()]
    )
    load = mount.load

    def failing_load(oid: int, at: int) -> Any:
        if oid == oids[3]:
            raise CorruptRecordError("a bit has flipped")
        if oid == oids[5]:
            raise UnknownObjectError(oid, at)
        return load(oid, at)

    monkeypatch.setattr(mount, "load", failing_load)
    checked = space.check()
    assert {(f.misfit.kind, f.misfit.detail, f.oid, f.path) for f in checked.findings} == {
        ("damaged", "a bit has flipped", oids[3], "root['rooms']['room003']"),
        ("missing object", "", oids[5], "root['rooms']['room005']"),
    }
    assert checked.classes["check.Room"] == 98
