"""``hubbub space backup``, ``restore``, ``export``, ``import`` and ``copy``: what leaves a space and comes into one."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

import hubbub.mount
from hubbub.backup import (
    BackupFolder,
    CopyReport,
    Manifest,
    RestoreReport,
    back_up,
    check,
    copy_current,
    copy_history,
    copy_to_store,
)
from hubbub.backup import restore as restore_backup
from hubbub.backup.placing import new_space
from hubbub.cli import objects
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
from hubbub.cli.tables import human_count, human_size, human_time, table
from hubbub.kernel import ConfigurationError, Job, tid_text
from hubbub.store import SQLiteStore
from hubbub.store.making import note_packed


def _tell(report: msgspec.Struct, text: str, as_json: bool) -> None:
    click.echo(as_text(msgspec.to_builtins(report)) if as_json else text)


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


@click.command(
    epilog=examples(
        "hubbub space backup chat.hub backups      all of it the first time, then what is new",
        "hubbub space backup hub://example.org:1975 backups --verify",
        "hubbub space backup --list backups        what there is",
        "hubbub space backup --check backups       can it be restored?",
    )
)
@click.argument("words", nargs=-1, required=True, metavar="[URL] FOLDER")
@token_option
@click.option("--full", is_flag=True, help="Begin anew. What there is stays.")
@click.option(
    "--verify", is_flag=True, help="Restore it into a temporary folder afterwards, and compare all."
)
@click.option("--check", "only_check", is_flag=True, help="Only that, for the backup in FOLDER.")
@click.option("--list", "only_list", is_flag=True, help="Only tell what is in FOLDER.")
@json_option
def backup(
    words: tuple[str, ...],
    token: str,
    full: bool,
    verify: bool,
    only_check: bool,
    only_list: bool,
    as_json: bool,
) -> None:
    """Save a space into FOLDER while it is in use: all of it the first time, and from then on what is new.

    Sessions and jobs are saved too, so the files are for their owner only. A run that was killed is gone on with.
    """
    if only_list or only_check:
        folder = words[-1]
        if only_list:
            _list(BackupFolder(folder).must_read(), as_json)
        else:
            _check(folder, as_json)
        return
    url, rest = split_url(words, 1, "hubbub space backup [URL] FOLDER")
    if not rest:
        raise click.UsageError(f"give the folder too: hubbub space backup {url} FOLDER")
    with open_space(url, token, read_only=False) as space, job_with_progress() as job:
        report = back_up(space._mount, rest[0], full=full, job=job)
    if report.why_full and not as_json:
        click.echo(f"This is a full backup, because {report.why_full}.", err=True)
    kind = "all" if report.is_full else "what is new"
    _tell(
        report,
        f"Saved {kind}: {human_count(report.commits, 'commit')}, {human_count(report.records, 'record')}"
        + (f", {human_count(report.blobs, 'blob')}" if report.blobs else "")
        + f", {human_size(report.size)} in {_took(report.seconds)}; up to {human_time(report.last)} "
        f"({tid_text(report.last)})."
        if report.files
        else f"Nothing is new since {human_time(report.last)} ({tid_text(report.last)}).",
        as_json,
    )
    if verify:
        _check(rest[0], as_json)


def _check(folder: str, as_json: bool) -> None:
    with job_with_progress() as job:
        report = check(folder, job=job)
    _tell(report, f"The backup is whole: {_restored(report)} restored and compared.", as_json)


def _restored(report: RestoreReport) -> str:
    blobs = f", {human_count(report.blobs, 'blob')}" if report.blobs else ""
    return (
        f"{human_count(report.commits, 'commit')}, {human_count(report.records, 'record')}{blobs} in "
        f"{_took(report.seconds)}, up to {human_time(report.last)} ({tid_text(report.last)}),"
    )


def _list(manifest: Manifest, as_json: bool) -> None:
    if as_json:
        click.echo(as_text(msgspec.to_builtins(manifest)))
        return
    if not manifest.files:
        click.echo("There is nothing in this backup yet.", err=True)
        return
    rows = [
        [
            file.name,  # says the kind and the tid, too
            human_time(file.last),
            f"{file.commits:,}",
            human_size(file.size),
        ]
        for file in manifest.files
    ]
    click.echo(table(["FILE", "UP TO", "COMMITS", "SIZE"], rows, (2, 3)))


@click.command(
    epilog=examples(
        "hubbub space restore backups new.hub",
        "hubbub space restore backups new.hub --at 2026-11-28T10:00",
        "hubbub space restore backups new.hub --at 040d4f2967c4d2cc",
    )
)
@click.argument("folder")
@click.argument("file")
@at_option
@json_option
def restore(folder: str, file: str, at: str | None, as_json: bool) -> None:
    """Make the new space FILE out of the backup in FOLDER, and compare it with the backup.

    Nothing that exists is written over. Sessions and jobs come back only where a run of backup has ended.
    """
    tid = None
    if at is not None:
        tid = tid_of(at)
        newest = BackupFolder(folder).must_read().last
        if tid > newest and len(at.strip()) < 16:
            tid = None
    with job_with_progress() as job:
        report = restore_backup(folder, file, at=tid, job=job)
    rows = (
        "Sessions and jobs are not in it: they are saved at the end of a run only."
        if report.rows is None
        else ""
    )
    text = f"{file} is there: {_restored(report)} read back and compared."
    _tell(report, f"{text}\n{rows}".rstrip(), as_json)


@click.command(
    epilog=examples(
        "hubbub space export chat.hub room room.hubx",
        "hubbub space export hub://example.org 0x1f thing.hubx --at 2h",
    )
)
@click.argument("words", nargs=-1, required=True, metavar="[URL] PATH FILE")
@token_option
@at_option
@json_option
def export(words: tuple[str, ...], token: str, at: str | None, as_json: bool) -> None:
    """Write the object at PATH, and all that it refers to, into the new file FILE.

    'hubbub space import' takes it into any space. No class needs to be known.
    """
    url, rest = split_url(words, 2, "hubbub space export [URL] PATH FILE")
    if len(rest) != 2:
        raise click.UsageError("give a path and a file: hubbub space export [URL] PATH FILE")
    path, file = rest
    with open_space(url, token) as space:
        tid = moment(at, space)
        with space.connect(tid) as connection:
            value = objects.find(connection.root, path)
            if not objects.is_object(value):
                raise ConfigurationError(
                    f"{path} is a plain value: export the object that it is in"
                )
            oid = objects.oid_in(value)
        with job_with_progress() as job:
            report = space.export(oid, file, at=tid, job=job)
    _tell(
        report,
        f"{file} has {human_count(report.objects, 'object')} ({report.class_name} first), "
        f"{human_size(report.payload_bytes)} of state.",
        as_json,
    )


@click.command(
    name="import",
    epilog=examples(
        "hubbub space import room.hubx chat.hub room",
        "hubbub space import Data.fs data.hub                        for HubbubStorage",
        "hubbub space import Data.fs data.hub --blob-dir blobs       with its blobs",
        "hubbub space import zeo.conf hub://127.0.0.1:1975           any storage of ZODB's",
        "hubbub space import Data.fs own.hub --native                as Hubbub's own objects",
    ),
)
@click.argument("file")
@click.argument("words", nargs=-1, metavar="[URL] [KEY]")
@token_option
@click.option("--to", metavar="URL", help="The space, in place of the word.")
@click.option("--blob-dir", metavar="FOLDER", help="The blobs of a Data.fs.")
@click.option("--native", is_flag=True, help="Make a ZODB's objects Hubbub's own.")
@click.option("--partial", is_flag=True, help="With --native: leave out what can't be brought.")
@json_option
def import_(
    file: str,
    words: tuple[str, ...],
    token: str,
    to: str | None,
    blob_dir: str | None,
    native: bool,
    partial: bool,
    as_json: bool,
) -> None:
    """Take in what 'hubbub space export' wrote, under KEY of the root, which must be free. Or all of a ZODB.

    An export is seen all at once, or not at all. A ZODB comes with all its transactions, and what it brings is for
    hubbub.zodb.HubbubStorage; FILE is its Data.fs, or a configuration with a storage section.

    With --native come the objects that its root reaches now, as Hubbub's own, into an empty root: their classes have to
    be importable here. What can't be brought is listed, and then nothing is written, unless you say --partial.
    """
    if partial and not native:
        raise click.UsageError("--partial goes with --native")
    words = words if to is None else (to, *words)
    if _is_zodb(file):
        how = (native, partial)
        _import_zodb(file, words, token, blob_dir, how, as_json)
        return
    if blob_dir is not None or native:
        raise click.UsageError("--blob-dir and --native are for a ZODB")
    url, rest = split_url(words, 1, "hubbub space import FILE [URL] KEY")
    if not rest:
        raise click.UsageError("give the key of the root under which it is to be: FILE [URL] KEY")
    with open_space(url, token, read_only=False) as space, job_with_progress() as job:
        report = space.import_(file, rest[0], job=job)
    _tell(
        report,
        f"The root's {rest[0]!r} is there: {human_count(report.objects, 'object')}, "
        f"{human_size(report.payload_bytes)} of state.",
        as_json,
    )


def _is_zodb(file: str) -> bool:
    """Tell whether ``file`` is a ZODB: a FileStorage, or a configuration of any storage."""
    path = Path(file)
    if not path.is_file():
        raise ConfigurationError(f"there is no file {file!r}")
    with path.open("rb") as opened:
        begin = opened.read(4)
    return begin in (b"FS21", b"FS30") or path.suffix in (".conf", ".zcml", ".zconf")


def _import_zodb(
    file: str,
    words: tuple[str, ...],
    token: str,
    blob_dir: str | None,
    how: tuple[bool, bool],
    as_json: bool,
) -> None:
    if len(words) != 1:
        raise click.UsageError(
            f"{file} is a ZODB: give the space that it is to go into, and no key: FILE URL"
        )
    try:
        from hubbub.zodb import importing
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{file} is a ZODB, and reading one needs its package ({error}): pip install 'hubbub[zodb]'"
        ) from None
    source = importing.open_source(file, blob_dir)
    native, partial = how
    if native:
        _import_native(source, words[0], token, partial, as_json)
        return
    with contextlib.closing(source), job_with_progress() as job:
        report = importing.import_storage(source, words[0], token=token, job=job)
    _tell(
        report,
        f"{words[0]} has {human_count(report.transactions, 'transaction')} more, with "
        f"{human_count(report.records, 'record')} and {human_count(report.blobs, 'blob')}; "
        f"up to {human_time(report.last_tid)}.",
        as_json,
    )


def _import_native(source: Any, url: str, token: str, partial: bool, as_json: bool) -> None:
    from hubbub.zodb.native import import_native

    # The classes are the application's, and it is run where it is.
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - a name for sys.path
    # What can't be loaded is told as a problem. ZODB's traceback of it would come first, where nothing takes its logs.
    logging.getLogger("ZODB").addHandler(logging.NullHandler())
    with job_with_progress() as job:
        report = import_native(source, url, token=token, partial=partial, job=job)
    if not as_json:
        for problem in report.problems:
            click.echo(f"left out: {harmless(str(problem))}", err=True)
    _tell(
        report, f"The root of {url} reaches {human_count(report.objects, 'object')} now.", as_json
    )


@click.command(
    epilog=examples(
        "hubbub space copy chat.hub copy.hub",
        "hubbub space copy hub://example.org here.hub --current     without its history",
        "hubbub space copy here.hub hub://example.org:1976          into the empty space of a host",
    )
)
@click.argument("source")
@click.argument("target")
@token_option
@click.option("--current", is_flag=True, help="What there is now, without history.")
@at_option
@json_option
def copy(
    source: str, target: str, token: str, current: bool, at: str | None, as_json: bool
) -> None:
    """Copy the space SOURCE into TARGET: a new file, an empty space, or an older copy, which gets what is new."""
    if at is not None and not current:
        raise click.UsageError("--at goes with --current: a history is copied to its end")
    if source == target or (
        Path(source).exists() and Path(target).exists() and Path(source).samefile(target)
    ):
        raise click.UsageError(
            "SOURCE and TARGET are the same space: name another file to copy into"
        )
    with open_space(source, token) as space, job_with_progress() as job:
        tid = moment(at, space)
        is_new = "://" not in target and target != "memory:" and not Path(target).exists()
        if is_new:
            report = _copy_into_file(space, target, current, tid, job)
        else:
            with open_space(target, token, read_only=False) as other:
                mounts = space._mount, other._mount
                if current:
                    report = copy_current(*mounts, at=tid, job=job)
                else:
                    report = copy_history(*mounts, job=job)
    _tell(
        report,
        f"Copied {human_count(report.commits, 'commit')}, {human_count(report.records, 'record')} in "
        f"{_took(report.seconds)}; {target} goes up to {human_time(report.last)} of {source}.",
        as_json,
    )


def _copy_into_file(
    space: hubbub.mount.Space, target: str, current: bool, tid: int | None, job: Job
) -> CopyReport:
    """Copy into a file that is there only when all of it is."""
    with new_space(target) as built:
        if current:
            with hubbub.mount.open(built) as other:
                report = copy_current(space._mount, other._mount, at=tid, job=job)
        else:
            with contextlib.closing(SQLiteStore(built)) as store:
                report = copy_to_store(space._mount, store, job=job)
        if report.floor:
            note_packed(built, report.floor)
    return report
