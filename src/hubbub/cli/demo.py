"""``hubbub demo chat``: the example chat, served at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from hubbub.app import Hub
from hubbub.cli.logs import set_up_logs
from hubbub.cli.serving import LISTEN, WEB, load_hub, run_hub
from hubbub.kernel import ConfigurationError

_HERE = Path(__file__).resolve()


def demo_directory(name: str) -> Path:
    """Return where the demo application ``name`` is: inside the wheel, or in the source tree's ``examples``.

    Raises:
        ConfigurationError: If there is none.
    """
    for directory in (_HERE.parents[1] / "demos" / name, _HERE.parents[3] / "examples" / name):
        if (directory / f"{name}.py").exists():
            return directory
    raise ConfigurationError(f"there is no demo {name!r}; there is: chat")


@click.command()
@click.argument("name", default="chat")
@click.option("--data", "-d", metavar="URL", default="chat.hub", show_default=True, help="Where the space is kept.")
@click.option("--web", metavar="ADDR", default=WEB, show_default=True, help="Address of the web page.")
@click.option("--listen", metavar="ADDR", default=LISTEN, show_default=True, help="Address for users and peers.")
def demo(name: str, data: str, web: str, listen: str) -> None:
    """Serve a demo application (chat)."""
    set_up_logs()
    directory = demo_directory(name)
    sys.path.insert(0, str(directory))
    hub = load_hub(f"{name}:hub")

    def announce(hub: Hub, serving: Any, where: str) -> None:
        click.echo(
            f"""
  The chat is on.

    in a browser       {serving.web_url}   (open it twice, or on two machines)
    in a terminal      hubbub-chat         ({sys.executable} {directory / "terminal.py"})
    from a script      hubbub call say text=hello
    what is committed  hubbub tail

  Its data is in {Path(where).resolve()}: kill it, start it again, everything said is there.
  Ctrl-C stops it.
"""
        )

    sys.exit(run_hub(hub, data, web, listen, announce=announce))
