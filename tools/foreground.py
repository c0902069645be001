"""Run a command so that Ctrl-C is the command's business alone.

    python tools/foreground.py COMMAND [ARGUMENT...]

A terminal sends Ctrl-C to every process in its foreground group. `make` is one of them: it would report
'Interrupt' and fail although the command ended well. So the command gets a process group of its own and
the terminal; what this process is sent (when a script and not a terminal ends us) it passes on.

The exit status is the command's, or 128 + the number of the signal that killed it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(command: list[str]) -> int:
    """Run ``command`` to its end and return its exit status."""
    # Taking the terminal back must not stop us.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        child = subprocess.Popen(command, process_group=0, restore_signals=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127

    for number in PASSED_ON:
        signal.signal(number, lambda received, _frame: os.killpg(child.pid, received))
    with _terminal(child.pid) as hand_over:
        hand_over()
        while True:
            _, status = os.waitpid(child.pid, os.WUNTRACED)
            if os.WIFSTOPPED(status):  # Ctrl-Z: stop with it, and go on with it
                os.killpg(os.getpgrp(), signal.SIGSTOP)
                hand_over()
                os.killpg(child.pid, signal.SIGCONT)
                continue
            child.returncode = os.waitstatus_to_exitcode(status)
            break
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


@contextlib.contextmanager
def _terminal(group: int) -> Iterator[_HandOver]:
    """Give the terminal, if there is one and it is ours, to ``group``; take it back at the end."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield _HandOver(None, group)
        return
    try:
        ours = os.tcgetpgrp(terminal) == os.getpgrp()
        yield _HandOver(terminal if ours else None, group)
        if ours:
            os.tcsetpgrp(terminal, os.getpgrp())
    finally:
        os.close(terminal)


class _HandOver:
    """Makes ``group`` the terminal's foreground group, each time it is called."""

    def __init__(self, terminal: int | None, group: int) -> None:
        self._terminal = terminal
        self._group = group

    def __call__(self) -> None:
        if self._terminal is None:
            return
        # The command may have ended already; then there is nobody to hand over to.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.tcsetpgrp(self._terminal, self._group)
            # It may have touched the terminal a moment too early and been stopped for it.
            os.killpg(self._group, signal.SIGCONT)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: foreground.py COMMAND [ARGUMENT...]")
    sys.exit(run(sys.argv[1:]))
