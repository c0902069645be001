"""Load from several processes at once: forked before anything is opened, and let go together."""

from __future__ import annotations

import multiprocessing
import queue
import traceback
from collections.abc import Callable
from typing import Any

from bench.harness import MissingError

_FORK = multiprocessing.get_context("fork")
_PATIENCE_S = 60.0


class Gate:
    """Where the processes wait for each other: what is measured lies between two passings."""

    def __init__(self, count: int) -> None:
        self._barrier = _FORK.Barrier(count)

    def wait(self) -> None:
        """Wait until all are here."""
        self._barrier.wait(_PATIENCE_S)

    def abort(self) -> None:
        """Let nobody wait for one who has failed."""
        self._barrier.abort()


def shared_times(count: int) -> Any:
    """Return an array of ``count`` doubles that forked processes share, without a lock."""
    return _FORK.RawArray("d", count)


def together(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run ``function(index, gate, *arguments)`` in ``count`` forked processes; return what they returned, in order.

    Call it where no thread runs and nothing is connected. How long it may take, the harness says.

    Raises:
        MissingError: One of them failed; the text is its error.
    """
    answers: Any = _FORK.Queue()
    gate = Gate(count)

    def child(index: int) -> None:
        try:
            answers.put((index, True, function(index, gate, *arguments)))
        except BaseException as error:
            gate.abort()
            last = traceback.extract_tb(error.__traceback__)[-1]
            answers.put((index, False, f"{error!r} at {last.name}:{last.lineno}"))

    processes = [_FORK.Process(target=child, args=(n,), daemon=True) for n in range(count)]
    for process in processes:
        process.start()
    found: dict[int, Any] = {}
    failures: list[str] = []
    while len(found) + len(failures) < count:
        is_last_look = not any(process.is_alive() for process in processes)
        try:
            index, is_good, answer = answers.get(timeout=1.0)
        except queue.Empty:
            if is_last_look:
                failures.append("a load process ended without an answer")
                break
            continue
        if is_good:
            found[index] = answer
        else:
            failures.append(answer)
    for process in processes:
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()
    if failures:
        # Who fails breaks the gate for the others: their complaint says nothing.
        raise MissingError(next((f for f in failures if "BrokenBarrier" not in f), failures[0]))
    return [found[index] for index in range(count)]


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run ``function(*arguments)`` in one forked process of its own, and return what it returned."""
    return together(1, lambda _index, _gate: function(*arguments))[0]
