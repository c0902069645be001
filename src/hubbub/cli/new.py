"""``hubbub new``: a small application to start from."""

from __future__ import annotations

import keyword
from pathlib import Path

import click

from hubbub.kernel import ConfigurationError

_TEMPLATE = Path(__file__).resolve().parent / "template"


@click.command()
@click.argument("name")
def new(name: str) -> None:
    """Make the directory NAME with a small application: a shared list, its page and its test."""
    module = name.replace("-", "_")
    if not module.isidentifier() or keyword.iskeyword(module):
        raise ConfigurationError(
            f"{name!r} can't be the name of a Python module; try letters and digits"
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
    click.echo(
        f"""
  cd {name}
  hubbub serve {module}:hub --reload      then open http://127.0.0.1:8000/
  python -m pytest                        its test
"""
    )
