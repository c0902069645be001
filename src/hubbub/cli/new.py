"""``hubbub new``: a small application to start from."""

from __future__ import annotations

import keyword
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from hubbub.cli.addresses import WEB
from hubbub.cli.examples import examples
from hubbub.kernel import ConfigurationError

_TEMPLATE = Path(__file__).resolve().parent / "template"


@click.command(epilog=examples("hubbub new shopping-list"))
@click.argument("name")
def new(name: str) -> None:
    """Make the directory NAME with a small application: a shared list, its page and its test."""
    module = name.replace("-", "_")
    if not module.isidentifier() or keyword.iskeyword(module):
        raise ConfigurationError(
            f"{name!r} can't be the name of a Python module; begin with a letter, go on with letters, digits and -"
        )
    if module in sys.stdlib_module_names or find_spec(module) is not None:
        raise ConfigurationError(
            f"there is a Python module {module!r} already, which yours would hide; choose another name"
        )
    target = Path(name)
    if target.exists():
        raise ConfigurationError(f"{target} is there already; choose another name")
    for source in sorted(_TEMPLATE.rglob("*")):
        if source.is_dir() or source.name.endswith(".pyc"):
            continue
        relative = str(source.relative_to(_TEMPLATE)).removesuffix(".txt").replace("NAME", module)
        path = target / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.read_text().replace("{{NAME}}", module))
        click.echo(f"  {path}")
    reload = " --reload" if find_spec("watchfiles") else ""
    click.echo(f"\n  cd {name}")
    click.echo(f"  hubbub serve {module}:hub{reload}      then open http://{WEB}/")
    click.echo("  python -m pytest                its test")
    missing = [
        f"  pip install {package:<20}for {what}"
        for module_name, package, what in (
            ("watchfiles", "'hubbub[reload]'", "hubbub serve --reload"),
            ("pytest", "pytest", "the test"),
        )
        if find_spec(module_name) is None
    ]
    if missing:
        click.echo("\n".join(["", "  Not installed yet:", *missing]))
