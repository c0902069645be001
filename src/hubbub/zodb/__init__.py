"""Hubbub under an application of ZODB's: a storage over any Hubbub store; its configuration is all that changes.

`HubbubStorage` is what `ZODB.DB` takes; ``%import hubbub.zodb`` brings its section ``<hubbub>`` into ZODB's
configuration. It needs ZODB itself: ``pip install "hubbub[zodb]"``.

    ZODB                      Hubbub
    oid, tid                  the same 64 bits
    data record               a record whose payload is the pickle, whose class is called ``zodb:module.Class`` and
                              whose references are those that ZODB finds in the pickle
    user, description         ``Label.identity``, ``Label.note``
    extension                 ``Label.extra``
    blob                      a blob of the record

Nothing here unpickles an object: ZODB does, in the process that uses the storage. A host that serves the space neither
has nor runs the application's classes.
"""

from __future__ import annotations

from hubbub.zodb.storage import HubbubStorage

__all__ = ["HubbubStorage"]
