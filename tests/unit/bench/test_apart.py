import os
import subprocess
import sys

from bench.harness import ROOT

# In a process of its own: what forks should have no threads, and pytest may have some.
SCRIPT = """
import os
from bench.apart import alone, shared_times, together
from bench.harness import MissingError

times = shared_times(3)

def work(index, gate, factor):
    times[index] = index
    gate.wait()
    return sum(times) * factor

assert together(3, work, 10) == [30, 30, 30]
assert alone(os.getpid) != os.getpid()

def fail(index, gate):
    if index == 1:
        raise OSError("no room")
    gate.wait()

for function, why in ((fail, "OSError('no room')"), (lambda index, gate: os._exit(1), "without an answer")):
    try:
        together(2, function)
    except MissingError as error:
        assert why in str(error), error
    else:
        raise SystemExit("not raised")
"""


def test_processes_wait_for_each_other_and_say_what_went_wrong() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
