"""Live queries: answers that stay true (LV1, LV2, LV3).

Theory of operation
===================

A live query is run once, notes which objects it read, and is run again when a group of commits has touched one of
them: once for all who watch it, however many commits the group had. Its answer is encoded once for each form.

    NEW --first watcher--> CURRENT --commit touched what it read--> DUE --run--> CURRENT
                              '--last watcher left, or it failed--> GONE

A view that returns a container itself is not run again for a change inside it: the keyed changes that the commit
carries become the patch (LV3). Where a commit changed the container without saying how (a merge), it is run again.

Everything here belongs to the serial thread; updates leave through `deliver`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from hubbub.kernel import Commit, HubbubError, Limits, NotAllowedError, tid_text
from hubbub.perspective.encoding import encode
from hubbub.perspective.failures import failure_of
from hubbub.perspective.new_answer import NewAnswer
from hubbub.space.connection import Connection
from hubbub.space.containers import changes_as_patch, container_value, is_container
from hubbub.space.live import LiveSpace
from hubbub.wire import patch as patches
from hubbub.wire.session import Failure

log = logging.getLogger("hubbub.live")

Watcher = tuple[str, int]
"""Session id and watch id."""


class Update:
    """A new answer for some watchers.

    Attributes:
        watchers: (session id, watch id) of those it is for.
        tid: The tid of the answer, as text.
        base_tid: The tid of the answer that ``patch`` starts from; empty without one.
        value: form -> whole answer; empty where only a patch is at hand (LV3).
        patch: form -> patch.
        failure: Why the watch has ended, or None.
    """

    __slots__ = ("base_tid", "failure", "patch", "tid", "value", "watchers")

    def __init__(self, watchers: tuple[Watcher, ...], tid: str) -> None:
        self.watchers = watchers
        self.tid = tid
        self.base_tid = ""
        self.value: dict[str, bytes] = {}
        self.patch: dict[str, bytes] = {}
        self.failure: Failure | None = None

    def told_as(self, watch_id: int, form: str) -> NewAnswer:
        """Return it as sessions of ``form`` get it that watch under the number ``watch_id``."""
        return NewAnswer(
            watch_id, form, self.tid, self.value.get(form), self.patch.get(form), self.base_tid
        )


class LiveQuery:
    """One query or view with its arguments, and everybody who watches it."""

    __slots__ = (
        "body",
        "container",
        "content_reads",
        "encoded",
        "forms",
        "key",
        "reads",
        "tid",
        "value",
        "watchers",
        "what",
    )

    def __init__(self, key: Hashable, what: str, body: Callable[[Connection], Any]) -> None:
        self.key = key
        self.what = what
        self.body = body
        self.watchers: dict[Watcher, str] = {}
        self.forms: set[str] = set()
        self.reads: frozenset[int] = frozenset()
        self.content_reads: frozenset[int] = frozenset()
        self.container: int = 0
        self.tid = ""
        self.value: Any = None
        self.encoded: dict[str, bytes] = {}


class LiveQueries:
    """All live queries of a host.

    Args:
        live: Runs them.
        deliver: Takes the updates of one round; must not wait.
        begin_body, end_body: Told around each run, for the log of slow bodies.
        limits: ``max_live_queries`` and ``kept_answer_bytes`` bound what is kept (PE7).
    """

    def __init__(
        self,
        live: LiveSpace,
        deliver: Callable[[list[Update]], None],
        begin_body: Callable[[str], object] = lambda _: None,
        end_body: Callable[[], None] = lambda: None,
        limits: Limits | None = None,
    ) -> None:
        self._live = live
        self._deliver = deliver
        self._begin_body = begin_body
        self._end_body = end_body
        self._queries: dict[Hashable, LiveQuery] = {}
        self._readers: dict[int, set[LiveQuery]] = {}
        self._by_watcher: dict[Watcher, LiveQuery] = {}
        self._limits = limits or Limits()
        self._kept_bytes = 0
        self.runs = 0

    def __len__(self) -> int:
        return len(self._queries)

    def watch(
        self,
        watcher: Watcher,
        form: str,
        key: Hashable,
        what: str,
        body: Callable[[Connection], Any],
    ) -> None:
        """Let ``watcher`` follow the query ``key``; its present answer is delivered at once.

        Args:
            watcher: Session id and watch id.
            form: In which form the session wants its answers.
            key: Names query, object and arguments: equal keys share one run.
            what: For the log.
            body: Computes the answer.
        """
        self.unwatch(watcher)  # a watch is one watch, whatever it was on before
        query = self._queries.get(key)
        if query is None:
            if self._is_full():
                refusal = Update((watcher,), tid_text(self._live.ledger.absorbed_tid))
                refusal.failure = _TOO_MANY
                self._deliver([refusal])
                return
            query = self._queries[key] = LiveQuery(key, what, body)
        query.watchers[watcher] = form
        self._by_watcher[watcher] = query
        self._join(query, watcher)

    def _is_full(self) -> bool:
        limits = self._limits
        return (
            len(self._queries) >= limits.max_live_queries
            or self._kept_bytes >= limits.kept_answer_bytes
        )

    def _keep(self, query: LiveQuery, encoded: dict[str, bytes]) -> None:
        self._kept_bytes += sum(map(len, encoded.values()))
        self._kept_bytes -= sum(map(len, query.encoded.values()))
        query.encoded = encoded

    def refresh(self, watcher: Watcher) -> None:
        """Deliver the present answer, whole, to ``watcher`` again."""
        query = self._by_watcher.get(watcher)
        if query is not None:
            self._join(query, watcher)

    def _join(self, query: LiveQuery, watcher: Watcher) -> None:
        form = query.watchers[watcher]
        if query.tid and not query.container:
            self._deliver([self._present(query, watcher, form)])
            return
        query.forms.add(form)
        present_tid, container = query.tid, query.container
        update = self._run(query, (watcher,))
        if present_tid and update.failure is None and query.container == container:
            # Nothing in it has changed since: it is the answer that the other watchers have.
            query.tid = update.tid = present_tid
        self._deliver([update])

    def _present(self, query: LiveQuery, watcher: Watcher, form: str) -> Update:
        """Return the answer that the other watchers have, without another run (LV2)."""
        update = Update((watcher,), query.tid)
        try:
            data = query.encoded.get(form)
            if data is None:
                data = query.encoded[form] = encode(query.value, form)
                query.forms.add(form)
            update.value[form] = data
        except Exception as error:  # noqa: BLE001 - told to this watcher; the others have their form
            update.failure = failure_of(error, query.what)
            self.unwatch(watcher)
        return update

    def unwatch(self, watcher: Watcher) -> None:
        """``watcher`` has gone. Idempotent."""
        query = self._by_watcher.pop(watcher, None)
        if query is None:
            return
        query.watchers.pop(watcher, None)
        if not query.watchers:
            self._forget(query)

    def committed(self, commits: Iterable[Commit]) -> None:
        """Answer again whatever ``commits``, one group, have touched (LV2). They are absorbed already."""
        commits = list(commits)
        touched: set[int] = set()
        due: dict[LiveQuery, None] = {}
        readers = self._readers
        for commit in commits:
            for records in (commit.records, commit.ephemerals):
                for record in records:
                    oid = record.oid
                    if oid not in touched:
                        touched.add(oid)
                        for query in readers.get(oid, ()):
                            due[query] = None
        updates: list[Update] = []
        for query in due:
            try:
                update = self._answer(query, touched, commits)
            except Exception as error:  # noqa: BLE001 - told to its watchers; the other queries go on
                update = self._fail(query, error)
            if update is not None:
                updates.append(update)
        if updates:
            self._deliver(updates)

    def _answer(
        self, query: LiveQuery, touched: set[int], commits: Sequence[Commit]
    ) -> Update | None:
        if query.container and query.reads.isdisjoint(touched):
            update = self._patched(query, commits)
            if update is not None:
                return update
        base_tid, old, encoded = query.tid, query.value, query.encoded
        was_container = query.container
        update = self._run(query, tuple(query.watchers))
        if update.failure is not None:
            return update
        if not query.container and not was_container and base_tid:
            if encoded == query.encoded:
                # Nothing to tell. The watchers' newest answer is still the one of base_tid.
                query.tid = base_tid
                return None
            ops = patches.diff(old, query.value)
            if ops is not None:
                for form, whole in update.value.items():
                    data = encode(ops, form)
                    if len(data) < len(whole):
                        update.patch[form] = data
                update.base_tid = base_tid
        return update

    def _patched(self, query: LiveQuery, commits: Sequence[Commit]) -> Update | None:
        """Return the changes of a container as the commits carry them; None if one of them does not tell."""
        container = query.container
        parts = set(query.content_reads)
        changes: list[dict[Any, Any]] = []
        for commit in commits:
            refs = {record.oid: record.refs for record in (*commit.records, *commit.ephemerals)}
            changed = parts.intersection(refs)
            if container in commit.changes:
                changes.append(commit.changes[container])
            elif changed:
                return None
            # Nodes that the commit made are part of what is watched from now on.
            while changed:
                made = {ref for oid in changed for ref in refs[oid] if ref in refs}
                changed = made - parts
                parts |= changed
        ops = changes_as_patch(changes)
        if ops is None:
            return None
        update = Update(tuple(query.watchers), tid_text(self._live.ledger.absorbed_tid))
        try:
            for form in query.forms:
                update.patch[form] = encode(ops, form)
        except HubbubError:
            return None  # a run says what is wrong with it
        update.base_tid, query.tid = query.tid, update.tid
        self._index(query, query.reads, frozenset(parts))
        return update

    def _run(self, query: LiveQuery, watchers: tuple[Watcher, ...]) -> Update:
        self.runs += 1
        self._begin_body(query.what)
        outer: frozenset[int] = frozenset()
        container = 0

        def body(connection: Connection) -> tuple[Any, dict[str, bytes]]:
            nonlocal outer, container
            value = query.body(connection)
            if is_container(value):
                outer = frozenset(connection.reads or ())
                container = int.from_bytes(value._p_oid, "big")
                value = container_value(value)
            # Lazy answers wake objects too: encode while reads are tracked.
            return value, {form: encode(value, form, _refuse_reference) for form in query.forms}

        try:
            (value, encoded), reads, tid = self._live.query(body)
        except BaseException as error:  # noqa: BLE001 - the application's code; told to the caller
            return self._fail(query, error)
        finally:
            self._end_body()
        query.container = container
        query.tid = tid_text(tid)
        self._keep(query, {} if container else encoded)
        if container:
            query.value = None
            self._index(query, outer, reads - outer)
        else:
            query.value = value
            self._index(query, reads, frozenset())
        update = Update(watchers, query.tid)
        update.value = encoded
        return update

    def _fail(self, query: LiveQuery, error: BaseException) -> Update:
        """End a query for all who watch it."""
        update = Update(tuple(query.watchers), tid_text(self._live.ledger.absorbed_tid))
        update.failure = failure_of(error, query.what)
        for watcher in query.watchers:
            self._by_watcher.pop(watcher, None)
        self._forget(query)
        return update

    def _index(
        self, query: LiveQuery, reads: frozenset[int], content_reads: frozenset[int]
    ) -> None:
        old = query.reads | query.content_reads
        new = reads | content_reads
        query.reads, query.content_reads = reads, content_reads
        readers = self._readers
        for oid in old - new:
            self._unindex(oid, query)
        for oid in new - old:
            readers.setdefault(oid, set()).add(query)

    def _unindex(self, oid: int, query: LiveQuery) -> None:
        queries = self._readers.get(oid)
        if queries is not None:
            queries.discard(query)
            if not queries:
                del self._readers[oid]

    def _forget(self, query: LiveQuery) -> None:
        self._keep(query, {})
        for oid in query.reads | query.content_reads:
            self._unindex(oid, query)
        self._queries.pop(query.key, None)


_TOO_MANY = Failure(
    "limit", "too_many_live_queries", "this host watches as much as it can; try later"
)


def _refuse_reference(obj: Any) -> int:
    """Refuse to watch what hands out a reference: the caller's mistake, not the host's."""
    raise NotAllowedError(
        f"this hands out a reference to a {type(obj).__qualname__}; watch one of its views instead",
        code="is_a_reference",
    )
