"""Bring the objects of a ZODB into a space as Hubbub's own: the present state of what its root reaches.

    ZODB                                    Hubbub
    root, PersistentMapping                 `Root`, `Map`
    PersistentList                          `List`
    B-trees of `BTrees`, all kinds          the same
    BTrees.Length                           `Counter`
    ZODB.blob.Blob                          `Blob`
    persistent.wref.WeakRef                 `WeakRef`
    any other persistent class              the same class, with the same attributes
    plain values                            the same

So the classes have to be importable here, and what they hold has to be storable (SP2). All of it is converted, in
memory, before anything is written; then it is one transaction.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import msgspec
import transaction
import ZODB
from ZODB.POSException import POSError

import hubbub.mount
from hubbub.kernel import ConfigurationError, Job, StoreError
from hubbub.zodb.converting import Converter, Problem

_SHOWN = 20


class NativeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What has been brought as Hubbub's own objects.

    Attributes:
        objects: How many objects, the root not counted.
        problems: What was left out.
    """

    objects: int = 0
    problems: Sequence[Problem] = ()


class NotAllBroughtError(StoreError):
    """Something can't be brought as Hubbub's own. Nothing was written.

    Attributes:
        problems: All of it.
    """

    code = "not_all_brought"

    def __init__(self, problems: Sequence[Problem]) -> None:
        shown = [f"\n  {problem}" for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            shown.append(f"\n  and {len(problems) - _SHOWN} more")
        super().__init__(
            f"not all can be brought as Hubbub's own objects:{''.join(shown)}\n"
            "Nothing was written. Make the classes importable and their values storable, or leave these out (--partial)"
        )
        self.problems = problems


def import_native(
    source: Any,
    target: str | os.PathLike[str],
    *,
    token: str = "",
    partial: bool = False,
    job: Job | None = None,
) -> NativeReport:
    """Bring what the root of ``source`` reaches into the empty root of ``target``, in one transaction.

    Args:
        source: A storage of ZODB's (`hubbub.zodb.importing.open_source`); it is closed.
        target: A space, as for `hubbub.open`.
        token: What its host asks of peers.
        partial: Leave out each attribute and item that holds what can't be brought.
        job: For progress, in objects, and to stop it.

    Raises:
        NotAllBroughtError: Something can't be brought, and it is not partial.
        ConfigurationError: The target's root is not empty.
        StoreError: The source can't be read.
        JobStoppedError: It was stopped.
        HubbubError: As `hubbub.open`, and `hubbub.mount.Mount.commit`. In all cases nothing was written.
    """
    job = job or Job()
    manager = transaction.TransactionManager()
    try:
        database = ZODB.DB(source)
    except POSError as error:
        raise StoreError(f"this storage can't be read, or is empty: {error!r}") from error
    connection = database.open(manager)
    try:
        with hubbub.mount.open(target, token=token) as space, closing(space.connect()) as there:
            if len(there.root):
                raise ConfigurationError(
                    f"the root of {os.fspath(target)} is not empty: give a new space, and move what you want then"
                )
            converter = Converter(connection)
            items = converter.items_of(connection.root())
            count = 0
            while converter.convert_next():
                count += 1
                job.step("bringing objects", count)
            if converter.problems and not partial:
                raise NotAllBroughtError(converter.problems)
            there.root.update(items)
            there.commit("brought from a ZODB")
            return NativeReport(objects=count, problems=converter.problems)
    finally:
        manager.abort()
        connection.close()
        database.close()
