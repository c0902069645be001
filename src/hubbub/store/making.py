"""Make the file of a space whose history is not whole: a restored backup, a copy of what there is now."""

from __future__ import annotations

from pathlib import Path

import apsw

from hubbub.kernel import StoreError
from hubbub.store.tables import connect, explain


def note_packed(path: Path, tid: int) -> None:
    """Note in the file of a space, which nobody has open, that its history up to ``tid`` is not whole (ST7).

    Raises:
        StoreError: If it can't be written.
    """
    try:
        connection = connect(path, None)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('packed', ?)", (tid,))
        finally:
            connection.close()
    except apsw.Error as error:
        raise explain(path, error) from error
    if not path.exists():
        raise StoreError(f"there is no space at {path}")
