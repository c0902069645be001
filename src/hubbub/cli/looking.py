"""``hubbub space ls``, ``show``, ``history``, ``diff`` and ``stats``: look at what is in a space, and at what was."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

import click

from hubbub.cli import objects
from hubbub.cli.arguments import as_text, harmless
from hubbub.cli.comparing import compared
from hubbub.cli.examples import examples
from hubbub.cli.opening import (
    at_option,
    json_option,
    moment,
    open_space,
    split_path,
    tid_of,
    token_option,
)
from hubbub.cli.tables import human_count, human_size, human_time, table
from hubbub.kernel import ConfigurationError, FeedGapError, Label, Record, Tid, tid_text, tid_time
from hubbub.mount import FeedEntry, Space

_WORDS = click.argument("words", nargs=-1, metavar="[URL] [PATH]")


def _label_text(label: Label) -> str:
    what = label.command or "-"
    note = f" ({label.note})" if label.note else ""
    return harmless(f"{what}{note}"[:60])


def _who(label: Label) -> str:
    return harmless(label.identity[:20]) or "host"


@click.command(
    epilog=examples(
        "hubbub space ls                           the root of the host here",
        "hubbub space ls chat.hub room/messages    of a file that nobody serves",
        "hubbub space ls chat.hub --at 2h          as it was two hours ago",
        "hubbub space ls chat.hub 0x1f --json",
    )
)
@_WORDS
@token_option
@at_option
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="So many entries at most.",
)
@json_option
def ls(words: tuple[str, ...], token: str, at: str | None, limit: int, as_json: bool) -> None:
    """List what is in the root, or in the object at PATH.

    PATH is keys, attributes and positions with '/' between, such as room/messages/3; or an oid such as 0x1f.
    """
    url, path = split_path(words, "hubbub space ls [URL] [PATH]")
    with open_space(url, token) as space, space.connect(moment(at, space)) as connection:
        value = objects.find(connection.root, path)
        found = list(islice(objects.entries(value), limit + 1))
        listed = found[:limit]
        records = _records(
            space, [e.value for e in listed if objects.is_object(e.value)], connection.tid
        )
        if as_json:
            click.echo(as_text([_entry_json(entry, records) for entry in listed]))
            return
        if not listed:
            _say_empty(value, path or "the root")
            return
        click.echo(_listing(listed, records))
        if len(found) > limit:
            count = objects.count_in(value)
            of = f" of {count:,}" if count is not None else ""
            click.echo(f"... the first {limit:,}{of}; --limit shows more", err=True)


def _say_empty(value: Any, where: str) -> None:
    if objects.is_object(value) and not objects.is_container_known(value):
        click.echo(
            f"{where} is a container of class {objects.stored_name(value)}, which is not known here: "
            "hubbub space show lists what it refers to",
            err=True,
        )
    elif objects.is_object(value) or isinstance(value, dict | list | tuple | set | frozenset):
        click.echo(f"{where} is empty.", err=True)
    else:
        click.echo(objects.shown(value))


def _records(space: Space, values: list[Any], at: int) -> dict[int, Record]:
    """Return the records of objects, by oid."""
    oids = list(dict.fromkeys(map(objects.oid_in, values)))
    found: dict[int, Record] = {}
    for start in range(0, len(oids), 1000):
        for record in space._mount.upkeep.load_many(oids[start : start + 1000], at):
            found[record.oid] = record
    return found


def _entry_json(entry: objects.Entry, records: dict[int, Record]) -> dict[str, Any]:
    if not objects.is_object(entry.value):
        kind = objects.stored_name(entry.value)
        return {"name": entry.name, "type": kind, "value": objects.plain(entry.value)}
    record = records.get(objects.oid_in(entry.value))
    return {
        "name": entry.name,
        "class": objects.stored_name(entry.value),
        "oid": f"{objects.oid_in(entry.value):#x}",
        **({} if record is None else {"tid": tid_text(record.tid), "bytes": len(record.payload)}),
    }


def _listing(listed: list[objects.Entry], records: dict[int, Record]) -> str:
    heads = ["NAME", "CLASS", "OID", "SIZE", "CHANGED", "VALUE"]
    rows = []
    for entry in listed:
        value = entry.value
        if objects.is_object(value):
            record = records.get(objects.oid_in(value))
            size = "-" if record is None else human_size(len(record.payload))
            changed = "-" if record is None else human_time(record.tid)
            rows.append(
                [
                    entry.name,
                    objects.stored_name(value),
                    f"{objects.oid_in(value):#x}",
                    size,
                    changed,
                    "",
                ]
            )
        else:
            rows.append(
                [entry.name, objects.stored_name(value), "", "", "", objects.shown(value, 60)]
            )
    wanted = [n for n in range(len(heads)) if any(row[n] for row in rows)]
    return table(
        [heads[n] for n in wanted],
        [[row[n] for n in wanted] for row in rows],
        [place for place, n in enumerate(wanted) if heads[n] in ("OID", "SIZE")],
    )


@click.command(
    epilog=examples(
        "hubbub space show chat.hub room",
        "hubbub space show room/messages --at 2026-11-28T10:00",
        "hubbub space show chat.hub 0x1f --json",
    )
)
@_WORDS
@token_option
@at_option
@json_option
def show(words: tuple[str, ...], token: str, at: str | None, as_json: bool) -> None:
    """Show an object: its class, when it was changed and by whom, and its attributes.

    Its class need not be known here. PATH is as in 'hubbub space ls'.
    """
    url, path = split_path(words, "hubbub space show [URL] [PATH]")
    with open_space(url, token) as space, space.connect(moment(at, space)) as connection:
        value = objects.find(connection.root, path)
        if not objects.is_object(value):
            click.echo(as_text(objects.plain(value)) if as_json else objects.shown(value, 100_000))
            return
        records = _records(space, [value], connection.tid)
        record = records.get(objects.oid_in(value))
        entry = None if record is None else space._mount.upkeep.transaction(record.tid)
        label = Label() if entry is None else entry.label
        contents = list(islice(objects.entries(value), 1001))
        if as_json:
            click.echo(as_text(_object_json(value, record, label, contents)))
            return
        _show_object(value, record, label, contents)


def _object_json(
    value: Any, record: Record | None, label: Label, contents: list[objects.Entry]
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "oid": f"{objects.oid_in(value):#x}",
        "class": objects.stored_name(value),
    }
    if record is not None:
        found |= {
            "tid": tid_text(record.tid),
            "time": tid_time(record.tid),
            "bytes": len(record.payload),
            "refs": [f"{ref:#x}" for ref in record.refs],
            "who": label.identity,
            "command": label.command,
        }
    found["contents"] = {entry.name: objects.plain(entry.value) for entry in contents[:1000]}
    return found


def _show_object(
    value: Any, record: Record | None, label: Label, contents: list[objects.Entry]
) -> None:
    lines = [("class", objects.stored_name(value)), ("oid", f"{objects.oid_in(value):#x}")]
    if record is None:
        lines.append(
            ("stored", "never: it is the empty root" if not objects.oid_in(value) else "no")
        )
    else:
        lines += [
            ("changed", f"{human_time(record.tid)} by {_who(label)}: {_label_text(label)}"),
            ("tid", tid_text(record.tid)),
            (
                "size",
                f"{human_size(len(record.payload))}, refers to {human_count(len(record.refs), 'object')}",
            ),
        ]
    for name, text in lines:
        click.echo(f"{click.style(name.ljust(8), dim=True)} {harmless(text)}")
    click.echo()
    if not contents and record is not None and record.refs:
        refs = ", ".join(f"{ref:#x}" for ref in record.refs[:50])
        click.echo(f"Its class is not known here. It refers to {refs}")
    elif not contents:
        click.echo("It is empty.")
    width = min(max((len(entry.name) for entry in contents), default=0), 30)
    for entry in contents[:1000]:
        name = click.style(harmless(entry.name).ljust(width), bold=True)
        click.echo(f"{name}  {harmless(objects.shown(entry.value, 2000))}")
    if len(contents) > 1000:
        click.echo("... the first 1,000; hubbub space ls --limit shows more", err=True)


@click.command(
    epilog=examples(
        "hubbub space history chat.hub room",
        "hubbub space history                      the newest commits of the whole space",
        "hubbub space history chat.hub 0x1f -n 5 --json",
    )
)
@_WORDS
@token_option
@at_option
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="So many at most.",
)
@json_option
def history(words: tuple[str, ...], token: str, at: str | None, limit: int, as_json: bool) -> None:
    """Tell who changed the object at PATH, and when; newest first. Without PATH all commits of the space."""
    url, path = split_path(words, "hubbub space history [URL] [PATH]")
    with open_space(url, token) as space:
        end = moment(at, space) or space.tid
        rows = _object_history(space, path, end, limit) if path else _commits(space, end, limit)
        if as_json:
            click.echo(as_text(rows))
            return
        if not rows:
            click.echo("There is nothing yet.", err=True)
            return
        heads = ["TID", "TIME", "WHO", "WHAT", "OBJECTS", "SIZE"]
        shown = [
            [
                row["tid"],
                human_time(int(row["tid"], 16)),
                row["who"] or "host",
                row["what"],
                str(row["objects"]),
                "gone" if row.get("gone") else human_size(row["bytes"]),
            ]
            for row in rows
        ]
        click.echo(table(heads, shown, (4, 5)))


def _row(
    tid: int, label: Label, objects_: int, byte_count: int, gone: bool = False
) -> dict[str, Any]:
    return {
        "tid": tid_text(tid),
        "time": tid_time(tid),
        "who": label.identity[:20],
        "what": _label_text(label),
        "objects": objects_,
        "bytes": byte_count,
        **({"gone": True} if gone else {}),
    }


def _object_history(space: Space, path: str, end: Tid, limit: int) -> list[dict[str, Any]]:
    upkeep = space._mount.upkeep
    with space.connect(end) as connection:
        value = objects.find(connection.root, path)
        if not objects.is_object(value):
            raise ConfigurationError(
                f"{path} is a plain value, which has no history of its own: ask for the object that it is in"
            )
        oid = objects.oid_in(value)
    rows = []
    for tid in upkeep.history(oid, end + 1, limit):
        record, entry = upkeep.revision(oid, tid), upkeep.transaction(tid)
        label, count = (Label(), 0) if entry is None else (entry.label, len(entry.oids))
        rows.append(_row(tid, label, count, len(record.payload), record.is_gone))
    return rows


def _commits(space: Space, end: Tid, limit: int) -> list[dict[str, Any]]:
    """Return the newest commits up to ``end``: the feed goes forwards, so it is read from further and further back."""
    step, after = 1 << 32, int(end)
    found: list[FeedEntry] = []
    while after and len(found) < limit:
        after = max(0, int(end) - step)
        step *= 8
        try:
            found = _newest(space, after, end, limit)
        except FeedGapError:
            after = 0
            found = _newest(space, after, end, limit)
    return [_row(e.tid, e.label, len(e.oids), e.byte_count) for e in reversed(found)]


def _newest(space: Space, after: int, end: Tid, limit: int) -> list[FeedEntry]:
    found: deque[FeedEntry] = deque(maxlen=limit)
    while entries := [entry for entry in space.feed(after) if entry.tid <= end]:
        found.extend(entries)
        after = entries[-1].tid
    return list(found)


@click.command(
    epilog=examples(
        "hubbub space diff chat.hub --from 1h      what the last hour has changed",
        "hubbub space diff chat.hub --from 2026-11-28T10:00 --to 2026-11-28T11:00",
        "hubbub space diff chat.hub room --from 040d4f2967c4d2cc",
    )
)
@_WORDS
@token_option
@click.option("--from", "begin", metavar="TID|TIME", required=True, help="The state before.")
@click.option("--to", "end", metavar="TID|TIME", help="The state after.  [default: now]")
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="So many objects at most.",
)
@json_option
def diff(
    words: tuple[str, ...], token: str, begin: str, end: str | None, limit: int, as_json: bool
) -> None:
    """Show which objects differ between two moments, attribute by attribute; or only the object at PATH."""
    url, path = split_path(words, "hubbub space diff [URL] [PATH] --from TID|TIME")
    with open_space(url, token) as space:
        last = moment(end, space) or space.tid
        first = min(tid_of(begin), last)
        only = None
        if path:
            with space.connect(last) as connection:
                value = objects.find(connection.root, path)
                only = objects.oid_in(value) if objects.is_object(value) else None
            if only is None:
                raise ConfigurationError(f"{path} is a plain value: give the object that it is in")
        changes = list(islice(compared(space, first, last, only), limit + 1))
        if as_json:
            click.echo(as_text([change.as_json() for change in changes[:limit]]))
            return
        if not changes:
            click.echo(
                f"Nothing differs between {human_time(first)} and {human_time(last)}.", err=True
            )
        for change in changes[:limit]:
            head = f"{change.sign} {change.class_name} {change.oid:#x}"
            colour = {"+": "green", "-": "red"}.get(change.sign, "yellow")
            click.secho(harmless(head), fg=colour, bold=True)
            for name, before, after in change.lines:
                if before is not None:
                    click.secho(f"    - {harmless(name)} = {harmless(before)}", fg="red")
                if after is not None:
                    click.secho(f"    + {harmless(name)} = {harmless(after)}", fg="green")
        if len(changes) > limit:
            click.echo(f"... the first {limit:,}; --limit shows more", err=True)
