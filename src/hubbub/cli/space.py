"""``hubbub space``: look after a space. Its subcommands are imported when they are used."""

from __future__ import annotations

from importlib import import_module

import click
from click.exceptions import NoSuchCommand

from hubbub.cli.examples import examples

_COMMANDS = {
    "check": ("checking", "Tell what would not load with other code."),
}
"""Name -> module here that has it, and what it does in a few words."""


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            raise NoSuchCommand(cmd_name, possibilities=_COMMANDS, ctx=ctx)
        module = import_module(f"hubbub.cli.{_COMMANDS[cmd_name][0]}")
        found: click.Command = getattr(module, cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _COMMANDS.items()])


@click.group(
    cls=_Group,
    epilog=examples(
        "hubbub space check chat:hub --data chat.hub    before chat.py is deployed",
        "hubbub space COMMAND --help                    the options of a command",
    ),
)
def space() -> None:
    """Look after a space."""
