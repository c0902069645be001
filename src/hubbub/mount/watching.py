"""What goes on and on: positions in the feed, and live queries in a peer.

A watch runs its function in a workspace of its own, where everything is a ghost between two runs, so what a run wakes
is exactly what it read. It runs again when something of that changed (LV2's rule, on the peer's side).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from hubbub.kernel import ClosedError, Tid, tid_time
from hubbub.mount.base import Mount
from hubbub.mount.workspace import Workspace
from hubbub.space.context import Transaction, running


class Change(NamedTuple):
    """A position in the space's feed.

    Attributes:
        tid: Everything up to it is known here.
        oids: What changed since the position before; None if that is not known, as at first.
    """

    tid: Tid
    oids: frozenset[int] | None


def read_at(workspace: Workspace, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Run ``fn`` on the snapshot of ``workspace``: `now` is the snapshot's time, chance repeats itself."""
    tid = workspace.tid
    transaction = Transaction(
        workspace.objects,
        tid_time(tid) if tid else time.time(),
        read_only=True,
        seed=tid,
        tid=tid,
    )
    with running(transaction):
        value = fn(workspace.objects.root, *args)
        # What an iterator would read later, nobody would notice.
        return list(value) if isinstance(value, Iterator) else value


class Watch:
    """Run ``fn`` again whenever what it read has changed. One thread at a time runs it."""

    def __init__(self, mount: Mount, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._mount = mount
        self._fn = fn
        self._args = args
        self._workspace: Workspace | None = None
        self._tid = Tid(0)
        self._reads: frozenset[int] = frozenset()

    @property
    def tid(self) -> Tid:
        """The answer is right up to this tid."""
        return self._tid

    def run(self) -> Any:
        """Return the answer at the newest snapshot."""
        if self._workspace is None:
            self._workspace = Workspace(self._mount, read_only=True)
        workspace = self._workspace
        self._tid = workspace.move()
        objects = workspace.objects
        objects.track()
        try:
            value = read_at(workspace, self._fn, self._args)
        except BaseException:
            objects.drop_track()
            raise
        finally:
            workspace.rest()
        self._reads = objects.end_track()
        return value

    def is_touched(self) -> bool:
        """Tell whether something that the last run read has changed. Does not wait."""
        newest, changed = self._mount.changed_since(self._tid)
        if changed is None or not changed.isdisjoint(self._reads):
            return True
        self._tid = newest
        return False


def watch(mount: Mount, fn: Callable[..., Any], args: tuple[Any, ...]) -> Iterator[Any]:
    """Yield the answers of ``fn``; ends when ``mount`` is closed."""
    watching = Watch(mount, fn, args)
    while True:
        try:
            answer = watching.run()
        except ClosedError:
            return
        yield answer
        try:
            while not watching.is_touched():
                mount.wait(watching.tid)
        except ClosedError:
            return


def changes(mount: Mount) -> Iterator[Change]:
    """Yield 'now', then each move of the newest tid; ends when ``mount`` is closed."""
    try:
        change = Change(mount.begin(), None)
        while True:
            yield change
            mount.wait(change.tid)
            change = Change(*mount.changed_since(change.tid))
    except ClosedError:
        return
