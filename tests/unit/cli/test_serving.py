"""How an application is found."""

import sys

import pytest

from hubbub.cli.loading import module_of
from hubbub.cli.serving import load_hub
from hubbub.kernel import ConfigurationError

SOURCE = "import hubbub\nhub = hubbub.Hub()\n"


@pytest.fixture(autouse=True)
def forgotten_modules(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("app_"):
            del sys.modules[name]


def test_a_module_in_the_working_directory(tmp_path):
    (tmp_path / "app_here.py").write_text(SOURCE)
    assert load_hub("app_here:hub") is load_hub("app_here")


def test_a_file_is_imported_from_its_own_directory(tmp_path):
    # Stored objects name their class by its module: it must not depend on where one stands.
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "app_there.py").write_text(SOURCE)
    load_hub("below/app_there.py:hub")
    assert "app_there" in sys.modules
    assert module_of("below/app_there.py:hub") == ("app_there", tmp_path / "below")


def test_the_wrong_attribute_is_told_the_right_one(tmp_path):
    (tmp_path / "app_attribute.py").write_text(SOURCE)
    with pytest.raises(ConfigurationError, match="did you mean app_attribute:hub"):
        load_hub("app_attribute:hubb")


@pytest.mark.parametrize(
    "source, line",
    [
        ("x = (", "SyntaxError: '(' was never closed"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_broken_module_shows_its_own_lines_only(tmp_path, capsys, source, line):
    (tmp_path / "app_broken.py").write_text(source)
    with pytest.raises(ConfigurationError, match="module 'app_broken' can't be imported"):
        load_hub("app_broken:hub")
    shown = capsys.readouterr().err
    assert line in shown
    assert "app_broken.py" in shown
    assert "hubbub/cli" not in shown
    assert "importlib" not in shown


def test_no_module(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no module 'app_nowhere' in"):
        load_hub("app_nowhere:hub")
