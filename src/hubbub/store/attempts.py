"""Which attempts of mounts are certainly new.

A mount numbers its attempts through, and a commit stored under an attempt's key is answered with its first outcome when
it is repeated. To look each new key up in the tables cost a commit more than all its other checks. So what is
stored of a mount is looked up once, when it is first seen, and from then on the highest number that was asked for is
known: a higher one can't have been stored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

MOUNT_KEY_BYTES = 12
"""So many bytes at the beginning of an attempt's key name the mount."""
_KEY_BYTES = MOUNT_KEY_BYTES + 8
_REMEMBERED = 10_000


class Attempts:
    """The highest attempt of each mount that is known here. Any thread.

    Args:
        stored: Returns the stored keys that begin with these bytes.
    """

    def __init__(self, stored: Callable[[bytes], list[bytes]]) -> None:
        self._stored = stored
        self._highest: dict[bytes, bytes] = {}
        self._lock = threading.Lock()

    def is_new(self, key: bytes) -> bool:
        """Tell whether ``key`` is asked for here for the first time and is not stored. False: perhaps not.

        A number as high or lower than one that was asked for before is never called new.
        """
        if len(key) != _KEY_BYTES:
            return False
        mount = key[:MOUNT_KEY_BYTES]
        with self._lock:
            highest = self._highest.get(mount)
            if highest is None:
                highest = max(self._stored(mount), default=mount)
                if len(self._highest) >= _REMEMBERED:
                    del self._highest[next(iter(self._highest))]
            is_new = key > highest
            self._highest[mount] = key if is_new else highest
        return is_new
