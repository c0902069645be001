"""Find an object by its path, and show what is in it, whether its class is known here or not."""

from __future__ import annotations

import ast
import base64
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import persistent

from hubbub.kernel import (
    ConfigurationError,
    HubbubError,
    UnknownClassError,
    UnknownObjectError,
    oid_from_bytes,
)
from hubbub.space.classes import class_name
from hubbub.space.placeholders import UnknownObject
from hubbub.space.unknown import UnknownValue

_LONGEST = 200


class Entry(NamedTuple):
    """Something in an object.

    Attributes:
        name: Of the attribute, key or position, as a path has it.
        value: A plain value, or a persistent object.
    """

    name: str
    value: Any


def is_object(value: Any) -> bool:
    """Tell whether ``value`` is a persistent object."""
    return isinstance(value, persistent.Persistent)


def oid_in(value: Any) -> int:
    """Return the oid of a persistent object that is stored."""
    return oid_from_bytes(value._p_oid)


def stored_name(value: Any) -> str:
    """Return the class name of an object, or the type of a plain value."""
    if is_object(value):
        return class_name(type(value))
    if isinstance(value, UnknownValue):
        return value.hubbub_class
    return type(value).__name__


# --- paths ------------------------------------------------------------------------------------------------------------


def find(root: Any, path: str) -> Any:
    """Return what is at ``path``: keys, attributes and positions with ``/`` between, or ``0x1f`` for an oid first.

    Raises:
        ConfigurationError: If there is no such thing; names the part at fault and what there is.
    """
    found = root
    walked = ""
    for number, part in enumerate(part for part in path.split("/") if part not in ("", ".")):
        if number == 0 and part.startswith("0x"):
            found = _by_oid(root, part)
        else:
            found = _step(found, part.replace("%2F", "/").replace("%25", "%"), walked)
        walked += "/" + part
    return found


def _by_oid(root: Any, text: str) -> Any:
    try:
        number = int(text, 16)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 64:
        raise ConfigurationError(f"{text!r} is no oid: that is 0x and 1 to 16 hexadecimal digits")
    try:
        return root._p_jar.get(number)
    except UnknownObjectError as error:
        raise ConfigurationError(str(error)) from None


def _step(value: Any, part: str, walked: str) -> Any:
    for look_up in (_key, _position, _attribute):
        try:
            return look_up(value, part)
        except (LookupError, TypeError, AttributeError, ValueError, HubbubError):
            continue
    names = [entry.name for entry in islice(entries(value), 6)]
    there = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    raise ConfigurationError(
        f"there is no {part!r} in {walked or 'the root'} ({stored_name(value)})"
        + (f"; there is {there}" if there else ", which is empty")
    )


def _key(value: Any, part: str) -> Any:
    if not hasattr(type(value), "keys") and not isinstance(value, Mapping):
        raise LookupError(part)
    for key in _keys_from(part):
        try:
            return value[key]
        except (LookupError, TypeError):
            continue
    raise LookupError(part)


def _keys_from(part: str) -> Iterator[Any]:
    """Yield the keys that ``part`` may stand for: itself, then what it says as a literal."""
    yield part
    try:
        yield ast.literal_eval(part)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return


def _position(value: Any, part: str) -> Any:
    if hasattr(type(value), "keys"):
        raise LookupError(part)
    return value[int(part)]


def _attribute(value: Any, part: str) -> Any:
    if part.startswith(("_p_", "_v_", "__")):
        raise LookupError(part)
    return _state(value)[part]


# --- what is in it ----------------------------------------------------------------------------------------------------


def entries(value: Any) -> Iterator[Entry]:
    """Yield what is in an object or a plain value, in order."""
    if isinstance(value, UnknownObject):
        yield from _named(_state(value))
    elif hasattr(type(value), "items") and not isinstance(value, UnknownValue):
        for key, item in value.items():
            yield Entry(_name(key), item)
    elif _is_row(value):
        yield from (Entry(str(number), item) for number, item in enumerate(value))
    else:
        yield from _named(_state(value))


def _is_row(value: Any) -> bool:
    if is_object(value):
        return isinstance(value, Iterable)
    return isinstance(value, list | tuple | set | frozenset) and not hasattr(value, "_fields")


def _named(state: Mapping[str, Any]) -> Iterator[Entry]:
    return (Entry(name, item) for name, item in state.items())


def _state(value: Any) -> Mapping[str, Any]:
    """Return the attributes of an object, or the parts of a value that has a class."""
    if isinstance(value, UnknownObject):
        return value.hubbub_record()[2] or {}
    if isinstance(value, UnknownValue):
        return value.hubbub_fields
    if is_object(value):
        value._p_activate()
        state = getattr(value, "__dict__", {})
        return {name: item for name, item in state.items() if name[:3] not in ("_v_", "_p_")}
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    if hasattr(value, "_asdict"):
        parts: Mapping[str, Any] = value._asdict()
        return parts
    return getattr(value, "__dict__", {})


def _name(key: Any) -> str:
    if type(key) is str and key and not _is_literal(key):
        return key.replace("%", "%25").replace("/", "%2F")
    return repr(key).replace("%", "%25").replace("/", "%2F")


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def count_in(value: Any) -> int | None:
    """Return how many entries a container has; None if that can't be told."""
    if isinstance(value, UnknownObject):
        return None
    try:
        return len(value)
    except (TypeError, UnknownClassError):
        return None


# --- shown ------------------------------------------------------------------------------------------------------------


def shown(value: Any, longest: int = _LONGEST) -> str:
    """Return a value as text on one line: objects by class and oid, the rest as Python has it, cut off if long."""
    text = _text(value, 0)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _text(value: Any, depth: int) -> str:
    if is_object(value):
        return f"<{_short(stored_name(value))} {oid_in(value):#x}>"
    if depth > 20:
        return "..."
    if isinstance(value, UnknownValue):
        inside = ", ".join(f"{n}={_text(v, depth + 1)}" for n, v in value.hubbub_fields.items())
        return f"{_short(value.hubbub_class)}({inside})"
    kind = type(value)
    if kind is dict:
        pairs = (f"{_text(k, depth + 1)}: {_text(v, depth + 1)}" for k, v in value.items())
        return "{" + ", ".join(islice(pairs, 100)) + "}"
    if kind in (list, tuple, set, frozenset):
        items = ", ".join(_text(item, depth + 1) for item in islice(value, 100))
        if kind is list:
            return f"[{items}]"
        if kind is tuple:
            return f"({items},)" if len(value) == 1 else f"({items})"
        return f"{{{items}}}" if kind is set and value else f"{kind.__name__}({{{items}}})"
    if kind is bytes and len(value) > 60:
        return f"<{len(value):,} bytes>"
    return repr(value)


def _short(name: str) -> str:
    return name.rpartition(":")[2].rpartition(".")[2]


def plain(value: Any) -> Any:
    """Return a value in a form that JSON has."""
    if is_object(value):
        return {"oid": f"{oid_in(value):#x}", "class": stored_name(value)}
    if isinstance(value, UnknownValue):
        fields = {name: plain(item) for name, item in value.hubbub_fields.items()}
        return {"class": value.hubbub_class, **fields}
    if isinstance(value, Mapping):
        if all(type(key) is str for key in value):
            return {key: plain(item) for key, item in value.items()}
        return [[plain(key), plain(item)] for key, item in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    parts = _state(value)
    return {name: plain(item) for name, item in parts.items()} if parts else str(value)


def is_container_known(value: Any) -> bool:
    """Tell whether what is in an object can be listed: not of a container whose class is not known here."""
    return not isinstance(value, UnknownObject) or value.hubbub_record()[2] is not None
