"""Which attributes the code of a class relies on."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, ClassVar

from hubbub.space.defaults import default_factory
from hubbub.space.expected import expected_attributes
from hubbub.space.persistent import Persistent


class Plain(Persistent):
    declared: int
    kind: ClassVar[str]
    topic: str = ""
    tags: list[str] = []
    kinds = ["a", "b"]
    made: list[str] = default_factory(list)
    _v_cache: dict[str, Any]

    def __init__(self, name: str, seats: int | None = None) -> None:
        self.name, (self.first, *self.rest) = name, [1, 2]
        self._v_seen = 0
        self.topic = "x"
        self.shown = "by a property"  # type: ignore[misc]
        self.only_declared: int
        with nullcontext():
            self.opened = True
        if seats:
            self.seats = seats
        for self.loop in range(3):
            pass
        name.other = 1  # type: ignore[attr-defined]
        self.settings["a"] = 1  # type: ignore[attr-defined]
        return
        self.never = 1

    @property
    def shown(self) -> str:
        return self.name


class Below(Plain):
    more: int

    def __init__(me) -> None:  # noqa: N805
        me.mine = 1


class Sealed(Persistent):
    declared: int
    __init__ = object.__init__


def test_what_is_annotated_or_always_set_and_has_no_default_is_expected() -> None:
    assert expected_attributes(Plain) == {"declared", "name", "first", "rest", "opened", "tags"}
    assert expected_attributes(Below) == {"declared", "more", "mine", "tags"}
    assert expected_attributes(Sealed) == {"declared"}


def test_without_source_text_annotations_count() -> None:
    names: dict[str, Any] = {"Persistent": Persistent}
    exec("class Made(Persistent):\n declared: int\n def __init__(self):\n  self.x = 1", names)
    assert expected_attributes(names["Made"]) == {"declared"}
