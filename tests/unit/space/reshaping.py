"""What tests of classes and their stored states share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hubbub.kernel import (
    Record,
)
from hubbub.space import classes
from hubbub.space.classes import class_name
from hubbub.space.states import class_for, encode_object, fill_object

State = dict[str, Any]


@pytest.fixture(autouse=True)
def own_names() -> Iterator[None]:
    """Forget the classes that a test has made."""
    registered, persistent = classes._registered.copy(), classes._persistent.copy()
    yield
    for names, kept in ((classes._registered, registered), (classes._persistent, persistent)):
        names.clear()
        names.update(kept)  # type: ignore[arg-type]


def forget(name: str) -> None:
    """Let no class go by ``name``, as in a program that does not have it any more."""
    classes._registered.pop(name)
    classes._persistent.pop(name, None)


def no_object(oid: int, name: str) -> Any:
    raise AssertionError((oid, name))


def no_ref(obj: Any) -> int:
    raise AssertionError(obj)


def record_of(obj: Any, ref_of: Any = no_ref) -> Record:
    payload, refs = encode_object(obj, ref_of)
    return Record(7, 5, class_name(type(obj)), refs, payload)


def woken(record: Record, object_of: Any = no_object) -> Any:
    cls = class_for(record.class_name)
    obj = cls.__new__(cls)
    fill_object(obj, record, object_of)
    return obj


def made(cls: Any, **attributes: Any) -> Any:
    obj = cls()
    for name, value in attributes.items():
        setattr(obj, name, value)
    return obj
