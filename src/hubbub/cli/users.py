"""``hubbub user``: accounts with passwords."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hubbub.cli.examples import examples
from hubbub.kernel import ConfigurationError
from hubbub.perspective.accounts import AccountsFile, accounts_path
from hubbub.perspective.checkers import Passwords

_DATA = click.option(
    "--data",
    "-d",
    metavar="PATH",
    required=True,
    help="The space whose users these are, such as chat.hub. It need not exist yet, and may be in use.",
)


def _accounts(data: str) -> AccountsFile:
    """Return the accounts beside the space in file ``data``.

    Raises:
        ConfigurationError: If there can't be any.
    """
    if data == "memory:" or "://" in data:
        raise ConfigurationError(
            f"--data takes the file of a space, not {data!r}: accounts are kept beside it, so work where the host runs"
        )
    folder = Path(data).resolve().parent
    if not folder.is_dir():
        raise ConfigurationError(f"the folder {folder} does not exist; is --data right?")
    return AccountsFile(accounts_path(data))


@click.group(
    epilog=examples(
        "hubbub user add ann --data chat.hub",
        "hubbub user list --data chat.hub",
        "hubbub user remove ann --data chat.hub",
    )
)
def user() -> None:
    """Add, list and remove users with passwords.

    They can log in to an application that has hubbub.Passwords() among its checkers.
    """


@user.command()
@click.argument("name")
@_DATA
@click.option(
    "--stdin", is_flag=True, help="Read the password from standard input instead of asking."
)
def add(name: str, data: str, stdin: bool) -> None:
    """Add NAME, or give NAME a new password of at least 8 characters."""
    accounts = _accounts(data)
    known = accounts.get(name) is not None
    password = (
        sys.stdin.readline().rstrip("\n")
        if stdin
        else click.prompt("Password", hide_input=True, confirmation_prompt=True)
    )
    if len(password) < 8:
        raise ConfigurationError("a password has at least 8 characters")
    Passwords(accounts).set_password(name, password)
    click.echo(f"{name} has a new password." if known else f"{name} can log in.")


@user.command(name="list")
@_DATA
def list_(data: str) -> None:
    """List the users."""
    names = sorted(_accounts(data).list())
    for name in names:
        click.echo(name)
    if not names:
        click.echo(f"There are no users yet. Add one: hubbub user add NAME --data {data}", err=True)


@user.command()
@click.argument("name")
@_DATA
def remove(name: str, data: str) -> None:
    """Remove NAME. What NAME wrote stays; sessions that are open go on until they end."""
    accounts = _accounts(data)
    if accounts.get(name) is None:
        raise ConfigurationError(f"there is no user {name!r}; hubbub user list shows who there is")
    accounts.delete(name)
    click.echo(f"{name} can't log in any more.")
