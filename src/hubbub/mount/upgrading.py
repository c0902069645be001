"""Rewrite what is of an older shape, all of it: so that old steps and former names can be taken out of the code (SP7).

Nothing needs it: what is old is upgraded whenever it is loaded. It goes through the objects by their oids, in small
transactions beside everybody else's. Stopped, it has done a part; run again, it does the rest.
"""

from __future__ import annotations

from hubbub.kernel import ConflictError, Job, UnknownObjectError
from hubbub.mount.base import Mount
from hubbub.mount.workspace import Workspace, peer_label
from hubbub.space.classes import class_name
from hubbub.space.containers.log import Log, forget_encoded
from hubbub.space.context import Transaction, running
from hubbub.space.placeholders import UnknownObject
from hubbub.space.states import encode_object

_BATCH = 200


class Upgrade:
    """Rewrite a space.

    Args:
        mount: Its mount.
        job: Told how far it is; may be stopped between two transactions.
    """

    def __init__(self, mount: Mount, job: Job | None = None) -> None:
        self._mount = mount
        self._job = job or Job()
        self._label = peer_label()
        self._workspace = Workspace(mount)

    def run(self) -> int:
        """Rewrite everything that would be stored otherwise today; return how many objects that were.

        Objects of classes that are not known here stay as they are.

        Raises:
            SchemaError: If an object can't be upgraded; what came before it is done.
            JobStoppedError: If the job was stopped; the same.
            HubbubError: What a commit raises; the same.
        """
        at = self._mount.begin()
        after, looked_at, rewritten = -1, 0, 0
        while records := self._mount.upkeep.current(after, at, _BATCH):
            after = records[-1].oid
            rewritten += self._rewrite([record.oid for record in records])
            looked_at += len(records)
            self._job.step("upgrading", looked_at)
        return rewritten

    def _rewrite(self, oids: list[int]) -> int:
        """Rewrite some objects in one transaction, again if somebody else has changed one meanwhile."""
        workspace = self._workspace
        while True:
            workspace.move()
            try:
                with running(Transaction(workspace.objects, 0.0, label=self._label)):
                    old = [oid for oid in oids if self._touch_if_old(oid)]
                    if old:
                        workspace.commit(None, self._label)
            except ConflictError:
                workspace.objects.abort()
                continue
            except BaseException:
                workspace.objects.abort()
                raise
            if not old:
                workspace.objects.abort()
            return len(old)

    def _touch_if_old(self, oid: int) -> bool:
        """Have the object stored anew if that gives other bytes than it has now; tell whether it does."""
        objects = self._workspace.objects
        try:
            record = objects.source.load(oid)
        except UnknownObjectError:
            return False  # it has gone meanwhile
        obj = objects.get(oid, record.class_name)
        if isinstance(obj, UnknownObject):
            return False
        if isinstance(obj, Log):
            forget_encoded(obj)
        payload, _ = encode_object(obj, objects.add)
        is_old = payload != record.payload or class_name(type(obj)) != record.class_name
        if is_old:
            obj._p_changed = True
        return is_old
