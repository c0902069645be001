"""Whether a record loads with the classes that are known here, and what does not fit (SP7). Nothing is changed.

The record is loaded as an object would wake from it: its steps and defaults run, on a copy in memory, and each value
inside that can't be made is noted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from hubbub.kernel import (
    ConfigurationError,
    CorruptRecordError,
    HubbubError,
    NewerVersionError,
    Record,
    UpgradeFailedError,
)
from hubbub.space.classes import class_name, find_class
from hubbub.space.containers.keys import key_bytes
from hubbub.space.containers.map import Entry
from hubbub.space.expected import expected_attributes
from hubbub.space.opaque import OpaqueReferences
from hubbub.space.placeholders import UnknownObject
from hubbub.space.reading import ObjectOf, decode_state
from hubbub.space.schema import schema_of
from hubbub.space.states import class_for, fill_object
from hubbub.space.unknown import noting_unknown


class Misfit(NamedTuple):
    """What does not fit in a record; equal for all records with the same fault.

    Attributes:
        kind: ``unknown class``, ``newer version``, ``step fails``, ``missing attribute``, ``value does not fit``,
            ``key of another shape``, ``index is behind``, ``damaged`` or ``fails to load``.
        class_name: Stored name of the class that it is about.
        detail: More, for people; may be empty.
    """

    kind: str
    class_name: str
    detail: str = ""


class Examined(NamedTuple):
    """What was found of one record.

    Attributes:
        misfits: What does not fit, each once.
        is_upgraded: Whether it is of an older version and is upgraded when it is loaded.
        is_renamed: Whether it has a former name of its class.
    """

    misfits: tuple[Misfit, ...] = ()
    is_upgraded: bool = False
    is_renamed: bool = False


class Examiner:
    """Examine records, one after the other.

    Args:
        object_of: Makes ghosts of what they refer to.
    """

    def __init__(self, object_of: ObjectOf) -> None:
        self._object_of = object_of
        self._expected: dict[type, frozenset[str]] = {}

    def examine(self, record: Record) -> Examined:
        """Return what does not fit in ``record``."""
        cls = class_for(record.class_name)
        name = record.class_name
        misfits: dict[Misfit, None] = {}
        if issubclass(cls, UnknownObject):
            misfits[Misfit("unknown class", name)] = None

        def note(value_class: str, kind: str, why: str) -> None:
            found = find_class(value_class)
            if found is None and kind not in ("datetime", "time", "zone", "path"):
                article = "an" if kind[0] in "aeiou" else "a"
                misfit = Misfit("unknown class", value_class, f"{article} {kind}")
            else:
                misfit = Misfit("value does not fit", value_class, why)
            misfits[misfit] = None

        obj = cls.__new__(cls)
        with noting_unknown(note):
            misfit = self._load(obj, record)
        if misfit is not None:
            misfits[misfit] = None
        elif not issubclass(cls, UnknownObject):
            for missing in sorted(self._missing(obj)):
                misfits[Misfit("missing attribute", name, missing)] = None
            for key in _changed_keys(obj):
                misfits[Misfit("key of another shape", key)] = None
        is_known = find_class(name) is not None
        return Examined(
            tuple(misfits),
            is_upgraded=is_known and _is_older(cls, record),
            is_renamed=is_known and class_name(cls) != name,
        )

    def _load(self, obj: Any, record: Record) -> Misfit | None:
        try:
            fill_object(obj, record, self._object_of)
        except NewerVersionError as error:
            versions = f"version {error.stored_version}, here {error.class_version}"
            return Misfit("newer version", error.class_name, versions)
        except UpgradeFailedError as error:
            versions = f"{error.stored_version} to {error.class_version}"
            return Misfit("step fails", error.class_name, f"{versions}: {error.reason}")
        except (CorruptRecordError, ConfigurationError) as error:
            kind = "damaged" if isinstance(error, CorruptRecordError) else "fails to load"
            return Misfit(kind, record.class_name, str(error))
        except HubbubError as error:
            return Misfit("fails to load", record.class_name, str(error))
        except Exception as error:  # noqa: BLE001 - a class may have its say in loading
            return Misfit("fails to load", record.class_name, f"{type(error).__name__}: {error}")
        return None

    def _missing(self, obj: Any) -> frozenset[str]:
        cls = type(obj)
        expected = self._expected.get(cls)
        if expected is None:
            is_plain = hasattr(obj, "__dict__") and cls.__module__.partition(".")[0] != "hubbub"
            expected = self._expected[cls] = (
                expected_attributes(cls) if is_plain else frozenset[str]()
            )
        return expected - obj.__dict__.keys() if expected else expected


def _is_older(cls: type, record: Record) -> bool:
    schema = schema_of(cls)
    if schema is None:
        return False
    try:
        state = decode_state(record.payload, OpaqueReferences()).value
    except HubbubError:
        return False
    return not schema.is_current(state)


def _changed_keys(obj: Any) -> set[str]:
    """Return the classes of keys in a map's node that are stored where they would not be looked for now."""
    found: set[str] = set()
    for data, value in _pairs(obj):
        if type(value) is Entry and type(data) is bytes and key_bytes(value.key) != data:
            found.add(getattr(value.key, "hubbub_class", None) or class_name(type(value.key)))
    return found


def _pairs(node: Any) -> Iterable[tuple[Any, Any]]:
    """Return the keys and values that a B-tree's node holds itself; nothing for other objects."""
    if hasattr(type(node), "_bucket_type"):
        state = node.__getstate__()
        items = state[0][0][0] if state is not None and len(state) == 1 else ()
    elif hasattr(type(node), "_next"):
        items = node.__getstate__()[0]
    else:
        return ()
    return zip(items[::2], items[1::2], strict=False)
