"""``hubbub tail`` and ``hubbub shell``: look at a space while it is in use."""

from __future__ import annotations

import code
import sys
import time
from typing import Any

import click
import msgspec

import hubbub.mount
from hubbub.cli.serving import LISTEN
from hubbub.kernel import tid_time

_CONNECT = click.option(
    "--connect",
    "-c",
    metavar="URL",
    default=f"hub://{LISTEN}",
    show_default=True,
    help="Which host.",
)
_TOKEN = click.option(
    "--token", envvar="HUBBUB_TOKEN", default="", help="What the host wants of peers."
)


@click.command()
@_CONNECT
@_TOKEN
@click.option(
    "--last", "-n", default=10, show_default=True, help="How many past commits are shown first."
)
@click.option(
    "--follow/--no-follow",
    "-f/-F",
    default=True,
    show_default=True,
    help="Go on as commits arrive.",
)
def tail(connect: str, token: str, last: int, follow: bool) -> None:
    """Print a line for each commit: time, who, command, objects, bytes, ms."""
    try:
        for entry in hubbub.mount.tail(connect, token=token, last=last, follow=follow):
            click.echo(tail_line(entry))
            sys.stdout.flush()
    except KeyboardInterrupt:
        click.echo()


def tail_line(entry: Any) -> str:
    """Return one commit as a line."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(tid_time(entry.tid)))
    label = entry.label
    # An anonymous user's id is a long digest; its beginning tells them apart.
    who = label.identity[:20] or "host"
    what = f"{label.command}{_arguments(label.args)}" if label.command else "-"
    took = f"{entry.ms:7.1f} ms" if entry.ms >= 0 else "         -"
    return f"{moment}  {who:<20} {what:<44} {entry.objects:>3} obj {entry.byte_count:>7} B {took}"


def _arguments(data: bytes) -> str:
    if not data:
        return ""
    try:
        values = msgspec.msgpack.decode(data, type=list)
    except msgspec.MsgspecError:
        return "(...)"
    text = ", ".join(repr(value) for value in values)
    return f"({text[:60]}{'...' if len(text) > 60 else ''})"


@click.command()
@click.argument("url", required=False)
@_TOKEN
@click.option("--command", "-x", "script", metavar="CODE", help="Run this and leave.")
def shell(url: str | None, token: str, script: str | None) -> None:
    r"""Open a Python prompt with a space in hand.

    URL is a host (hub://127.0.0.1:1975, the default) or the file of a space that nobody serves now.

    \b
    >>> root.keys()
    >>> with space.transaction() as root: root["room"].messages.trim(keep=100)
    """
    address = url or f"hub://{LISTEN}"
    with hubbub.mount.open(address, token=token) as space, space.connect() as connection:
        names = {
            "space": space,
            "connection": connection,
            "root": connection.root,
            "commit": connection.commit,
            "abort": connection.abort,
            "sync": connection.sync,
            "hubbub": hubbub,
        }
        if script is not None:
            exec(compile(script, "<command>", "exec"), names)  # noqa: S102 - that is what it is for
            return
        banner = (
            f"{address}: space, root, commit(), abort(), sync() are at hand.\n"
            "Changes are kept by commit(); sync() shows what others have changed."
        )
        code.interact(banner, local=names, exitmsg="")
