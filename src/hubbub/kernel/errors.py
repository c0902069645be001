"""Every error that Hubbub raises on purpose.

    HubbubError
      TransientError        worth trying again: ConflictError, DiskFullError, ReservedError, SnapshotGoneError
      OutcomeUnknownError   may or may not have happened: not to be repeated blindly
      StoreError            the data: UnknownObjectError, UnknownClassError, CorruptRecordError,
                            SpaceInUseError, UnstorableError, NotUniqueError, ReadOnlyError, FeedGapError,
                            PackedError, UndoError, SchemaError: NewerVersionError, UpgradeFailedError
      ProtocolError         a peer or user spoke nonsense (remote), or we did (local); FramingError: no item, but bytes
      AccessError           who you are and what you may: LoginFailedError, NotAllowedError, LimitError,
                            InvalidArgumentsError
      Refused               the application's own no
      ClosedError           you closed it;  BrokenError: they, or the network, did
      RemoteError           the other side failed; its incident number is in the host's log
      NoTransactionError, BlockingError, ConfigurationError, AddressInUseError
      JobStoppedError       somebody stopped a long job: pack, backup, ...
      GraphError, ComponentFailedError, ProcessFailedError, BoxFullError, SubscriberTooSlowError,
      SubscriberDroppedError, Finished, Stopped: components and what joins them

Each has a ``code``, a short word that crosses the wire; ``str()`` says what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hubbub.kernel.identifiers import tid_text

if TYPE_CHECKING:
    from hubbub.kernel.record import Record


class HubbubError(Exception):
    """Base of all errors. ``code`` is a short stable word for programs, the message is for people."""

    code = "error"

    def __init__(self, message: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return self.message or self.code


class TransientError(HubbubError):
    """Nothing was stored; the same work may succeed when it is tried again."""

    code = "transient"


class ConflictError(TransientError):
    """Somebody else committed first and the changes could not be merged (ST4). Nothing was stored."""

    code = "conflict"

    def __init__(
        self, oid: int, class_name: str, read_tid: int, committed_tid: int, reason: str = ""
    ) -> None:
        why = f" ({reason})" if reason else ""
        super().__init__(
            f"object {oid:#x} of class {class_name} was read at tid {tid_text(read_tid)} "
            f"but changed at tid {tid_text(committed_tid)}{why}; run the transaction again"
        )
        self.oid = oid
        self.class_name = class_name
        self.read_tid = read_tid
        self.committed_tid = committed_tid
        self.reason = reason
        self.committed: Record | None = None
        self.base: Record | None = None


class DiskFullError(TransientError):
    """There was no room: certainly nothing was stored. Writing resumes when there is room (ST5)."""

    code = "disk_full"


class ReservedError(TransientError):
    """Another transaction has voted to change the same object and has not finished yet. Nothing was stored."""

    code = "reserved"


class SnapshotGoneError(TransientError):
    """The snapshot was packed away: it had not been used for longer than its lease. Run the transaction again (ST7)."""

    code = "snapshot_gone"


class OutcomeUnknownError(HubbubError):
    """It may have happened or not. Do not repeat it blindly: look first."""

    code = "outcome_unknown"


class StoreError(HubbubError):
    """Something is wrong with stored data or the place where it is kept."""

    code = "store"


class UnknownObjectError(StoreError):
    """No such object, or none yet at that tid."""

    code = "unknown_object"

    def __init__(self, oid: int, at: int | None = None) -> None:
        when = "" if at is None else f" at tid {tid_text(at)}"
        super().__init__(f"there is no object {oid:#x}{when}")
        self.oid = oid
        self.at = at


class UnknownClassError(StoreError):
    """The class of a stored object is not known in this process (SP3), or a value does not fit it any more (SP7).

    Attributes:
        class_name: Stored name of the class.
        misfit: What does not fit; empty where the class is not known.
    """

    code = "unknown_class"

    def __init__(self, class_name: str, what: str = "", misfit: str = "") -> None:
        doing = f" to {what}" if what else ""
        if misfit:
            message = (
                f"a stored value does not fit its class {class_name} as it is here ({misfit}){doing}: "
                "give the class a default or an upgrade step"
            )
        else:
            message = f"class {class_name} is not known here{doing}: import its module first"
        super().__init__(message)
        self.class_name = class_name
        self.misfit = misfit


class CorruptRecordError(StoreError):
    """Stored bytes are damaged (ST6). ``oid`` and ``tid`` say where, as far as it is known."""

    code = "corrupt"

    def __init__(self, message: str, *, oid: int | None = None, tid: int | None = None) -> None:
        super().__init__(message)
        self.oid = oid
        self.tid = tid


class SchemaError(StoreError):
    """A stored state and its class as it is here don't go together (SP7). Nothing was changed.

    Attributes:
        class_name: Stored name of the class.
        stored_version: The version of the class that the state is of.
        class_version: The version that the class has here, or that a step leads to.
        oid: The object whose record it is in; None where that is not known.
        tid: Of the record.
    """

    code = "schema"

    def __init__(
        self, class_name: str, stored_version: int, class_version: int, message: str
    ) -> None:
        super().__init__(message)
        self.class_name = class_name
        self.stored_version = stored_version
        self.class_version = class_version
        self.oid: int | None = None
        self.tid: int | None = None

    def found_in(self, oid: int, tid: int) -> None:
        """Note in which record it was found, unless that is known."""
        if self.oid is None:
            self.oid, self.tid = oid, tid
            self.message = f"object {oid:#x} at tid {tid_text(tid)}: {self.message}"


class NewerVersionError(SchemaError):
    """A state was stored by a newer version of its class than there is here, as after a deploy was rolled back."""

    code = "newer_version"

    def __init__(self, class_name: str, stored_version: int, class_version: int) -> None:
        super().__init__(
            class_name,
            stored_version,
            class_version,
            f"a state of {class_name} is of version {stored_version}, and the class is at version {class_version} "
            "here: run the newer code here too; what is stored is kept as it is",
        )


class UpgradeFailedError(SchemaError):
    """A step that upgrades an old state failed, or there is none. What is stored is as it was."""

    code = "upgrade_failed"

    def __init__(
        self, class_name: str, stored_version: int, class_version: int, reason: str
    ) -> None:
        super().__init__(
            class_name,
            stored_version,
            class_version,
            f"a state of {class_name} can't be upgraded from version {stored_version} to {class_version} ({reason}): "
            "mend the step; what is stored is kept as it is",
        )
        self.reason = reason


class SpaceInUseError(StoreError):
    """Another process owns this space (ST8)."""

    code = "space_in_use"


class FeedGapError(StoreError):
    """The feed does not hold what was asked for: it is packed, or the position is of another space (ST1)."""

    code = "feed_gap"


class PackedError(StoreError):
    """What was asked for lies before the tid up to which the space is packed: it is not kept any more (ST7)."""

    code = "packed"


class UndoError(StoreError):
    """A transaction can't be undone: it is packed away, or what it changed was changed again. Nothing was stored."""

    code = "undo"


class UnstorableError(StoreError):
    """A value can't be stored, or was changed where no change can be kept; ``path`` names it (SP2, SP8)."""

    code = "unstorable"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


class NotUniqueError(StoreError):
    """Two members of a collection would have one value of an attribute whose index is unique.

    Attributes:
        field: The attribute, or several.
        value: The value.
        holder: The key of the member that has it.
        key: The key of the one that would have it, too.
    """

    code = "not_unique"

    def __init__(self, collection: str, field: Any, value: Any, holder: Any, key: Any) -> None:
        super().__init__(
            f"{collection}: {field!r} must be unique, and {value!r} is that of {holder!r} already: "
            f"{key!r} can't have it, too"
        )
        self.field = field
        self.value = value
        self.holder = holder
        self.key = key


class ReadOnlyError(StoreError):
    """A write where only reading is allowed: in a query, or through a read-only mount."""

    code = "read_only"


class ProtocolError(HubbubError):
    """The rules of a wire were broken. ``LocalProtocolError`` by us, ``RemoteProtocolError`` by them."""

    code = "protocol"


class LocalProtocolError(ProtocolError):
    """This side asked for what the protocol does not allow now. Nothing has changed."""


class RemoteProtocolError(ProtocolError):
    """The other side sent what the protocol does not allow. The connection ends."""


class FramingError(ProtocolError):
    """Bytes that came are no item, or an item can't become bytes, in the framing that was chosen.

    Attributes:
        items: What had come, whole, before the fault.
    """

    code = "framing"

    def __init__(self, message: str = "", *, items: list[Any] | None = None) -> None:
        super().__init__(message)
        self.items = items or []


class AccessError(HubbubError):
    """Who you are does not allow it."""

    code = "access"


class LoginFailedError(AccessError):
    """The credentials were not accepted, or the name is taken."""

    code = "login_failed"


class NotAllowedError(AccessError):
    """No such command, query, view or stream for this caller, or the right was taken back."""

    code = "not_allowed"


class LimitError(AccessError):
    """A declared limit was reached. Nobody else notices."""

    code = "limit"


class InvalidArgumentsError(AccessError):
    """The arguments do not fit what is called (PE1). ``parameter`` names the culprit, if it is one. Nothing ran."""

    code = "invalid"

    def __init__(self, message: str = "", *, parameter: str = "", code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.parameter = parameter


class Refused(HubbubError):  # noqa: N818 - it is an answer, not a fault
    """The application's own no: ``raise Refused("empty", "Say something.")`` in a command aborts it and
    crosses to the caller as it is (PE2)."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message, code=code)


class ClosedError(HubbubError):
    """It was closed on this side."""

    code = "closed"


class BrokenError(HubbubError):
    """The other side, or the network between, went away."""

    code = "broken"


class RemoteError(HubbubError):
    """The other side failed while it worked for us. ``incident`` finds the cause in the host's log."""

    code = "internal"

    def __init__(self, message: str, *, incident: str = "", code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.incident = incident


class NoTransactionError(HubbubError):
    """A shared object was changed, or something sent, outside a transaction."""

    code = "no_transaction"


class BlockingError(HubbubError):
    """A command or query did something that blocks; use an action (PE8, in dev mode)."""

    code = "blocking"


class ConfigurationError(HubbubError):
    """The application or its configuration does not make sense; the message says what to change."""

    code = "configuration"


class AddressInUseError(ConfigurationError):
    """A port or socket path is taken."""

    code = "address_in_use"


class JobStoppedError(HubbubError):
    """A long job was stopped before its end; its docstring says what is left."""

    code = "job_stopped"


class GraphError(ConfigurationError):
    """A graph of components can't be built or started as it is declared; the message names the box or the cycle."""

    code = "graph"


class ComponentFailedError(HubbubError):
    """A component failed, and its graph with it (FL3). ``__cause__`` is what it raised.

    Attributes:
        component: The path of the component that failed first, such as ``demux.filter``.
        others: What other components of the graph raised while it was taken down, by path.
    """

    code = "component_failed"

    def __init__(
        self, component: str, cause: BaseException, others: dict[str, BaseException] | None = None
    ) -> None:
        super().__init__(f"component {component} failed: {type(cause).__name__}: {cause}")
        self.component = component
        self.others = {} if others is None else others  # may grow while the others are taken down


class ProcessFailedError(HubbubError):
    """A program that ran as a component ended with a status that says failure, or by a signal.

    Attributes:
        command: The program and its arguments.
        status: Its exit status; below 0 for the number of a signal.
        last_lines: The last lines of its standard error.
    """

    code = "process_failed"

    def __init__(self, command: str, status: int, last_lines: Sequence[str] = ()) -> None:
        how = f"exit status {status}" if status >= 0 else f"signal {-status}"
        said = "".join(f"\n  {line}" for line in last_lines) or " nothing"
        super().__init__(f"{command} ended with {how}; its standard error said:{said}")
        self.command = command
        self.status = status
        self.last_lines = tuple(last_lines)


class BoxFullError(TransientError):
    """A box is full and its policy is to say so. Nothing was put in."""

    code = "box_full"


class SubscriberTooSlowError(HubbubError):
    """A subscriber did not read fast enough and was taken off its backplane; publishing went on without it.

    Attributes:
        who: The subscriber.
        dropped: How many items it had not read.
    """

    code = "too_slow"

    def __init__(self, message: str, *, who: str = "", dropped: int = 0) -> None:
        super().__init__(message)
        self.who = who
        self.dropped = dropped


class SubscriberDroppedError(HubbubError):
    """A subscriber of a queue was dropped; what it had not fetched is lost to it. Subscribing again begins anew.

    Attributes:
        dropped: How many items it had not fetched.
    """

    code = "dropped"

    def __init__(self, message: str, *, dropped: int = 0) -> None:
        super().__init__(message)
        self.dropped = dropped


class Finished(HubbubError):  # noqa: N818 - the good end of a stream is no fault
    """All producers have finished and all that they sent has been read."""

    code = "finished"


class Stopped(HubbubError):  # noqa: N818 - it is a command: end now
    """The component's graph is stopped: end now. What was not handled is not."""

    code = "stopped"
