"""``hubbub call`` and ``hubbub watch``: a user from the terminal."""

from __future__ import annotations

import getpass
import sys
from typing import Any

import click

import hubbub.sync
from hubbub.cli.addresses import URL, tls_files
from hubbub.cli.arguments import Typed, as_text
from hubbub.cli.examples import examples
from hubbub.kernel import ConfigurationError, InvalidArgumentsError, LoginFailedError

_OPTIONS = (
    click.option(
        "--connect",
        "-c",
        metavar="URL",
        default=URL,
        show_default=True,
        help="Which host.",
    ),
    click.option(
        "--name", "-n", metavar="NAME", help="Whom to log in as.  [default: your system name]"
    ),
    click.option(
        "--password",
        "-p",
        is_flag=True,
        help="Ask for a password; without a terminal it is the first line of standard input.",
    ),
)


def _as_user(command: Any) -> Any:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _login(connect: str, name: str | None, password: bool) -> Any:
    secret = _password() if password else None
    if name is not None:
        return hubbub.sync.login(connect, name=name, password=secret, **tls_files(connect))
    mine = getpass.getuser()
    try:
        return hubbub.sync.login(connect, name=mine, password=secret, **tls_files(connect))
    except LoginFailedError as error:
        if error.code != "name_taken":
            raise
    # Most likely by the same person, in a browser or another terminal.
    client = hubbub.sync.login(connect, **tls_files(connect))
    click.echo(
        f"The name {mine!r} is taken now, so you are a guest; --name chooses another.", err=True
    )
    return client


def _password() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("Password: ")
    return sys.stdin.readline().rstrip("\n")


@click.command(
    epilog=examples(
        "hubbub call say text=hello --name ann",
        "hubbub call room.recent limit=5           the 'recent' of what 'room' hands out",
        """hubbub call save tags='["a", "b"]'         a value is JSON where it can be, else text""",
    )
)
@click.argument("path")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
@_as_user
def call(
    path: str, arguments: tuple[str, ...], connect: str, name: str | None, password: bool
) -> None:
    """Call a command or query once, and print what it returns."""
    typed = Typed(arguments)
    with _login(connect, name, password) as me:
        member = _follow(me, path)
        while True:
            try:
                value = member(**typed.values)
                break
            except InvalidArgumentsError as error:
                if not typed.fits_better_after(error):
                    raise
        if isinstance(value, hubbub.sync.Reference):
            click.echo(f"A reference. Ask for one of its views: hubbub call {path}.VIEW")
        elif value is not None:
            click.echo(as_text(value))


@click.command(
    epilog=examples(
        "hubbub watch room.recent limit=5",
        "hubbub watch room.who --connect hub://127.0.0.1:1975",
    )
)
@click.argument("path")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
@_as_user
def watch(
    path: str, arguments: tuple[str, ...], connect: str, name: str | None, password: bool
) -> None:
    """Print a query or view, and print it again whenever it changes. Ctrl-C ends it."""
    typed = Typed(arguments)
    with _login(connect, name, password) as me:
        member = _follow(me, path)
        while True:
            try:
                for value in member.watch(**typed.values):
                    click.echo(as_text(value))
                return
            except InvalidArgumentsError as error:
                if not typed.fits_better_after(error):
                    raise
            except KeyboardInterrupt:
                click.echo()
                return


def _follow(me: Any, path: str) -> hubbub.sync.Member:
    """Return the proxy at a dotted path: all steps but the last are queries that hand out a reference.

    Raises:
        ConfigurationError: If the path makes no sense.
    """
    *steps, last = path.split(".")
    if not all(step.isidentifier() and not step.startswith("_") for step in (*steps, last)):
        raise ConfigurationError(f"{path!r} is no path such as say or room.recent")
    place = me
    for number, step in enumerate(steps, 1):
        place = place[step]()
        if not isinstance(place, hubbub.sync.Reference):
            raise ConfigurationError(
                f"{'.'.join(steps[:number])} hands out no object, so nothing can follow it"
            )
    member: hubbub.sync.Member = place[last]
    return member
