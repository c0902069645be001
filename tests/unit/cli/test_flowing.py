"""``hubbub flow run`` and ``hubbub flow draw``."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from hubbub.cli import main

PROGRAM = """
import time
from hubbub.flow import Pipeline

seen = []
graph = Pipeline(range(5), lambda n: n * 2, print, name="doubling")
several = [Pipeline(["a", "b"], print, name="one"), Pipeline(["c", "d"], print, name="two")]
empty = []

def made():
    return Pipeline(range(2), print)

def fail(item):
    raise ValueError("not this one")

failing = Pipeline(range(2), fail)

def sleepy(item):
    time.sleep(0.01)

def blocking():
    return Pipeline(range(2), sleepy)

other = 3
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    name = f"flowing_{tmp_path.name.replace('-', '_')}"
    file = tmp_path / f"{name}.py"
    file.write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    yield str(file)
    sys.modules.pop(name, None)
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


def called(*words: str):
    return CliRunner().invoke(main, ["flow", *words])


def test_a_graph_runs_to_its_end(program) -> None:
    result = called("run", f"{program}:graph")
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == ["0", "2", "4", "6", "8"]


def test_a_function_that_makes_a_graph_is_called(program) -> None:
    assert called("run", f"{program}:made").stdout.split() == ["0", "1"]


def test_several_run_together(program) -> None:
    assert sorted(called("run", f"{program}:several").stdout.split()) == ["a", "b", "c", "d"]


def test_watching_shows_parts_and_counts(program) -> None:
    result = called("run", f"{program}:graph", "--watch")
    assert "doubling" in result.stderr
    assert "range -> <lambda>" in result.stderr


def test_dev_mode_finds_what_blocks(program) -> None:
    assert called("run", f"{program}:blocking").exit_code == 0
    result = called("run", f"{program}:blocking", "--dev")
    assert result.exit_code == 1
    assert "BlockingError" in result.stderr


def test_a_failure_is_one_line_that_names_the_component(program) -> None:
    result = called("run", f"{program}:failing")
    assert result.exit_code == 1
    assert "component fail failed: ValueError: not this one" in result.stderr


def test_a_drawing_goes_to_the_terminal_or_into_a_file(program, tmp_path) -> None:
    assert called("draw", f"{program}:graph").stdout.startswith("<svg ")
    result = called("draw", f"{program}:graph", "-o", "out.svg")
    assert result.exit_code == 0
    assert (tmp_path / "out.svg").read_text().startswith("<svg ")


def test_several_drawings_get_a_file_each(program, tmp_path) -> None:
    called("draw", f"{program}:several", "-o", "out.svg")
    assert sorted(file.name for file in tmp_path.glob("*.svg")) == ["out-1.svg", "out-2.svg"]


def test_a_graph_as_a_table_and_as_json(program) -> None:
    assert "range -> <lambda>" in called("draw", f"{program}:graph", "--text").stdout
    assert json.loads(called("draw", f"{program}:graph", "--json").stdout)["name"] == "doubling"


@pytest.mark.parametrize("name", ["other", "nowhere", "empty"])
def test_what_is_no_graph_is_told_with_the_names_of_those_there_are(program, name) -> None:
    result = called("draw", f"{program}:{name}")
    assert result.exit_code == 1
    assert "is no graph" in result.stderr
    assert "graph, failing" in result.stderr


def test_a_table_and_json_at_once_are_refused(program) -> None:
    result = called("draw", f"{program}:graph", "--text", "--json")
    assert result.exit_code == 2
    assert "--text or --json, not both" in result.stderr


@pytest.mark.parametrize("command", ["run", "draw"])
def test_a_file_that_is_not_there_is_told(command, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = called(command, "nope.py:graph")
    assert result.exit_code == 1
    assert f"there is no file 'nope.py' in {tmp_path}" in result.stderr


@pytest.mark.parametrize("target", [":graph", ""])
def test_a_name_alone_is_told(target) -> None:
    result = called("run", target)
    assert result.exit_code == 1
    assert f"{target!r} names no module: say file.py:name or module:name" in result.stderr


def test_a_file_that_can_not_be_written_is_told(program) -> None:
    result = called("draw", f"{program}:graph", "-o", "no/such/place.svg")
    assert result.exit_code == 1
    assert "can't write" in result.stderr


def test_ctrl_c_lets_the_graph_come_to_a_good_end(tmp_path) -> None:
    (tmp_path / "endless.py").write_text(
        "from hubbub.flow import Component, Pipeline\n"
        "import asyncio\n"
        "class Ticks(Component):\n"
        "    inboxes = {}\n"
        "    async def main(self):\n"
        "        while True:\n"
        "            await self.send('tick')\n"
        "            await asyncio.sleep(0.01)\n"
        "def show(item):\n"
        "    print(item, flush=True)\n"
        "graph = Pipeline(Ticks(), show)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "hubbub", "flow", "run", "endless.py:graph"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "tick\n"
    process.terminate()
    process.stdout.read()
    assert process.wait(20) == 0
    process.stdout.close()
