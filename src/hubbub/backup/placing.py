"""Make the file of a space beside its place, and move it there when all of it is there.

    data.hub.making/data.hub   built, closed      data.hub-blobs moved, then data.hub itself
          '-- killed: the next one removes it and begins anew

So there is no space that is half there, and nothing that exists is written over.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hubbub.backup.frames import sync_folder
from hubbub.kernel import StoreError

_MOVED_FIRST = ("-blobs",)
_BESIDE = ("-wal", "-shm", "-log", "-blobs", "-journal")
_PLACING = "placing"


@contextmanager
def new_space(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the path at which to make a space, and to close it; then move it to ``path``.

    Raises:
        StoreError: There is something at ``path``, or it can't be written there. Nothing is left.
    """
    place = Path(path).absolute()
    building = place.with_name(place.name + ".making")
    if not place.exists():
        _clear_killed(building, place)
    must_be_free(place)
    try:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(mode=0o700)
    except OSError as error:
        raise StoreError(f"{building} can't be made: {error.strerror}") from error
    try:
        yield building / place.name
        must_be_free(place)
        (building / _PLACING).touch()
        _move(building / place.name, place)
    except BaseException:
        _clear_killed(building, place)
        raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def must_be_free(place: Path) -> None:
    """Check that there is no space at ``place``, nor anything that would be taken for a part of it.

    Raises:
        StoreError: There is; names it.
    """
    for found in (place, *(place.with_name(place.name + suffix) for suffix in _BESIDE)):
        if os.path.lexists(found):
            raise StoreError(
                f"{found} is there: a space is made in a new file only. Give another name, or move that away"
            )


def _clear_killed(building: Path, place: Path) -> None:
    """Remove what one that did not come to its end has moved ahead of the space itself."""
    if (building / _PLACING).exists() and not place.exists():
        for suffix in _MOVED_FIRST:
            if not (building / (place.name + suffix)).exists():
                shutil.rmtree(place.with_name(place.name + suffix), ignore_errors=True)


def _move(built: Path, place: Path) -> None:
    """Move a space that is closed into its place, durably: the file itself last."""
    try:
        for suffix in _MOVED_FIRST:
            beside = built.with_name(built.name + suffix)
            if beside.exists():
                beside.rename(place.with_name(place.name + suffix))
        sync_folder(place.parent)
        try:
            # Should somebody have made a space meanwhile, that stays.
            os.link(built, place)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            must_be_free(place)
            built.rename(place)
        sync_folder(place.parent)
    except OSError as error:
        raise StoreError(f"the space can't be moved to {place}: {error.strerror}") from error
