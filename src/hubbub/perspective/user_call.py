"""One call of a user, from the moment its arguments have been checked until its outcome is told.

It is made for each call, so it is one small object whose methods are handed to the host: the body that runs in the
serial thread, and what is told in the loop.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hubbub.kernel import Label, NotAllowedError, tid_text
from hubbub.perspective.declarations import Declaration, declarations_of
from hubbub.perspective.encoding import encode
from hubbub.perspective.failures import failure_of
from hubbub.perspective.host import Outcome
from hubbub.perspective.seat import Seat
from hubbub.perspective.stored_sessions import CALL, call_value
from hubbub.space import context
from hubbub.space.connection import Connection


class UserCall:
    """Call ``id`` of the session at ``seat``."""

    __slots__ = ("args", "declaration", "id", "kwargs", "seat")

    def __init__(self, seat: Seat, id: int) -> None:  # noqa: A002 - the wire's word
        self.seat = seat
        self.id = id
        self.declaration: Declaration
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}

    def check(
        self, cls: type, name: str, kinds: frozenset[str], args: msgspec.Raw, kwargs: msgspec.Raw
    ) -> Declaration:
        """Find what is called and check its arguments (PE1).

        Raises:
            NotAllowedError: If ``cls`` declares no ``name`` of these kinds.
            InvalidArgumentsError: If the arguments don't fit.
        """
        declaration = self.declaration = declared(cls, name, kinds)
        arguments = declaration.arguments
        self.args, self.kwargs = arguments.decode(self.seat.session.form, args, kwargs)
        return declaration

    def label(self, cls: type | None = None) -> Label:
        """Return what is kept with the commit; ``cls`` is the class of the object, None for the avatar's own."""
        declaration, seat = self.declaration, self.seat
        recorded = b""
        if declaration.options.record:
            recorded = declaration.arguments.encode(self.args, self.kwargs)
        name = declaration.name if cls is None else f"{cls.__name__}.{declaration.name}"
        return Label(seat.identity.id, seat.avatar_class.__qualname__, name, recorded)

    # --- serial thread ------------------------------------------------------------------------------------------------

    def query(self, connection: Connection) -> bytes:
        """Run a query of the avatar."""
        seat = self.seat
        value = self.declaration.function(seat.avatar(connection), *self.args, **self.kwargs)
        return encode(value, seat.session.form, seat.reference)

    def command(self, connection: Connection) -> bytes:
        """Run a command of the avatar."""
        return self.keep(self.query(connection))

    def keep(self, result: bytes) -> bytes:
        """Store the call's id and result in its own commit (PE4)."""
        seat = self.seat
        if not seat.transient:
            transaction = context.required("a command")
            value = call_value(result, tid_text(transaction.tid))
            transaction.record_rows.append((CALL, seat.call_key(self.id), value))
        return result

    # --- loop ---------------------------------------------------------------------------------------------------------

    def done(self, outcome: Outcome) -> None:
        """Tell the user how it ended."""
        seat = self.seat
        if seat.ended:
            return
        if outcome.error is not None:
            failure = failure_of(outcome.error, f"call {self.id} of {seat.identity.id}")
            seat.session.result(self.id, "", None, failure)
        else:
            tid = tid_text(outcome.tid) if outcome.tid else ""
            seat.session.result(self.id, tid, outcome.value, None)


def declared(cls: type, name: str, kinds: frozenset[str]) -> Declaration:
    """Return what ``cls`` declares as ``name``.

    Raises:
        NotAllowedError: If there is no such thing of these kinds.
    """
    declaration = declarations_of(cls).get(name)
    if declaration is None or declaration.kind not in kinds:
        raise NotAllowedError(
            f"{cls.__name__} declares no {name!r} that can be called so", code="undeclared"
        )
    return declaration
