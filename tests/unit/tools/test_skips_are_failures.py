"""The hook of tests/conftest.py, in a session of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[2] / "conftest.py"


def run(directory: Path, text: str, ci: str) -> subprocess.CompletedProcess[str]:
    (directory / "conftest.py").write_text(CONFTEST.read_text())
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "test_it.py").write_text(text)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")} | {"CI": ci}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


SKIPS = (
    "import pytest\n@pytest.mark.skip(reason='no moon')\ndef test_moon(): ...\ndef test_ok(): ...\n"
)


def test_a_skip_is_no_failure_elsewhere(tmp_path):
    assert run(tmp_path, SKIPS, ci="").returncode == 0


def test_a_skip_is_a_failure_in_ci_and_says_which_and_why(tmp_path):
    done = run(tmp_path, SKIPS, ci="true")
    assert done.returncode == 1
    assert "test_it.py::test_moon: no moon" in done.stdout


def test_a_module_that_skips_itself_is_a_failure_too(tmp_path):
    done = run(
        tmp_path, "import pytest\npytest.skip('no sun', allow_module_level=True)\n", ci="true"
    )
    assert done.returncode != 0
    assert "no sun" in done.stdout


@pytest.mark.parametrize("ci", ["", "true"])
def test_an_expected_failure_is_no_skip(tmp_path, ci):
    text = "import pytest\n@pytest.mark.xfail\ndef test_it(): assert False\n"
    assert run(tmp_path, text, ci=ci).returncode == 0
