"""The base classes of shared objects.

    GHOST  --any attribute-->  UP TO DATE  --attribute set-->  CHANGED  --commit-->  UP TO DATE
      ^--cache pressure, invalidation, end of a query--'            '--abort--> GHOST

The states and the change tracking are `persistent`'s, in C. What is added here: a stored class name of the author's
choice, volatile attributes that outlive the ghost state (SP4), and objects that live in the host's memory only.
"""

from __future__ import annotations

from typing import Any, ClassVar

import persistent

from hubbub.space.classes import register

_deactivate = persistent.Persistent._p_deactivate


class Persistent(persistent.Persistent):
    """An ordinary class whose instances are shared: they persist and change only in transactions.

    Set attributes as always. Attributes that begin with ``_v_`` are never stored; in a long-lived connection they
    last as long as the connection.

    ``class Room(Persistent, name="chat.Room")`` chooses the name under which its records are stored; without it that
    is ``module:Room``. ``formerly=("old:Hall",)`` says under which names they were stored before, and ``version=2``
    that older records are upgraded by steps (`upgrade`) when they are loaded.
    """

    _hubbub_ephemeral: ClassVar[bool] = False
    _hubbub_implicit: ClassVar[bool] = False

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        formerly: str | tuple[str, ...] = (),
        version: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None:
            cls.__hubbub_name__ = name
        if Persistent in cls.__bases__ and "_hubbub_ephemeral" not in cls.__dict__:
            cls._hubbub_ephemeral = False
        register(cls, None, formerly, version)

    def _p_deactivate(self) -> None:
        jar = self._p_jar
        if jar is not None and self._p_state >= 0:
            jar.keep_volatile(self)
        _deactivate(self)

    def __repr__(self) -> str:
        oid = self._p_oid
        where = "new" if oid is None else f"{int.from_bytes(oid, 'big'):#x}"
        return f"<{type(self).__qualname__} {where}>"


class Ephemeral(Persistent):
    """A shared object that takes part in transactions, tracking and the feed like a persistent one, but lives in the
    host's memory only and is gone at a restart. A durable object can't refer to one.

    A subclass that names `Persistent` among its own bases is durable again.
    """

    _hubbub_ephemeral = True
