"""``hubbub call`` and ``hubbub watch``: a user from the terminal."""

from __future__ import annotations

import getpass
from typing import Any

import click

import hubbub.sync
from hubbub.cli.arguments import as_text, typed
from hubbub.cli.serving import LISTEN

_OPTIONS = (
    click.option(
        "--connect",
        "-c",
        metavar="URL",
        default=f"hub://{LISTEN}",
        show_default=True,
        help="Which host.",
    ),
    click.option(
        "--name", "-n", metavar="NAME", help="Whom to log in as [default: your system name]"
    ),
    click.option("--password", "-p", is_flag=True, help="Ask for a password."),
)


def _as_user(command: Any) -> Any:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _login(connect: str, name: str | None, password: bool) -> Any:
    secret = getpass.getpass("Password: ") if password else None
    return hubbub.sync.login(connect, name=name or getpass.getuser(), password=secret)


@click.command()
@click.argument("path")
@click.argument("arguments", nargs=-1)
@_as_user
def call(
    path: str, arguments: tuple[str, ...], connect: str, name: str | None, password: bool
) -> None:
    r"""Call a command or query once and print what it returns.

    \b
    hubbub call say text=hello
    hubbub call room.recent limit=5
    """
    with _login(connect, name, password) as me:
        value = _follow(me, path)(**typed(arguments))
    if value is not None:
        click.echo(as_text(value))


@click.command()
@click.argument("path")
@click.argument("arguments", nargs=-1)
@_as_user
def watch(
    path: str, arguments: tuple[str, ...], connect: str, name: str | None, password: bool
) -> None:
    r"""Print a query or view, and print it again whenever it changes. Ctrl-C ends it.

    \b
    hubbub watch room.recent limit=5
    """
    with _login(connect, name, password) as me:
        try:
            for value in _follow(me, path).watch(**typed(arguments)):
                click.echo(as_text(value))
        except KeyboardInterrupt:
            click.echo()


def _follow(me: Any, path: str) -> Any:
    """Return the proxy at a dotted path: all steps but the last are queries that hand out a reference."""
    *steps, last = path.split(".")
    place = me
    for step in steps:
        place = getattr(place, step)()
    return getattr(place, last)
