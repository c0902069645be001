"""``hubbub space check`` and ``upgrade``: what would not load, before it is deployed; and the end of what is old."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

import hubbub.mount
from hubbub.cli.addresses import tls_files
from hubbub.cli.arguments import harmless
from hubbub.cli.examples import examples
from hubbub.cli.loading import load_module, module_of
from hubbub.cli.opening import token_option
from hubbub.cli.serving import load_hub
from hubbub.kernel import ConfigurationError, Job, tid_text
from hubbub.mount import Checked, Finding

_SHOWN = 100
_HINTS = {
    "unknown class": "import its module in the application, or name it in formerly= of what it became",
    "newer version": "the application is older than the data: deploy the newer one",
    "step fails": "mend the step; stored data stays as it is",
    "missing attribute": "give the class a default (default_factory for a list or the like), or an upgrade step",
    "value does not fit": "give the class a default, an upgrade step, or an alias for a removed member",
    "key of another shape": "a map would not find it: put these items into it anew, or undo the change of the class",
    "index is behind": "what is indexed is something else now: call rebuild() of the collection in a transaction",
    "missing object": "something refers to what is not there",
    "damaged": "restore a copy",
    "fails to load": "",
}
_PROGRESS_S = 0.2

_APPLICATION = click.argument("application")
_DATA = click.option(
    "--data",
    "-d",
    metavar="URL",
    help="The space: a file, or hub://HOST:PORT of a host.  [default: what serve would use]",
)


@click.command(
    epilog=examples(
        "hubbub space check chat:hub                                the file that serve would use",
        "hubbub space check chat:hub --data backup.hub              another one",
        "hubbub space check chat:hub --data hub://127.0.0.1:1975    a space in use",
    )
)
@_APPLICATION
@_DATA
@token_option
def check(application: str, data: str | None, token: str) -> None:
    """Tell what of a space would not load with APPLICATION's classes. Ends with status 1 if there is anything.

    APPLICATION is module:attribute, such as chat:hub; a module alone will do. Every object that the root leads to is
    read: unknown classes, attributes without a default, values that no longer fit, upgrade steps that fail (they are
    run, on copies in memory), versions that are too new. Nothing is written.
    """
    where = _place(application, data)
    with hubbub.mount.open(where, token=token, read_only=True, **tls_files(where)) as space:
        checked = space.check(_job())
    for line in report(where, checked):
        click.echo(line)
    sys.exit(1 if checked.findings else 0)


@click.command(
    epilog=examples(
        "hubbub space upgrade chat:hub                                the file that serve would use",
        "hubbub space upgrade chat:hub --data hub://127.0.0.1:1975    a space in use",
    )
)
@_APPLICATION
@_DATA
@token_option
def upgrade(application: str, data: str | None, token: str) -> None:
    """Rewrite what is of an older shape than APPLICATION's classes, so that old steps can be taken out of the code.

    Nothing needs it otherwise: what is old is upgraded when it is loaded. It works in small transactions, beside
    everybody else's; stopped and run again it does the rest. Look with hubbub space check before.
    """
    where = _place(application, data)
    with hubbub.mount.open(where, token=token) as space:
        rewritten = space.upgrade(_job())
    click.echo(f"{_count(rewritten, 'object')} rewritten")


def _job() -> Job:
    return Job(_Progress() if sys.stderr.isatty() else None)


def _place(application: str, data: str | None) -> str:
    """Import the application, and return where its space is.

    Raises:
        ConfigurationError: If there is no such application, or no such file.
    """
    kept = None
    if ":" in application:
        kept = load_hub(application).data
    else:
        load_module(application)
    name = module_of(application)[0].rpartition(".")[2]
    where = data or kept or os.environ.get("HUBBUB_DATA") or f"{name}.hub"
    if "://" not in where and where != "memory:" and not Path(where).is_file():
        raise ConfigurationError(
            f"there is no file {where!r}: say which space is to be checked by --data"
        )
    return where


class _Progress:
    """Shows how far it is, in one line of a terminal."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _PROGRESS_S

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _PROGRESS_S
            click.echo(f"\r{what}: {done:,} objects\x1b[K\r", nl=False, err=True)


def report(where: str, checked: Checked) -> list[str]:
    """Return what was found as lines for people."""
    lines = [
        f"{where} at {tid_text(checked.tid)}: {_count(checked.objects, 'object')} "
        f"of {_count(len(checked.classes), 'class', 'classes')}"
    ]
    for name, count in sorted(checked.upgraded.items()):
        lines.append(
            f"  {harmless(name)}: {_count(count, 'object')} of an older version, upgraded on load"
        )
    for name, count in sorted(checked.renamed.items()):
        lines.append(f"  {harmless(name)}: {_count(count, 'object')} under a former name")
    for finding in checked.findings[:_SHOWN]:
        lines += ["", *_finding(finding)]
    if len(checked.findings) > _SHOWN:
        lines += ["", f"... and {len(checked.findings) - _SHOWN:,} more"]
    lines.append("")
    if not checked.findings:
        lines.append("All of it loads.")
    else:
        lines.append(f"{_count(len(checked.findings), 'finding')}: not all of it would load.")
    return lines


def _finding(finding: Finding) -> list[str]:
    kind, name, detail = finding.misfit
    about = harmless(f"{name}: {detail}" if detail else name)
    lines = [
        f"{kind}: {about}",
        f"  {_count(finding.objects, 'object')}, the first is {finding.oid:#x}: {harmless(finding.path)}",
    ]
    hint = _HINTS[kind]
    return [*lines, f"  {hint}"] if hint else lines


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
