"""STAND-IN, to be replaced: class states to payloads and back."""
from __future__ import annotations
from typing import Any
from hubbub.space.classes import class_name, find_class
from hubbub.space.codec import encode_value, decode_value

_PLAIN = (str, int, float, bytes, bool, type(None))

def class_for(name: str) -> type:
    cls = find_class(name)
    if cls is None:
        raise LookupError(name)
    return cls

def encode_object(obj: Any, ref_of: Any) -> tuple[bytes, tuple[int, ...]]:
    if hasattr(type(obj), "_hubbub_ephemeral") and not hasattr(type(obj), "max_leaf_size"):
        obj._p_activate()
        state: Any = {k: v for k, v in obj.__dict__.items() if not k.startswith(("_v_", "_p_"))}
    else:
        state = obj.__getstate__()
    return encode_value(state, ref_of, type(obj).__name__)

def fill_object(obj: Any, record: Any, object_of: Any) -> bool:
    state = decode_value(record.payload, object_of)
    state = getattr(state, "value", state)
    if hasattr(type(obj), "_hubbub_ephemeral") and not hasattr(type(obj), "max_leaf_size"):
        obj.__dict__.update(state)
        return any(type(v) in (list, dict, set, bytearray) for v in state.values())
    obj.__setstate__(state)
    return False
