"""The whiteboard node's command line."""

import subprocess
import sys
from pathlib import Path

import pytest

NODE = Path(__file__).parents[3] / "examples" / "whiteboard_node" / "node.py"


def node(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, NODE, *words], input="", capture_output=True, text=True, timeout=30
    )


@pytest.mark.parametrize("name", ["", "ann lee", "ann\nbob", "ann:", "../ann"])
def test_a_name_that_is_no_word_is_refused(name: str) -> None:
    result = node(name)
    assert result.returncode == 2
    assert "is no name: letters, digits, - and _" in result.stderr


def test_a_name_that_is_one_is_taken() -> None:
    assert node("änn-lee_2").returncode == 0
