"""``hubbub space``: look into a space, keep it in order, take it elsewhere. The subcommands are loaded when used."""

from __future__ import annotations

from importlib import import_module

import click
from click.exceptions import NoSuchCommand

from hubbub.cli.examples import examples

_COMMANDS = {
    "ls": ("looking", "ls", "List the root, or what is in an object."),
    "show": ("looking", "show", "Show an object, whatever its class."),
    "history": ("looking", "history", "Tell who changed it, and when."),
    "diff": ("looking", "diff", "Show what differs between two moments."),
    "stats": ("keeping", "stats", "Tell how much there is."),
    "verify": ("keeping", "verify", "Read all there is, and tell what is damaged."),
    "pack": ("keeping", "pack", "Drop the past, and what can't be reached."),
    "undo": ("keeping", "undo", "Take a transaction back."),
    "backup": ("copying", "backup", "Save it while it is in use."),
    "restore": ("copying", "restore", "Make a space of a backup again."),
    "export": ("copying", "export", "Write an object and all it refers to into a file."),
    "import": ("copying", "import_", "Take such a file in, or a ZODB."),
    "copy": ("copying", "copy", "Copy it to another file or host."),
    "check": ("checking", "check", "Tell what an application could not load."),
    "upgrade": ("checking", "upgrade", "Rewrite what is of an older shape."),
}
"""Name -> module here and attribute that has it, and what it does in a few words."""


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            raise NoSuchCommand(cmd_name, possibilities=_COMMANDS, ctx=ctx)
        module, attribute, _ = _COMMANDS[cmd_name]
        found: click.Command = getattr(import_module(f"hubbub.cli.{module}"), attribute)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, _, about) in _COMMANDS.items()])


@click.group(
    cls=_Group,
    epilog=examples(
        "hubbub space ls                           the root of the host here",
        "hubbub space show chat.hub room           an object in a file that nobody serves",
        "hubbub space backup chat.hub backups",
        "hubbub space COMMAND --help               the options of a command",
    ),
)
def space() -> None:
    """Look into a space, keep it in order, take it elsewhere.

    URL is a host (hub://127.0.0.1:1975, the default) or the file of a space that nobody serves now.
    """
