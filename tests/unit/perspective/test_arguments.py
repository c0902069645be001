"""Arguments are checked before the body runs (PE1)."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Raw

from hubbub.kernel import ConfigurationError, InvalidArgumentsError
from hubbub.perspective.arguments import Arguments, Parameter

Limit = Annotated[int, Meta(ge=1, le=100)]


class Line(msgspec.Struct, frozen=True):
    text: str
    more: list[Any] = []


class Stranger: ...


def arguments_of(function, **options):
    hints = inspect.get_annotations(function, eval_str=True)
    parameters = [
        Parameter(p.name, hints.get(p.name, Any), p.default, p.kind)
        for p in inspect.signature(function).parameters.values()
    ]
    return Arguments(function.__name__, parameters, **options)


def say(text: str, limit: Limit = 50, *, line: Line | None = None): ...
def pair(a: int, b: float, /): ...
def anything(x, y=None): ...
def only(*, key: str): ...


def raw(value, form="json"):
    return Raw(msgspec.json.encode(value) if form == "json" else msgspec.msgpack.encode(value))


def decode(function, args=None, kwargs=None, form="json"):
    given_args = Raw() if args is None else raw(args, form)
    given_kwargs = Raw() if kwargs is None else raw(kwargs, form)
    return arguments_of(function).decode(form, given_args, given_kwargs)


@pytest.mark.rule("PE1")
@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_what_fits_is_passed_on(form):
    assert decode(say, ["hi"], form=form) == (("hi",), {})
    assert decode(say, ["hi", 3], {"line": {"text": "x"}}, form) == (("hi", 3), {"line": Line("x")})
    assert decode(say, None, {"text": "hi"}, form) == ((), {"text": "hi"})
    assert decode(pair, [1, 2], form=form) == ((1, 2.0), {})
    assert decode(anything, [{"a": [1]}], form=form) == (({"a": [1]},), {})
    assert decode(only, None, {"key": "k"}, form) == ((), {"key": "k"})


@pytest.mark.rule("PE1")
@pytest.mark.parametrize("form", ["json", "msgpack"])
@pytest.mark.parametrize(
    "function,args,kwargs,message,parameter",
    [
        (say, [3], None, "say: argument 'text': Expected `str`, got `int`", "text"),
        (say, ["hi", 0], None, "say: argument 'limit': Expected `int` >= 1", "limit"),
        (say, None, {"text": 3}, "say: argument 'text': Expected `str`, got `int`", "text"),
        (
            say,
            ["hi"],
            {"line": {"text": 3}},
            "say: argument 'line': Expected `str`, got `int` (at line.text)",
            "line",
        ),
        (say, None, None, "say: argument 'text' is missing", "text"),
        (say, None, {"limit": 3}, "say: argument 'text' is missing", "text"),
        (only, None, None, "only: argument 'key' is missing", "key"),
        (say, ["hi"], {"text": "hi"}, "say: argument 'text' is given twice", "text"),
        (say, ["hi"], {"loud": 1}, "say: Object contains unknown field `loud`", ""),
        (say, ["hi", 3, None], None, "say: Expected `array` of at most length 2", ""),
        (pair, [1], {"b": 2}, "pair: Object contains unknown field `b`", ""),
        (say, {"text": "hi"}, None, "say: Expected `array`, got `object`", ""),
        (say, None, ["hi"], "say: Expected `object`, got `array`", ""),
    ],
)
def test_what_does_not_fit_is_refused_by_name(form, function, args, kwargs, message, parameter):
    with pytest.raises(InvalidArgumentsError) as caught:
        decode(function, args, kwargs, form)
    assert str(caught.value).startswith(message)
    assert (caught.value.code, caught.value.parameter) == ("invalid", parameter)


def test_garbage_is_refused():
    for form in ("json", "msgpack"):
        with pytest.raises(InvalidArgumentsError, match="can't be read"):
            arguments_of(say).decode(
                form, Raw(b'["\xff\xfe' if form == "json" else b"\x92\xa1"), Raw()
            )


@pytest.mark.rule("PE1")
@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_nesting_is_bounded(form):
    def nested(depth):
        value: object = 1
        for _ in range(depth):
            value = [value] if depth % 2 else {"a": value}
        return value

    arguments = arguments_of(anything, nesting=4)
    assert arguments.decode(form, raw([nested(4)], form), Raw())
    for depth in (5, 8):
        with pytest.raises(InvalidArgumentsError, match="may be 4 deep"):
            arguments.decode(form, raw([nested(depth)], form), Raw())
    with pytest.raises(InvalidArgumentsError):
        arguments_of(say, nesting=3).decode(
            form, raw(["a"], form), raw({"line": {"text": "x", "more": [[[1]]]}}, form)
        )
    deep = b"[" * 100_000 + b"]" * 100_000 if form == "json" else b"\x91" * 100_000 + b"\x00"
    with pytest.raises(InvalidArgumentsError):
        arguments.decode(form, Raw(deep), Raw())


def test_equal_calls_have_equal_bytes():
    arguments = arguments_of(say)
    key = arguments.encode(("hi",), {})
    assert key == arguments.encode(("hi", 50)) == arguments.encode((), {"limit": 50, "text": "hi"})
    assert msgspec.msgpack.decode(key) == ["hi", 50, None]
    assert key != arguments.encode(("hi", 51))
    assert arguments_of(anything).encode(({"b": 1, "a": 2},)) == arguments_of(anything).encode(
        ({"a": 2, "b": 1},)
    )


@given(st.lists(st.text(), min_size=1, max_size=1), st.integers(1, 100))
def test_decoded_arguments_give_one_key_in_both_forms(texts, limit):
    arguments = arguments_of(say)
    keys = set()
    for form in ("json", "msgpack"):
        keys.add(arguments.encode(*arguments.decode(form, raw([*texts, limit], form), Raw())))
        keys.add(
            arguments.encode(
                *arguments.decode(form, Raw(), raw({"limit": limit, "text": texts[0]}, form))
            )
        )
    assert len(keys) == 1


@pytest.mark.parametrize(
    "args,kwargs,message",
    [
        (("a", 1, 2), {}, "takes at most 2"),
        ((), {}, "'text' is missing"),
        (("a",), {"x": 1}, "no argument 'x'"),
        (("a",), {"text": "b"}, "given twice"),
        ((Stranger(),), {}, "can't be written"),
    ],
)
def test_what_can_not_be_encoded(args, kwargs, message):
    with pytest.raises(InvalidArgumentsError, match=message):
        arguments_of(say).encode(args, kwargs)


def test_types_that_can_not_come_from_a_user():
    def f(x: Stranger): ...
    def g(x: list[Stranger]): ...
    def h(x: list[int] | tuple[int, ...]): ...

    for function in (f, g, h):
        with pytest.raises(ConfigurationError, match="argument 'x'"):
            arguments_of(function)


def test_an_object_is_anything():
    def f(x: object): ...

    assert decode(f, [[1]]) == (([1],), {})
