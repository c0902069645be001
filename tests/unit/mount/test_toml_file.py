"""Errors of TOML files: the line, the key, what was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.kernel import ConfigurationError
from hubbub.mount.toml_file import Secret, TOMLFile


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    size: int
    kind: Literal["a", "b"] = "a"


class Outer(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    seconds: float = 1.0
    is_on: bool = False
    many: str | list[str | Inner] = ""
    inner: Inner | None = None
    by_name: dict[str, Inner] = {}
    secret: str | Secret = ""


@pytest.fixture
def read(tmp_path: Path):
    def make(text: str) -> TOMLFile:
        path = tmp_path / "x.toml"
        path.write_text(text)
        return TOMLFile(path)

    return make


def test_what_fits(read) -> None:
    file = read(
        'name = "n"\nseconds = 2\nmany = ["a", { size = 1 }]\n[inner]\nsize = 3\n'
        '[by_name.x]\nsize = 4\nkind = "b"\n'
    )
    assert file.convert(Outer) == Outer(
        name="n",
        seconds=2.0,
        many=["a", Inner(size=1)],
        inner=Inner(size=3),
        by_name={"x": Inner(size=4, kind="b")},
    )


@pytest.mark.parametrize(
    "text, told",
    [
        ("\nnme = 1", ":2: the file has no key 'nme': did you mean 'name'?"),
        ("# a\n\n[iner]\nsize = 1", ":3: the file has no key 'iner': did you mean 'inner'?"),
        ("[inner]\nsize = 1\nzzz = 2", ":3: [inner] has no key 'zzz': there are size, kind"),
        ("[inner]\nkind = 'a'", ":1: [inner] needs the key 'size'"),
        ("name = 3", ":1: name has to be a text, not 3"),
        ("\nseconds = '3'", ":2: seconds has to be a number, not '3'"),
        ("is_on = 1", ":1: is_on has to be true or false, not 1"),
        ("inner = 3", ":1: inner has to be a table, not 3"),
        (
            "[by_name.x]\nsize = 1\n[by_name.y]\nsize = true",
            ":4: by_name.y.size has to be a whole number, not true",
        ),
        ("[by_name.x]\nsize = 1\nkind = 'c'", ":3: by_name.x.kind has to be 'a' or 'b', not 'c'"),
        ("by_name.x.size = 'q'", ":1: by_name.x.size has to be a whole number, not 'q'"),
        (
            "many = ['a',\n  { size = 1, sise = 2 }]",
            ":1: [many[1]] has no key 'sise': did you mean 'size'?",
        ),
        ("many = [1]", ":1: many[0] has to be a text or a table, not 1"),
        ("many = 1", ":1: many has to be a text or a list, each a text or a table, not 1"),
        ('name = """\nname = 1\n"""\nseconds = \'\'', ":4: seconds has to be a number, not ''"),
        ("name = ", ":1: Invalid value"),
        ("a = 1\na = 2", ":2: Cannot overwrite a value"),
        ("[a", ":1: Expected ']' at the end of a table declaration"),
    ],
)
def test_what_does_not(read, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(text).convert(Outer)
    assert f"x.toml{told}" in str(raised.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be read: No such file"):
        TOMLFile(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(ConfigurationError, match="no text in UTF-8"):
        TOMLFile(tmp_path / "latin.toml")


def test_secrets_are_elsewhere(read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "from the environment")
    monkeypatch.delenv("NOT_HERE", raising=False)
    (tmp_path / "key").write_text("from a file\n")
    (tmp_path / "empty").write_text("\n")

    def secret(text: str) -> str:
        file = read(f"secret = {text}")
        return file.secret(file.convert(Outer).secret, ("secret",))

    assert secret('{ env = "HERE" }') == "from the environment"
    assert secret('{ file = "key" }') == "from a file"
    assert secret('"itself"') == "itself"
    for text, told in (
        ('{ env = "NOT_HERE" }', ":1: the variable NOT_HERE is not set"),
        ('{ file = "none" }', ":1: the file none can't be read"),
        ('{ file = "empty" }', ":1: the file empty is empty"),
        ("{}", ":1: a secret is { env"),
        ('{ env = "A", file = "b" }', ":1: a secret is { env"),
    ):
        with pytest.raises(ConfigurationError) as raised:
            secret(text)
        assert told in str(raised.value)


names = st.sampled_from(["name", "seconds", "is_on", "zzz", "inner", "by_name"])
values: st.SearchStrategy[Any] = st.sampled_from(
    ['"t"', "1", "1.5", "true", "[]", "{}", "[1]", "{ size = 1 }", '{ size = "x" }', "{ x = {} }"]
)


@given(st.lists(st.tuples(names, values), unique_by=lambda pair: pair[0]), st.integers(0, 3))
def test_a_fault_is_always_told_where_it_is(tmp_path_factory, pairs, empty_lines) -> None:
    """Whatever is in a file: it is taken, or the error names the line of the key that is at fault."""
    path = tmp_path_factory.mktemp("t") / "x.toml"
    path.write_text("\n" * empty_lines + "".join(f"{key} = {value}\n" for key, value in pairs))
    told = ""
    try:
        TOMLFile(path).convert(Outer)
    except ConfigurationError as error:
        told = str(error)
    if told:
        line = int(told.removeprefix(f"{path}:").partition(":")[0])
        key, _ = pairs[line - 1 - empty_lines]
        assert key in told
