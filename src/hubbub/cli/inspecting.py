"""``hubbub tail`` and ``hubbub shell``: look at a space while it is in use."""

from __future__ import annotations

import code
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import click
import msgspec

import hubbub.mount
from hubbub.cli.addresses import URL, tls_files
from hubbub.cli.arguments import harmless
from hubbub.cli.examples import examples
from hubbub.cli.opening import at_option, moment, token_option
from hubbub.cli.tables import human_time
from hubbub.kernel import ConfigurationError, tid_time

_WIDE = 116

_CONNECT = click.option(
    "--connect",
    "-c",
    metavar="URL",
    default=URL,
    show_default=True,
    help="Which host.",
)


@click.command(
    epilog=examples(
        "hubbub tail",
        "hubbub tail --last 100 --no-follow        what was, and leave",
    )
)
@_CONNECT
@token_option
@click.option(
    "--last",
    "-n",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How many past commits are shown first.",
)
@click.option(
    "--follow/--no-follow",
    "-f/-F",
    default=True,
    show_default=True,
    help="Go on as commits arrive.",
)
def tail(connect: str, token: str, last: int, follow: bool) -> None:
    """Print a line for each commit: time, who, command, objects, bytes, ms. Ctrl-C ends it."""
    try:
        for entry in hubbub.mount.tail(
            connect, token=token, last=last, follow=follow, **tls_files(connect)
        ):
            columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE
            click.echo(tail_line(entry, columns))
            sys.stdout.flush()
    except KeyboardInterrupt:
        click.echo()


def tail_line(entry: Any, columns: int = _WIDE) -> str:
    """Return one commit as a line that fits into ``columns``, from 80 on, unless the command or the note is long."""
    is_wide = columns >= _WIDE
    who_width = 20 if is_wide else 16
    what_width = 44 if is_wide else max(18, columns - 62)
    try:
        moment = time.strftime(
            "%Y-%m-%d %H:%M:%S" if is_wide else "%m-%d %H:%M:%S",
            time.localtime(tid_time(entry.tid)),
        )
    except (ValueError, OverflowError, OSError):
        moment = f"(no time: {entry.tid:x})"
    label = entry.label
    # An anonymous user's id is a long digest; its beginning tells them apart.
    who = harmless(label.identity[:who_width]) or "host"
    # Peers write labels of their own.
    what = f"{harmless(label.command[:60])}{_arguments(label.args)}" if label.command else "-"
    took = f"{entry.ms:7.1f} ms" if entry.ms >= 0 else "         -"
    size = f"{entry.objects:>3} obj {entry.byte_count:>7} B {took}"
    # What somebody wrote goes last, where its length does no harm.
    return f"{moment}  {who:<{who_width}} {what:<{what_width}} {size}  {harmless(label.note[:60])}".rstrip()


def _arguments(data: bytes) -> str:
    if not data:
        return ""
    try:
        values = msgspec.msgpack.decode(data, type=list)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "(...)"
    text = ", ".join(repr(value) for value in values)
    return f"({text[:60]}{'...' if len(text) > 60 else ''})"


@click.command(
    epilog=examples(
        "hubbub shell",
        "hubbub shell chat.hub -x 'print(sorted(root))'",
        "hubbub shell chat.hub --at 2h             as it was, to look at only",
        ">>> import chat                           the classes of your application",
        ">>> root['room'].messages.trim(keep=100)",
        ">>> commit()",
        ">>> next(history(root['room']))           who changed it last",
    )
)
@click.argument("url", required=False)
@token_option
@at_option
@click.option("--command", "-x", "script", metavar="CODE", help="Run this and leave.")
def shell(url: str | None, token: str, at: str | None, script: str | None) -> None:
    """Open a Python prompt with a space in hand.

    URL is a host (hub://127.0.0.1:1975, the default), or the file of a space that nobody serves now. At hand are root,
    commit(), abort(), sync(), history(object), undo(tid), and space and connection for the rest. You are a peer:
    nothing stops you.
    """
    address = url or URL
    if "://" not in address and address != "memory:" and not Path(address).exists():
        raise ConfigurationError(
            f"there is no file {address!r}; hubbub serve --data makes a new space"
        )
    if "" not in sys.path:
        sys.path.insert(0, "")  # as in Python's own prompt: for the application's classes
    with (
        hubbub.mount.open(address, token=token, **tls_files(address)) as space,
        space.connect(moment(at, space)) as connection,
    ):
        names = {
            "space": space,
            "connection": connection,
            "root": connection.root,
            "commit": connection.commit,
            "abort": connection.abort,
            "sync": connection.sync,
            "history": space.history,
            "undo": space.undo,
            "hubbub": hubbub,
        }
        if script is not None:
            _run(script, names)
            return
        seen = "" if at is None else f" as of {human_time(connection.tid)}, to look at only"
        banner = (
            f"{address}{seen}: space, root, commit(), abort(), sync(), history(object), undo(tid) are at hand.\n"
            "Changes are kept by commit(); sync() shows what others have changed.\n"
            "Import your application's module to use its classes. Ctrl-D leaves."
        )
        code.interact(banner, local=names, exitmsg="")


def _run(script: str, names: dict[str, Any]) -> None:
    """Run what `-x` gave. An error of it is shown as Python would, and ends the program."""
    try:
        exec(compile(script, "<command>", "exec"), names)  # noqa: S102 - that is what it is for
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises
        told = traceback.TracebackException.from_exception(error)
        told.stack = traceback.StackSummary.from_list(
            [frame for frame in told.stack if frame.filename != __file__]
        )
        click.echo("".join(told.format()).rstrip(), err=True)
        sys.exit(1)
