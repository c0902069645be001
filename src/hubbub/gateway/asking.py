"""Answer what a peer asks beside loads and commits. In threads, never in the loop, and within bounds.

Theory of operation
===================

    Ask --one of few at a time--> a thread --> Answer, or Failed
     '--a long job--> a thread for these --Progress now and then--> Answer, or Failed
                        '--StopJob, or the peer is gone--> stops at its next step

How many threads there are for all peers together is `hubbub.gateway.questioning`'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from hubbub.gateway.outlet import Outlet
from hubbub.gateway.questioning import Threads
from hubbub.kernel import HubbubError, Job, LimitError, ReadOnlyError, RemoteProtocolError
from hubbub.mount.asking import MOST_ASKED, QUESTIONS, Question
from hubbub.mount.failures import to_failed
from hubbub.store.upkeep import Upkeep
from hubbub.wire import peer

log = logging.getLogger("hubbub.peers")

_MOST_JOBS = 2
_MOST_ARGS_BYTES = 1 << 20
_PROGRESS_S = 0.1
_IN_WORDS = {"rows_from": "a backup or copy of all rows"}


class Asking:
    """What one peer asks. Belongs to the loop.

    Args:
        upkeep: Answers; any thread may call it.
        threads: Where it does.
        outlet: Sends the answers.
        is_read_only: Tells whether the peer may only read.
        limit_bytes: Bytes of one answer.
    """

    def __init__(
        self,
        upkeep: Upkeep,
        threads: Threads,
        outlet: Outlet,
        is_read_only: Callable[[], bool],
        limit_bytes: int,
    ) -> None:
        self._upkeep = upkeep
        self._threads = threads
        self._outlet = outlet
        self._is_read_only = is_read_only
        self._limit_bytes = limit_bytes
        self._loop = asyncio.get_running_loop()
        self._asked = 0
        self._jobs: dict[int, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun: set[Future[Any]] = set()

    def ask(self, message: peer.Ask) -> None:
        """Have a question answered."""
        question = QUESTIONS.get(message.method)
        if question is None:
            self._fail(
                message.id,
                RemoteProtocolError(f"this host knows nothing like {message.method!r}: upgrade it"),
            )
            return
        if self._is_read_only() and not question.is_reading:
            self._fail(
                message.id,
                ReadOnlyError(
                    f"{_IN_WORDS.get(message.method, message.method)} is for peers that may write, not for you: show a "
                    "token that may write"
                ),
            )
            return
        most, running = (
            (_MOST_JOBS, len(self._jobs)) if question.is_job else (MOST_ASKED, self._asked)
        )
        if running >= most or len(memoryview(message.args)) > _MOST_ARGS_BYTES:
            self._fail(
                message.id, LimitError(f"more than {most} questions at a time, or too large")
            )
            return
        if message.id in self._jobs:
            raise RemoteProtocolError("two jobs under one id")
        task = self._loop.create_task(self._work(message, question))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if question.is_job:
            self._jobs[message.id] = Job(self._teller(message.id))
        else:
            self._asked += 1

    def stop(self, message: peer.StopJob) -> None:
        """Stop a job; one that is over does no harm."""
        job = self._jobs.get(message.id)
        if job is not None:
            job.stop()

    def close(self) -> None:
        """The peer is gone: its jobs stop, and what has not begun does not begin."""
        for job in self._jobs.values():
            job.stop()
        for future in list(self._begun):
            future.cancel()

    async def _work(self, message: peer.Ask, question: Question) -> None:
        job = self._jobs.get(message.id)
        try:
            packed = await self._in_thread(message, question, job)
        except HubbubError as error:
            self._fail(message.id, error)
        except Exception as error:
            log.exception("answering %s of a peer failed", question.name)
            self._fail(message.id, error)
        else:
            self._outlet.answer(peer.Answer(message.id, packed))
        finally:
            if job is not None:
                del self._jobs[message.id]
            else:
                self._asked -= 1

    async def _in_thread(self, message: peer.Ask, question: Question, job: Job | None) -> Any:
        threads = self._threads.of(is_long=question.is_long, is_read_only=self._is_read_only())
        future = threads.begin(lambda: self._called(message, question, job))
        self._begun.add(future)
        try:
            return await asyncio.wrap_future(future)
        finally:
            self._begun.discard(future)

    def _called(self, message: peer.Ask, question: Question, job: Job | None) -> Any:
        args, by_name = question.args(message.args)
        if job is not None:
            by_name["job"] = job
        packed = question.pack_answer(getattr(self._upkeep, question.name)(*args, **by_name))
        if len(memoryview(packed)) > self._limit_bytes - 64:
            raise LimitError(
                f"the answer of {question.name} is too large for one message: ask for less"
            )
        return packed

    def _fail(self, call_id: int, error: BaseException) -> None:
        self._outlet.answer(to_failed(call_id, error))

    def _teller(self, call_id: int) -> Callable[[str, int, int], None]:
        """Return what tells the peer how far a job is, not too often."""
        told_at = 0.0

        def tell(what: str, done: int, total: int) -> None:
            nonlocal told_at
            now = time.monotonic()
            if now - told_at < _PROGRESS_S or self._loop.is_closed():
                return
            told_at = now
            self._loop.call_soon_threadsafe(
                self._outlet.answer, peer.Progress(call_id, what, done, total)
            )

        return tell
