import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

from tools import foreground

SCRIPT = Path(foreground.__file__)

# Says when it is ready, and ends well on SIGINT.
CHILD = """
import signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
print("ready", flush=True)
signal.pause()
"""


def test_the_exit_status_is_the_commands():
    assert subprocess.run([sys.executable, SCRIPT, "sh", "-c", "exit 7"]).returncode == 7
    assert subprocess.run([sys.executable, SCRIPT, "sh", "-c", "kill -9 $$"]).returncode == 137


def test_a_command_that_is_not_there_says_so(capfd):
    assert foreground.run(["./no-such-command"]) == 127
    assert "No such file" in capfd.readouterr().err


def test_an_interrupt_sent_to_us_reaches_the_command():
    ours = subprocess.Popen(
        [sys.executable, SCRIPT, sys.executable, "-c", CHILD],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with ours:
        assert ours.stdout is not None
        assert ours.stdout.readline() == b"ready\n"
        ours.send_signal(signal.SIGINT)
        assert ours.wait(20) == 0


def test_control_c_in_a_terminal_leaves_make_content(tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    (tmp_path / "Makefile").write_text(
        f"demo:\n\t@{sys.executable} {SCRIPT} {sys.executable} child.py\n"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execvp("make", ["make", "demo"])
    seen = b""
    while b"ready" not in seen:
        seen += os.read(terminal, 1024)
    os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
