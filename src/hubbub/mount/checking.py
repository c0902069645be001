"""Walk a whole space, from the root along all references, and tell what would not load with the classes known here.

Theory of operation
===================

The walk goes into the depth: so the way from the root to the object in hand is always there, and of the others only one
bit each is remembered. It stands on one snapshot, reads only, and may stand on a space that is in use.
"""

from __future__ import annotations

from typing import NamedTuple

from hubbub.kernel import (
    ROOT_OID,
    CorruptRecordError,
    HubbubError,
    Job,
    Record,
    Tid,
    UnknownObjectError,
    is_ephemeral,
)
from hubbub.mount.base import Mount
from hubbub.mount.workspace import Snapshot
from hubbub.space.classes import find_class
from hubbub.space.connection import Connection
from hubbub.space.containers import Collection
from hubbub.space.examining import Examiner, Misfit
from hubbub.space.paths import path_of

_STEP = 1000
_PAGE_BITS = 1 << 16


class Finding(NamedTuple):
    """What does not fit, with how often and where.

    Attributes:
        misfit: What.
        objects: In how many objects.
        oid: The first of these.
        path: The way to it from the root.
    """

    misfit: Misfit
    objects: int
    oid: int
    path: str


class Checked(NamedTuple):
    """What a check found.

    Attributes:
        tid: The snapshot that was looked at.
        objects: How many objects the root leads to.
        classes: How many of each stored class name.
        findings: What would not load, in the order in which it was met.
        upgraded: How many of each class are of an older version, and are upgraded when they are loaded.
        renamed: How many have each former name of a class.
    """

    tid: Tid
    objects: int
    classes: dict[str, int]
    findings: list[Finding]
    upgraded: dict[str, int]
    renamed: dict[str, int]


class _Seen:
    """A set of oids, one bit each."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def add(self, oid: int) -> bool:
        """Add ``oid``; tell whether it was not there."""
        number, bit = divmod(oid, _PAGE_BITS)
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = bytearray(_PAGE_BITS // 8)
        mask = 1 << (bit & 7)
        if page[bit >> 3] & mask:
            return False
        page[bit >> 3] |= mask
        return True


class Check:
    """Check a space.

    Args:
        mount: Its mount; nothing is written.
        job: Told how far it is; may be stopped.
    """

    def __init__(self, mount: Mount, job: Job | None = None) -> None:
        self._job = job or Job()
        self._snapshot = Snapshot(mount, mount.begin())
        self._ghosts = Connection(self._snapshot, read_only=True)
        self._examiner = Examiner(self._ghosts.get)
        self._classes: dict[str, int] = {}
        self._upgraded: dict[str, int] = {}
        self._renamed: dict[str, int] = {}
        self._found: dict[Misfit, Finding] = {}
        self._objects = 0

    def run(self) -> Checked:
        """Walk, and return what was found.

        Raises:
            JobStoppedError: If the job was stopped.
            HubbubError: What the mount raises but for damage, which is among the findings.
        """
        seen = _Seen()
        seen.add(ROOT_OID)
        path: list[tuple[int, list[int]]] = []
        following: list[int] = [ROOT_OID]
        while True:
            while following:
                oid = following.pop()
                record = self._load(oid, path)
                if record is None:
                    continue
                self._examine(record, path)
                path.append((oid, following))
                # Backwards: the first is looked at first.
                following = [
                    ref for ref in reversed(record.refs) if not is_ephemeral(ref) and seen.add(ref)
                ]
            if not path:
                break
            _, following = path.pop()
        return Checked(
            Tid(self._snapshot.tid),
            self._objects,
            self._classes,
            list(self._found.values()),
            self._upgraded,
            self._renamed,
        )

    def _load(self, oid: int, path: list[tuple[int, list[int]]]) -> Record | None:
        try:
            return self._snapshot.load(oid)
        except UnknownObjectError:
            if oid != ROOT_OID:
                self._note(Misfit("missing object", self._class_of(path)), oid, path)
        except CorruptRecordError as error:
            self._note(Misfit("damaged", self._class_of(path), str(error)), oid, path)
        return None

    def _class_of(self, path: list[tuple[int, list[int]]]) -> str:
        """Return the class of the object that the walk comes from."""
        return self._snapshot.load(path[-1][0]).class_name if path else "?"

    def _examine(self, record: Record, path: list[tuple[int, list[int]]]) -> None:
        name = record.class_name
        self._objects += 1
        self._classes[name] = self._classes.get(name, 0) + 1
        examined = self._examiner.examine(record)
        if examined.is_upgraded:
            self._upgraded[name] = self._upgraded.get(name, 0) + 1
        if examined.is_renamed:
            self._renamed[name] = self._renamed.get(name, 0) + 1
        for misfit in (*examined.misfits, *self._behind(record)):
            self._note(misfit, record.oid, path)
        if self._objects % _STEP == 0:
            self._ghosts.abort()  # its cache shrinks to its size
            self._job.step("checking", self._objects)

    def _behind(self, record: Record) -> list[Misfit]:
        """Tell if a collection's indexes are not what its members would have them be."""
        cls = find_class(record.class_name)
        if cls is None or not issubclass(cls, Collection):
            return []
        try:
            faults = self._ghosts.get(record.oid, record.class_name).check()
        except HubbubError:
            return []  # a member does not load, which is told of it
        return [Misfit("index is behind", record.class_name)] if faults else []

    def _note(self, misfit: Misfit, oid: int, path: list[tuple[int, list[int]]]) -> None:
        found = self._found.get(misfit)
        if found is None:
            chain = [self._snapshot.load(above) for above, _ in path]
            self._found[misfit] = Finding(misfit, 1, oid, path_of(chain, oid))
        else:
            self._found[misfit] = found._replace(objects=found.objects + 1)
