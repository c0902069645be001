"""What can be called (PE1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from hubbub.kernel import ConfigurationError
from hubbub.perspective.avatar import Avatar
from hubbub.perspective.declarations import action, command, declarations_of, query, stream, view
from hubbub.space.persistent import Persistent


class Board(Persistent, name="tests.declarations.Board"):
    @view
    def strokes(self, limit: int = 5) -> list[int]:
        return list(range(limit))

    @command
    def draw(self, who: "Painter", x: float) -> None: ...  # noqa: UP037 - as users write it

    @command(durable=False)
    def point(self, x: float) -> None: ...

    @command
    def plain(self, who: int) -> int:
        return who


class Painter(Avatar, name="tests.declarations.Painter"):
    def __init__(self, name: str = "ann") -> None:
        self.name = name

    @command
    def say(self, text: str) -> str:
        return text + "!"

    @command(record=False)
    def secret(self, other: Painter, text: str) -> None: ...

    @query
    def board(self, name: str) -> Board:
        return Board()

    @stream(items=10, when_full="lag")
    def lines(self) -> AsyncIterator[str]:
        raise NotImplementedError

    @stream()
    async def numbers(self):
        yield 1

    @action(timeout_s=3, retries=2)
    async def ask(self, text: str) -> None: ...

    def helper(self) -> None: ...


@pytest.mark.rule("PE1")
def test_only_what_is_declared_is_found():
    found = declarations_of(Painter)
    assert {name: d.kind for name, d in found.items()} == {
        "say": "command",
        "secret": "command",
        "board": "query",
        "lines": "stream",
        "numbers": "stream",
        "ask": "action",
    }
    assert found is declarations_of(Painter)
    assert repr(found["say"]) == "<command Painter.say>"


def test_a_declared_method_stays_an_ordinary_one():
    assert Painter("ann").say("hi") == "hi!"
    assert declarations_of(Painter)["say"].function is Painter.say


def test_options():
    found = declarations_of(Painter)
    assert (found["lines"].options.items, found["lines"].options.when_full) == (10, "lag")
    assert (found["ask"].options.timeout_s, found["ask"].options.retries) == (3, 2)
    assert not found["secret"].options.record
    assert not declarations_of(Board)["point"].options.durable


@pytest.mark.rule("PE1")
def test_an_objects_command_names_its_caller():
    found = declarations_of(Board)
    assert found["draw"].caller is Painter
    assert [p.name for p in found["draw"].arguments.parameters] == ["x"]
    assert found["point"].caller is None
    assert found["plain"].caller is None
    assert [p.name for p in found["plain"].arguments.parameters] == ["who"]
    assert declarations_of(Painter)["secret"].caller is None


def test_return_types():
    assert declarations_of(Painter)["board"].return_type is Board
    assert declarations_of(Painter)["numbers"].return_type is Any
    assert declarations_of(Board)["strokes"].return_type == list[int]


@pytest.mark.rule("PE1")
def test_an_override_that_is_not_declared_takes_it_back():
    class Quiet(Painter, name="tests.declarations.Quiet"):
        def say(self, text: str) -> str:
            return ""

        @command
        def board(self, name: str) -> None: ...  # type: ignore[override]

    class Loud(Quiet, name="tests.declarations.Loud"):
        @command
        def say(self, text: str) -> str:
            return text

    assert "say" not in declarations_of(Quiet)
    assert declarations_of(Quiet)["board"].kind == "command"
    assert declarations_of(Loud)["say"].owner is Loud


@pytest.mark.parametrize("decorate", [command, query, view, stream()])
def test_async_def_is_refused_while_the_class_is_made(decorate):
    with pytest.raises(ConfigurationError, match="make it a plain def"):

        class Wrong:
            @decorate
            async def f(self): ...


@pytest.mark.parametrize("decorate", [command, query, view, stream()])
def test_a_generator_is_refused(decorate):
    with pytest.raises(ConfigurationError, match="it can't yield"):

        class Wrong:
            @decorate
            def f(self):
                yield 1


def test_an_action_is_async():
    with pytest.raises(ConfigurationError, match="make it an async def"):

        class Wrong:
            @action()
            def f(self): ...


def test_what_users_can_not_fill_is_refused():
    for make in (
        lambda: command(lambda self, *args: None),
        lambda: query(lambda self, **kwargs: None),
    ):
        with pytest.raises(ConfigurationError):
            make()

    def f(self, *args): ...
    def _hidden(self): ...
    def nobody(): ...

    with pytest.raises(ConfigurationError, match="users can't fill"):
        command(f)
    with pytest.raises(ConfigurationError, match="underscore"):
        command(_hidden)
    with pytest.raises(ConfigurationError, match="parameter self"):
        command(nobody)
    with pytest.raises(ConfigurationError, match="plain method"):
        command(3)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="declared twice"):

        @query
        @command
        def g(self): ...


def test_a_static_method_can_not_be_declared():
    class Wrong:
        @staticmethod
        @command
        def f(x): ...

    with pytest.raises(ConfigurationError, match="not a staticmethod"):
        declarations_of(Wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: stream(items=0),
        lambda: stream(when_full="x"),  # type: ignore[arg-type]
        lambda: action(timeout_s=0),
        lambda: action(retries=-1),
    ],
)
def test_options_that_make_no_sense(make):
    with pytest.raises(ConfigurationError):
        make()


def test_an_annotation_of_something_unknown_is_told_by_name():
    class Wrong(Avatar, name="tests.declarations.Wrong"):
        @command
        def f(self, x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

        @query
        def g(self) -> Nowhere: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigurationError, match=r"Wrong.f: the annotation of 'x'"):
        declarations_of(Wrong)["f"].arguments  # noqa: B018
    assert declarations_of(Wrong)["g"].return_type is Any
