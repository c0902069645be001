"""``hubbub demo chat``: the example chat, served at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

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
@click.option("--join", is_flag=True, help="Join a demo that is being served, in this terminal.")
@click.option(
    "--data",
    "-d",
    metavar="URL",
    default="chat.hub",
    show_default=True,
    help="Where the space is kept.",
)
@click.option(
    "--web", metavar="ADDR", default=WEB, show_default=True, help="Address of the web page."
)
@click.option(
    "--listen",
    metavar="ADDR",
    default=LISTEN,
    show_default=True,
    help="Address for users and peers.",
)
def demo(name: str, join: bool, data: str, web: str, listen: str) -> None:
    """Serve a demo application (chat), or join it in a terminal."""
    directory = demo_directory(name)
    sys.path.insert(0, str(directory))
    if join:
        sys.exit(_join(directory, listen))
    set_up_logs()
    hub = load_hub(f"{name}:hub")

    def announce(serving: Any, where: str) -> None:
        click.echo(
            f"""
  The chat is on.

    in a browser       {serving.web_url}   (open it twice, or on two machines)
    in a terminal      {_hubbub()} demo chat --join
    from a script      {_hubbub()} call say text=hello
    what is committed  {_hubbub()} tail

  Its data is in {Path(where).resolve()}: kill it, start it again, everything said is there.
  Ctrl-C stops it.
"""
        )

    sys.exit(run_hub(hub, data, web, listen, announce=announce))


def _hubbub() -> str:
    """Return how the user can call this command again."""
    beside = Path(sys.executable).with_name("hubbub")
    if shutil.which("hubbub") == str(beside) or not beside.exists():
        return "hubbub"
    try:
        return str(beside.relative_to(Path.cwd()))
    except ValueError:
        return str(beside)


def _join(directory: Path, listen: str) -> int:
    """Run the demo's terminal client."""
    try:
        import textual  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "the terminal client needs textual: pip install 'hubbub[terminal]'"
        ) from None
    url = f"hub+unix://{listen}" if "/" in listen else f"hub://{listen}"
    return subprocess.call([sys.executable, str(directory / "terminal.py"), "--connect", url])
