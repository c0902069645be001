"""``hubbub space stats``, ``verify``, ``pack`` and ``undo``: keep a space in order."""

from __future__ import annotations

import sys
from itertools import islice

import click
import msgspec

from hubbub.cli.arguments import as_text, harmless
from hubbub.cli.examples import examples
from hubbub.cli.opening import (
    at_option,
    json_option,
    moment,
    open_space,
    split_url,
    tid_of,
    token_option,
)
from hubbub.cli.progress import job_with_progress
from hubbub.cli.tables import human_count, human_size, human_time
from hubbub.kernel import ConfigurationError, Job, Tid, tid_text
from hubbub.mount import Space

_WORDS = click.argument("words", nargs=-1, metavar="[URL]")
_SHOWN = 100


@click.command(
    epilog=examples(
        "hubbub space stats",
        "hubbub space stats chat.hub --at 7d       how much was there a week ago",
        "hubbub space stats chat.hub --json",
    )
)
@_WORDS
@token_option
@at_option
@json_option
def stats(words: tuple[str, ...], token: str, at: str | None, as_json: bool) -> None:
    """Tell how much there is in a space: objects, records of the past, bytes. With --at what there was then."""
    url, _ = split_url(words, 0, "hubbub space stats [URL]")
    with open_space(url, token) as space:
        tid = moment(at, space)
        if tid is not None:
            with space.at(tid), job_with_progress() as job:
                _tell_stats_at(space, tid, job, as_json)
            return
        found = space.count()
        retention = space.retention
    if as_json:
        click.echo(as_text({**msgspec.to_builtins(found), "retention_s": retention}))
        return
    lines = [
        ("objects", f"{found.objects:,}"),
        ("records", f"{found.records:,}, those of the past included"),
        ("transactions", f"{found.transactions:,}"),
        ("state", f"{human_size(found.payload_bytes)}, all records"),
        ("blobs", f"{found.blobs:,}, {human_size(found.blob_bytes)}"),
        ("on the disk", human_size(found.file_bytes) if found.file_bytes else "nothing: in memory"),
        ("first", f"{human_time(found.first_tid)}  {tid_text(found.first_tid)}"),
        ("last", f"{human_time(found.last_tid)}  {tid_text(found.last_tid)}"),
        ("packed", f"up to {human_time(found.packed_tid)}" if found.packed_tid else "never"),
        ("keeps", "all of its past" if retention is None else f"the last {_span(retention)}"),
    ]
    for name, text in lines:
        click.echo(f"{click.style(name.ljust(13), dim=True)}{text}")


def _tell_stats_at(space: Space, tid: Tid, job: Job, as_json: bool) -> None:
    objects = payload_bytes = 0
    after = -1
    while piece := space._mount.upkeep.current(after, tid):
        objects += len(piece)
        payload_bytes += sum(len(record.payload) for record in piece)
        after = piece[-1].oid
        job.step("counting", objects)
    if as_json:
        click.echo(as_text({"at": int(tid), "objects": objects, "payload_bytes": payload_bytes}))
        return
    lines = [
        ("at", f"{human_time(tid)}  {tid_text(tid)}"),
        ("objects", f"{objects:,}"),
        ("state", f"{human_size(payload_bytes)}, without the past"),
    ]
    for name, text in lines:
        click.echo(f"{click.style(name.ljust(13), dim=True)}{text}")


def _span(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} seconds"


@click.command(
    epilog=examples("hubbub space verify chat.hub", "hubbub space verify hub://example.org --json")
)
@_WORDS
@token_option
@json_option
def verify(words: tuple[str, ...], token: str, as_json: bool) -> None:
    """Read all there is in a space, and tell what is damaged. Ends with status 1 if anything is."""
    url, _ = split_url(words, 0, "hubbub space verify [URL]")
    with open_space(url, token) as space, job_with_progress() as job:
        found = list(islice(space.verify(job), _SHOWN + 1))
    if as_json:
        click.echo(as_text([msgspec.to_builtins(damage) for damage in found]))
    elif not found:
        click.echo("All of it is sound.")
    else:
        for damage in found[:_SHOWN]:
            where = f"{tid_text(damage.tid)}  " if damage.tid else ""
            click.secho(f"{where}{harmless(damage.what)}", fg="red")
        more = "more than " if len(found) > _SHOWN else ""
        count = human_count(min(len(found), _SHOWN), "damage", "damages")
        click.echo(
            f"{more}{count}. Stop writing, copy the files away, and restore a backup.", err=True
        )
    if found:
        sys.exit(1)


@click.command(
    epilog=examples(
        "hubbub space pack chat.hub --keep 30d     what is older than thirty days",
        "hubbub space pack --before 2026-11-01     of the host here",
        "hubbub space pack chat.hub --no-gc        keep what the root can't reach",
    )
)
@_WORDS
@token_option
@click.option("--keep", metavar="TIME", help="Keep what could be read this long ago, such as 30d.")
@click.option("--before", metavar="TID|TIME", help="Keep what could be read then or later.")
@click.option(
    "--gc/--no-gc", default=True, show_default=True, help="Collect what the root can't reach."
)
@click.option("--force", is_flag=True, help="Go beyond what the space declares to keep.")
@json_option
def pack(
    words: tuple[str, ...],
    token: str,
    keep: str | None,
    before: str | None,
    gc: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Drop the past that is not kept any more, and what can't be reached, while the space is in use.

    Without --keep and --before it goes as far as the space declares; all of the past if it declares nothing. What is
    dropped can't be read or undone any more, but from a backup.
    """
    url, _ = split_url(words, 0, "hubbub space pack [URL]")
    if keep is not None and before is not None:
        raise click.UsageError("give --keep or --before, not both: each says how far to go")
    with open_space(url, token, read_only=False) as space, job_with_progress() as job:
        end = moment(before, space)
        report = space.pack(end, keep=keep, collect=gc, force=force, job=job)
    if as_json:
        click.echo(as_text(msgspec.to_builtins(report)))
        return
    click.echo(
        f"Packed up to {human_time(report.tid)}: {human_count(report.records, 'record')}, "
        f"{human_count(report.objects, 'object')}, {human_count(report.blobs, 'blob')} dropped; "
        f"{human_size(report.freed_bytes)} freed in {report.seconds:.1f} s."
    )


@click.command(
    epilog=examples(
        "hubbub space history chat.hub             which one?",
        "hubbub space undo chat.hub 040d4f2967c4d2cc",
        "hubbub space undo chat.hub 040d4f2967c4d2cc 040d4f2967c4d2ff --note 'wrong room'",
    )
)
@click.argument("words", nargs=-1, required=True, metavar="[URL] TID...")
@token_option
@click.option("--note", help="Why; kept with it.")
@json_option
def undo(words: tuple[str, ...], token: str, note: str | None, as_json: bool) -> None:
    """Take back transactions, as if they had not run. It is a transaction itself, and can be undone in turn.

    What was changed again since is merged where its class can; else nothing is stored, and you are told why.
    """
    url, tids = split_url(words, 1000, "hubbub space undo [URL] TID...")
    if not tids:
        raise click.UsageError("give the tids to undo; hubbub space history shows them")
    for text in tids:
        if len(text.removeprefix("0x")) != 16:
            raise ConfigurationError(f"{text!r} is no tid: that is 16 hexadecimal digits")
    with open_space(url, token, read_only=False) as space:
        tid = space.undo([tid_of(text) for text in tids], note=note)
    if as_json:
        click.echo(as_text({"tid": tid_text(tid)}))
        return
    click.echo(
        f"Undone, as transaction {tid_text(tid)}. To take that back: hubbub space undo {url} {tid_text(tid)}"
    )
