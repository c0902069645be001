"""Long jobs at the terminal: how far they are, and Ctrl-C that ends them well."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from hubbub.kernel import Job

_SHOWN_S = 0.1


class _Line:
    """One line on standard error that is written over; nothing where that is no terminal."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._shown_at = 0.0
        self._began = time.monotonic()
        self._has_line = False

    def show(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._is_shown or now - self._shown_at < _SHOWN_S:
            return
        self._shown_at = now
        self._has_line = True
        rate = done / max(now - self._began, 0.001)
        if total:
            share = min(done / total, 1.0)
            bar = "#" * round(share * 30)
            text = f"{what}  [{bar:<30}] {share:4.0%}  {done:,} of {total:,}  {rate:,.0f}/s"
        else:
            text = f"{what}  {done:,}  {rate:,.0f}/s"
        click.echo(f"\r\033[K{text}", nl=False, err=True)

    def clear(self) -> None:
        if self._has_line:
            click.echo("\r\033[K", nl=False, err=True)


@contextmanager
def job_with_progress() -> Iterator[Job]:
    """Give a job whose progress is shown on standard error, if that is a terminal, and which Ctrl-C stops.

    The first Ctrl-C lets the job come to a good end, which says what is left; a second one ends the program.
    """
    line = _Line()
    job = Job(line.show)

    def stop(_number: int, _frame: FrameType | None) -> None:
        if job.is_stopped:
            raise KeyboardInterrupt
        job.stop()

    is_main = threading.current_thread() is threading.main_thread()
    former = signal.signal(signal.SIGINT, stop) if is_main else None
    try:
        yield job
    finally:
        line.clear()
        if is_main:
            signal.signal(signal.SIGINT, former)
