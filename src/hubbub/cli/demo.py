"""``hubbub demo chat``: the example chat, served at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from hubbub.cli.addresses import LISTEN, URL, WEB, url_of
from hubbub.cli.examples import examples
from hubbub.cli.logs import set_up_logs
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


@click.command(
    epilog=examples(
        "hubbub demo chat                          the page is at http://127.0.0.1:8000/",
        "hubbub demo chat --join                   join it, in another terminal",
        "hubbub demo chat --web 127.0.0.1:8001 --listen 127.0.0.1:1976",
        "hubbub demo chat --web 0.0.0.0:8000 --public",
    )
)
@click.argument("name", default="chat")
@click.option("--join", is_flag=True, help="Join a demo that is being served, in this terminal.")
@click.option(
    "--data",
    "-d",
    metavar="URL",
    default="chat.hub",
    show_default=True,
    help="Where the space is kept: a file, or memory:",
)
@click.option(
    "--web", metavar="ADDR", default=WEB, show_default=True, help="Address of the web page."
)
@click.option(
    "--listen",
    metavar="ADDR",
    default=LISTEN,
    show_default=True,
    help="Address for users and peers; with --join, where to join.",
)
@click.option("--public", is_flag=True, help="Let other machines in: anybody may join.")
def demo(name: str, join: bool, data: str, web: str, listen: str, public: bool) -> None:
    """Serve a demo application, or join it in a terminal. There is one: chat."""
    directory = demo_directory(name)
    sys.path.insert(0, str(directory))
    if join:
        sys.exit(_join(directory, listen))
    from hubbub.cli.serving import load_hub, plan_of, run_plan
    from hubbub.serving import Public

    set_up_logs()
    hub = load_hub(f"{name}:hub")

    def announce(serving: Any) -> None:
        click.echo(_announcement(serving.web_url, serving.listen_url, data))

    plan = plan_of(hub, data, web, [listen], public=Public.USERS if public else Public.NO)
    sys.exit(run_plan(plan, announce=announce))


def _announcement(web_url: str, listen_url: str, data: str) -> str:
    """Return what to look at, as commands that can be copied."""
    command = _hubbub()
    to_join = "" if listen_url == URL else f" --listen {listen_url.partition('://')[2]}"
    to_connect = "" if listen_url == URL else f" --connect {listen_url}"
    lines = ["", "  The chat is on.", ""]
    if web_url:
        lines.append(f"    in a browser       {web_url}   (open it in two windows)")
    if listen_url:
        without = "" if find_spec("textual") else "   (needs: pip install 'hubbub[terminal]')"
        lines.append(f"    in a terminal      {command} demo chat --join{to_join}{without}")
        lines.append(f"    from a script      {command} call say text=hello{to_connect}")
        lines.append(f"    what is committed  {command} tail{to_connect}")
    where = Path(data).resolve()
    kept = (
        "  Its data is in memory, and gone when it ends."
        if data == "memory:"
        else f"  Its data is in {where}: kill it, start it again, everything said is there."
    )
    return "\n".join([*lines, "", kept, "  Ctrl-C stops it.", ""])


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
    return subprocess.call(
        [sys.executable, str(directory / "terminal.py"), "--connect", url_of(listen)]
    )
