r"""A long-lived connection that takes part in the transactions of the ``transaction`` package, beside other resources.

Theory of operation
===================

The connection joins the manager's transaction at its first change, and also when an object wakes that holds a plain
mutable value: a change in that can't be seen (SP8). The manager then asks in two phases:

    tpc_begin --commit--> changeset --tpc_vote--> ballot --tpc_finish--> committed
                               \                    '----tpc_abort-----> dropped
                                '-- alone: committed in one message

With others it votes: what it writes is reserved, so that its `tpc_finish` can't fail but for the disk. Alone it has
nobody to wait for. A process that ends between two managers' `tpc_finish` leaves one of them committed and the other
not: that is in the nature of the protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from transaction import interfaces

from hubbub.kernel import (
    BrokenError,
    Changeset,
    ClosedError,
    ConfigurationError,
    Tid,
    TransientError,
)
from hubbub.mount.base import Ballot, Mount
from hubbub.mount.workspace import ConnectionSavepoint, SpaceConnection, Workspace, peer_label
from hubbub.space.connection import Connection
from hubbub.space.context import annotated


class _Objects(Connection):
    """Objects that tell when they begin to change, or may."""

    join: Callable[[], None]

    def setstate(self, obj: Any) -> None:
        super().setstate(obj)
        if self._mutable:
            try:
                self.join()
            except (interfaces.NoTransaction, interfaces.TransactionFailedError, ValueError):
                # There is no transaction, or it is at its end: to look is all right, and the next begins with ghosts.
                pass

    def register(self, obj: Any) -> None:
        try:
            self.join()
        except BaseException:
            self._spoiled.append(obj)
            raise
        super().register(obj)


class JoinedConnection(SpaceConnection):
    """A `SpaceConnection` that a transaction manager commits and aborts.

    It sees one snapshot per transaction of the manager (SP1), in the thread that made it.

    Args:
        mount: Of the space.
        transaction_manager: Such as ``transaction.manager``.
        at: Look at this tid for good, to read only.
        serializable: Rely on all that a transaction has read.
    """

    _objects = _Objects

    def __init__(
        self,
        mount: Mount,
        transaction_manager: Any,
        at: int | None = None,
        *,
        serializable: bool = False,
    ) -> None:
        super().__init__(mount, at, serializable=serializable)
        workspace = super()._open()
        self._resource = _Resource(workspace, transaction_manager, is_past=at is not None)
        objects = workspace.objects
        assert isinstance(objects, _Objects)
        objects.join = self._resource.join
        transaction_manager.registerSynch(self._resource)

    def _open(self) -> Workspace:
        workspace = super()._open()
        if self._resource.is_stale:
            self._resource.move()
        return workspace

    def commit(self, *args: Any, **options: Any) -> NoReturn:
        """Not here: the transaction manager commits. Raises `ConfigurationError`."""
        raise self._by_manager("commit")

    def abort(self) -> None:
        """Not here: the transaction manager aborts. Raises `ConfigurationError`."""
        raise self._by_manager("abort")

    def savepoint(self) -> NoReturn:
        """Not here: the transaction manager sets savepoints. Raises `ConfigurationError`."""
        raise self._by_manager("savepoint")

    def _by_manager(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"this connection takes part in the transactions of a manager: call the manager's {what}()"
        )

    def sync(self) -> Tid:
        """Make a round trip and go on at the newest snapshot there is.

        Raises:
            ConfigurationError: In the middle of a transaction that has changed something here.
        """
        workspace = self._open()
        if self._resource.is_joined and workspace.objects.has_changed:
            raise ConfigurationError(
                "this connection has changes: commit or abort the manager's transaction first"
            )
        if not self._is_past:
            workspace.mount.sync()
            workspace.objects.abort()
            workspace.move()
        return workspace.tid

    def close(self) -> None:
        """Give up all changes and leave the manager. Idempotent.

        A transaction of the manager that it takes part in can only be aborted then.
        """
        if self._workspace is not None:
            self._resource.leave()
        super().close()


class _Resource:
    """What the transaction manager talks to: a data manager, and a synchronizer."""

    def __init__(self, workspace: Workspace, manager: Any, *, is_past: bool) -> None:
        self.transaction_manager = manager
        self._workspace = workspace
        self._is_past = is_past
        self._is_closed = False
        self.is_joined = False
        self.is_stale = False
        self._forget()

    def _forget(self) -> None:
        self._changeset: Changeset | None = None
        self._ballot: Ballot | None = None
        self._stored: tuple[Tid, list[int]] | None = None

    def join(self) -> None:
        """Take part in the manager's transaction."""
        if not self.is_joined:
            self.transaction_manager.get().join(self)
            self.is_joined = True

    def leave(self) -> None:
        """Take part in nothing any more."""
        self._is_closed = True
        synchs = self.transaction_manager
        try:
            synchs.unregisterSynch(self)
        except KeyError:
            pass  # another thread's manager, or one that has been cleared

    def move(self) -> None:
        """Go to the newest snapshot."""
        if not self._is_past:
            self._workspace.move()
        self.is_stale = False

    # --- as a synchronizer --------------------------------------------------------------------------------------------

    def newTransaction(self, transaction: Any) -> None:  # noqa: N802 - the package's name
        self._refresh()

    def beforeCompletion(self, transaction: Any) -> None:  # noqa: N802
        """Nothing to do."""

    def afterCompletion(self, transaction: Any) -> None:  # noqa: N802
        self._refresh()

    def _refresh(self) -> None:
        if self._is_closed or self.is_joined:
            return
        try:
            self.move()
        except (BrokenError, ClosedError):
            # The transaction has ended as it has: whoever uses the connection next is told.
            self.is_stale = True

    # --- as a data manager --------------------------------------------------------------------------------------------

    def sortKey(self) -> str:  # noqa: N802
        """Return the same for the same space in all processes, so that they vote in one order."""
        return f"hubbub:{getattr(self._workspace.mount, 'address', '')}:{id(self):x}"

    def savepoint(self) -> ConnectionSavepoint:
        return ConnectionSavepoint(self._workspace.objects)

    def should_retry(self, error: BaseException) -> bool:
        """Tell whether the transaction may succeed when it is run again."""
        return isinstance(error, TransientError)

    def abort(self, transaction: Any) -> None:
        self._workspace.objects.abort()
        self._forget()
        self.is_joined = False

    def tpc_begin(self, transaction: Any) -> None:
        self._forget()

    def commit(self, transaction: Any) -> None:
        if self._is_closed:
            raise ClosedError("the connection was closed in the middle of this transaction")
        label = annotated(
            peer_label(),
            transaction.description.strip() or None,
            transaction.user.strip() or None,
            transaction.extension,
        )
        self._changeset = self._workspace.changeset(None, label)

    def tpc_vote(self, transaction: Any) -> None:
        changeset = self._changeset
        if changeset is None:
            return
        mount = self._workspace.mount
        try:
            if len(transaction._resources) == 1:
                self._stored = mount.commit(changeset)
            else:
                self._ballot = mount.vote(changeset)
        except TransientError as error:
            raise _transient(error) from None

    def tpc_finish(self, transaction: Any) -> None:
        changeset = self._changeset
        if changeset is None:
            self._workspace.objects.abort()
        else:
            if self._ballot is not None:
                self._stored = self._workspace.mount.finish(self._ballot)
                self._ballot = None
            assert self._stored is not None
            self._workspace.committed(changeset, *self._stored)
        self._forget()
        self.is_joined = False

    def tpc_abort(self, transaction: Any) -> None:
        ballot = self._ballot
        self.abort(transaction)
        if ballot is not None:
            self._workspace.mount.drop(ballot)


_duals: dict[type, Any] = {}


def _transient(error: TransientError) -> TransientError:
    """Return ``error`` as what programs that know only the ``transaction`` package run again, too."""
    kind = type(error)
    dual = _duals.get(kind)
    if dual is None:
        names = {"__module__": kind.__module__, "__doc__": kind.__doc__}
        dual = _duals[kind] = type(kind.__name__, (kind, interfaces.TransientError), names)
    error.__class__ = dual
    return error
