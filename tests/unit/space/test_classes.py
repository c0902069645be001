"""Stored names of classes, and back."""

from __future__ import annotations

import dataclasses
import enum
import subprocess
import sys
import types
from collections import namedtuple
from typing import Any

import msgspec
import persistent
import pytest
from BTrees.OOBTree import OOBTree

from hubbub.space.classes import class_name, find_class, is_registered, register


class Outer:
    class Inner(msgspec.Struct):
        x: int


class Thing(persistent.Persistent):
    pass


class Kind(enum.Enum):
    A = 1


@dataclasses.dataclass
class Note:
    text: str


Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - both kinds are stored


@pytest.mark.parametrize("cls", [Outer.Inner, Thing, Kind, Note, Pair, OOBTree])
def test_a_class_is_found_by_its_name(cls: type) -> None:
    name = class_name(cls)
    assert name == f"{cls.__module__}:{cls.__qualname__}"
    assert find_class(name) is cls


@pytest.mark.rule("SP3")
@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "builtins:eval",
        "builtins:dict",
        "subprocess:Popen",
        "subprocess:sys.modules",
        "no.such.module:Thing",
        "json.tool:Thing",
        "nothing",
        "",
        ":",
        "::",
        f"{__name__}:Outer",
        f"{__name__}:Outer.Inner.__class__",
        f"{__name__}:msgspec.Struct",
        f"{__name__}:Missing",
    ],
)
def test_what_is_not_a_stored_class_is_not_found(name: str) -> None:
    before = set(sys.modules)
    assert find_class(name) is None
    assert set(sys.modules) == before


@pytest.mark.rule("SP3")
def test_a_module_is_looked_into_without_running_its_code(monkeypatch: Any) -> None:
    class Trap(types.ModuleType):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError("ran")

    trap = Trap("trap_module")
    monkeypatch.setitem(sys.modules, "trap_module", trap)
    assert find_class("trap_module:Thing") is None


def test_a_class_found_under_another_name_is_not_it(monkeypatch: Any) -> None:
    module = types.ModuleType("other_module")
    module.Alias = Thing  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "other_module", module)
    assert find_class("other_module:Alias") is None


def test_a_name_of_its_own_is_not_inherited() -> None:
    class Room(msgspec.Struct):
        pass

    Room.__hubbub_name__ = "chat.Room"  # type: ignore[attr-defined]

    class Hall(Room):
        pass

    assert find_class("chat.Room") is None
    assert register(Room) is Room
    assert find_class("chat.Room") is Room
    assert is_registered(Room)
    assert class_name(Hall).endswith(":test_a_name_of_its_own_is_not_inherited.<locals>.Hall")
    assert not is_registered(Hall)


def test_of_two_classes_with_one_name_the_newer_counts() -> None:
    def make() -> type:
        class Local(msgspec.Struct):
            pass

        return register(Local)

    old, new = make(), make()
    assert find_class(class_name(old)) is new
    assert not is_registered(old)


def test_the_main_program_goes_by_the_name_that_an_import_would_find(tmp_path: Any) -> None:
    (tmp_path / "chatter.py").write_text(
        "import msgspec\n"
        "from hubbub.space.classes import class_name, find_class\n"
        "class Line(msgspec.Struct): pass\n"
        "assert class_name(Line) == 'chatter:Line', class_name(Line)\n"
        "assert find_class('chatter:Line') is Line\n"
    )
    for how in (["chatter.py"], ["-m", "chatter"]):
        subprocess.run([sys.executable, *how], cwd=tmp_path, check=True, timeout=60)
