"""What of a space can be taken elsewhere: backups, sub-graphs in a file, copies. The part of `Space` that does it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import persistent

from hubbub.kernel import ConfigurationError, Job, oid_from_bytes
from hubbub.mount.base import Mount

if TYPE_CHECKING:
    from hubbub.backup import BackupReport, CopyReport, ExportReport

T = TypeVar("T")


class Copies:
    """The base of `Space` for what leaves it and comes into it as files. Owns nothing."""

    _mount: Mount

    if TYPE_CHECKING:

        def read(self, fn: Callable[..., T], *args: Any) -> T: ...
        def run(self, fn: Callable[..., T], *args: Any) -> T: ...

    def backup(
        self, folder: str | os.PathLike[str], *, full: bool = False, job: Job | None = None
    ) -> BackupReport:
        """Save what is new since the last run into ``folder``; all of it the first time. The space stays in use.

        Args:
            folder: Where; made if there is none. `hubbub.backup.restore` makes a space of it again.
            full: Begin anew; what there is stays.
            job: For progress, and to stop it.

        Raises:
            HubbubError: As `hubbub.backup.back_up`; the next run goes on behind the last whole file.
        """
        from hubbub.backup import back_up

        return back_up(self._mount, folder, full=full, job=job)

    def export(
        self,
        obj: Any,
        path: str | os.PathLike[str],
        *,
        at: int | None = None,
        job: Job | None = None,
    ) -> ExportReport:
        """Write an object, and all that it refers to, into a new file, which `import_` of any space takes.

        Args:
            obj: A stored object, or an oid.
            path: The file.
            at: As of which tid; None for the newest.
            job: For progress, and to stop it.

        Raises:
            ConfigurationError: ``obj`` is not stored in a space.
            HubbubError: As `hubbub.backup.export_objects`.
        """
        from hubbub.backup import export_objects

        return export_objects(self._mount, oid_of(obj), path, at=at, job=job)

    def import_(
        self,
        path: str | os.PathLike[str],
        place: str | Callable[[Any, Any], None],
        *,
        job: Job | None = None,
    ) -> ExportReport:
        """Store what an export holds, as new objects, and put the first into the root. Others see all or nothing.

        Args:
            path: The file.
            place: A key of the root that is free; or a function that is called with the root and the object, in a
                transaction, perhaps more than once, and puts it where it belongs.
            job: For progress, and to stop it.

        Returns:
            How much there was; ``oid`` is the new one of the first object.

        Raises:
            ConfigurationError: The root has that key already. Nothing was stored.
            HubbubError: As `hubbub.backup.import_objects`.
        """
        from hubbub.backup import import_objects

        put = place if callable(place) else _put_at(place)
        if not callable(place):
            self.read(_check_free, place)
        report = import_objects(self._mount, path, job=job)

        def finish(root: Any) -> None:
            put(root, root._p_jar.get(report.oid, report.class_name))

        self.run(finish)
        return report

    def copy_to(self, other: Copies, *, history: bool = True, job: Job | None = None) -> CopyReport:
        """Copy this space into ``other``, which is empty, or an older copy that is to be brought up to date.

        Args:
            other: Another open space.
            history: With every commit and its tid; else what there is now, into an empty space.
            job: For progress, and to stop it.

        Raises:
            HubbubError: As `hubbub.backup.copy_history`, or `hubbub.backup.copy_current`.
        """
        from hubbub.backup import copy_current, copy_history

        if history:
            return copy_history(self._mount, other._mount, job=job)
        return copy_current(self._mount, other._mount, job=job)


def oid_of(obj: Any) -> int:
    """Return the oid of a stored object; an oid is returned as it is.

    Raises:
        ConfigurationError: If it has none.
    """
    if isinstance(obj, int):
        return obj
    packed = obj._p_oid if isinstance(obj, persistent.Persistent) else None
    if packed is None:
        raise ConfigurationError(
            f"{obj!r} is not stored in a space: give a persistent object that was committed, or an oid"
        )
    return oid_from_bytes(packed)


def _check_free(root: Any, key: str) -> None:
    if key in root:
        raise ConfigurationError(
            f"the root has a {key!r} already: give another key, or remove that"
        )


def _put_at(key: str) -> Callable[[Any, Any], None]:
    def put(root: Any, obj: Any) -> None:
        _check_free(root, key)
        root[key] = obj

    return put
