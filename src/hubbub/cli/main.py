"""All subcommands in one place, and how errors end the program.

A subcommand's module is imported when the subcommand is used: so ``hubbub --help`` is there at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click
from click.exceptions import NoSuchCommand

from hubbub.cli.examples import examples
from hubbub.kernel import HubbubError

_COMMANDS = {
    "demo": ("demo", "Serve the example chat, or join it in this terminal."),
    "new": ("new", "Make a small application to start from."),
    "serve": ("serving", "Serve an application, or a bare space for peers."),
    "call": ("calling", "Call a command or query once, as a user."),
    "watch": ("calling", "Print a query whenever its answer changes."),
    "tail": ("inspecting", "Print a line for each commit, as it happens."),
    "shell": ("inspecting", "Open a Python prompt with the objects in hand."),
    "space": ("space", "Look into a space, back it up, pack it, copy it."),
    "flow": ("flowing", "Run graphs of components, or draw them."),
    "user": ("users", "Add, list and remove users with passwords."),
    "token": ("tokens", "Add, list and remove what lets peers in."),
}
"""Name -> module here that has it, and what it does in a few words; in the order in which one meets them."""


class _Group(click.Group):
    """Loads subcommands when they are used, and shows our own errors as one line, not as a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            # Here and not by returning None: only we know all names, to suggest one.
            raise NoSuchCommand(cmd_name, possibilities=_COMMANDS, ctx=ctx)
        module = import_module(f"hubbub.cli.{_COMMANDS[cmd_name][0]}")
        found: click.Command = getattr(module, cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HubbubError as error:
            from hubbub.cli.arguments import harmless

            # A host that we asked may have worded it.
            lines = map(harmless, str(error).split("\n"))
            click.secho("hubbub: " + "\n".join(lines), fg="red", err=True)
            sys.exit(1)


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("hubbub")
    except PackageNotFoundError:  # run from a source tree that is not installed
        number = "0 (not installed)"
    click.echo(f"hubbub, version {number}")
    ctx.exit()


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "hubbub demo chat                          a chat to look at, now",
        "hubbub new mychat                         an application of your own",
        "hubbub serve chat:hub --data chat.hub     serve it",
        "hubbub call say text=hi                   be a user of it",
        "hubbub COMMAND --help                     the options of a command",
    ),
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and leave.",
)
def main() -> None:
    """Live Python objects, shared."""
