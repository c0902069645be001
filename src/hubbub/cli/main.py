"""All subcommands in one place, and how errors end the program."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from hubbub.cli.calling import call, watch
from hubbub.cli.demo import demo
from hubbub.cli.inspecting import shell, tail
from hubbub.cli.new import new
from hubbub.cli.serving import serve
from hubbub.cli.users import user
from hubbub.kernel import HubbubError


def _version() -> str:
    try:
        return version("hubbub")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0 (not installed)"


class _Group(click.Group):
    """Shows our own errors as one line, not as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HubbubError as error:
            click.secho(f"hubbub: {error}", fg="red", err=True)
            sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), prog_name="hubbub")
def main() -> None:
    r"""Live Python objects, shared.

    \b
    Start:   hubbub demo chat
             hubbub new mychat
             hubbub serve chat:hub --data chat.hub
    Ask:     hubbub call say text=hi
             hubbub watch room.recent
             hubbub tail
    """


for command in (new, serve, demo, call, watch, tail, user, shell):
    main.add_command(command)
