"""The command as a whole: what it shows, and what it costs to show it."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from hubbub.cli import main
from hubbub.cli.main import _COMMANDS


def test_help_imports_no_subcommand():
    code = (
        "import sys; from hubbub.cli import main; main(['--help'], standalone_mode=False); "
        "print(*(name for name in ('hubbub.app', 'hubbub.sync', 'starlette', 'BTrees') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_name_in_the_table_is_a_command_with_examples(name):
    context = click.Context(main)
    command = main.get_command(context, name)
    assert command is not None
    assert command.name == name
    shown = CliRunner().invoke(main, [name, "--help"]).output
    assert "Examples:\n    " in shown
    assert "\b" not in shown


def test_a_typo_is_told_what_was_meant():
    result = CliRunner().invoke(main, ["srve"])
    assert result.exit_code == 2
    assert "Did you mean 'serve'?" in result.output


@pytest.mark.parametrize("name", ["json", "hubbub", "class", "1st"])
def test_new_refuses_what_can_not_be_a_module_of_its_own(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["new", name])
    assert result.exit_code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data, said", [("nowhere/x.hub", "does not exist"), ("hub://127.0.0.1", "takes the file")]
)
def test_accounts_are_not_made_where_no_space_can_be(data, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["user", "add", "ann", "--data", data, "--stdin"], "12345678")
    assert result.exit_code == 1
    assert said in result.output
    assert list(tmp_path.iterdir()) == []


def test_the_shell_does_not_make_a_space_by_a_typo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["shell", "nothere.hub", "-x", "1"])
    assert result.exit_code == 1
    assert "there is no file 'nothere.hub'" in result.output
    assert list(tmp_path.iterdir()) == []
