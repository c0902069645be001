"""``hubbub user``: accounts with passwords."""

from __future__ import annotations

import sys

import click

from hubbub.kernel import ConfigurationError
from hubbub.perspective.checkers import AccountsFile, Passwords, accounts_path

_DATA = click.option(
    "--data",
    "-d",
    metavar="PATH",
    required=True,
    help="The space whose users these are, such as chat.hub.",
)


@click.group()
def user() -> None:
    """Add, list and remove users with passwords."""


@user.command()
@click.argument("name")
@_DATA
@click.option(
    "--stdin", is_flag=True, help="Read the password from standard input instead of asking."
)
def add(name: str, data: str, stdin: bool) -> None:
    """Add NAME, or give NAME a new password."""
    accounts = AccountsFile(accounts_path(data))
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
    names = sorted(AccountsFile(accounts_path(data)).list())
    for name in names:
        click.echo(name)
    if not names:
        click.echo("There are no users yet: hubbub user add NAME --data ...", err=True)


@user.command()
@click.argument("name")
@_DATA
def remove(name: str, data: str) -> None:
    """Remove NAME. What NAME wrote stays; sessions that are open go on until they end."""
    accounts = AccountsFile(accounts_path(data))
    if accounts.get(name) is None:
        raise ConfigurationError(f"there is no user {name!r}")
    accounts.delete(name)
    click.echo(f"{name} can't log in any more.")
