"""Which space a command works on, and as of when."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

import hubbub.mount
from hubbub.cli.addresses import URL, tls_files
from hubbub.kernel import ConfigurationError, Tid, tid_at, tid_from_text, tid_text
from hubbub.mount import Space

F = TypeVar("F", bound=Callable[..., Any])

_TID = re.compile(r"(0x)?[0-9a-fA-F]{16}")
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])(?: ago)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_ENDINGS = (".hub", ".toml")


def token_option(command: F) -> F:
    """Add ``--token``."""
    option = click.option(
        "--token",
        metavar="SECRET",
        envvar="HUBBUB_TOKEN",
        default="",
        help="What the host wants peers to show; better in the variable HUBBUB_TOKEN.",
    )
    return option(command)


def at_option(command: F) -> F:
    """Add ``--at``."""
    option = click.option(
        "--at",
        metavar="TID|TIME",
        help="As of then: a tid, a time such as 2026-11-28T10:00, or 2h for two hours ago.",
    )
    return option(command)


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="For programs.")(command)


def is_space(word: str) -> bool:
    """Tell whether ``word`` names a space and not a path inside one: a URL, ``memory:``, or a file."""
    return (
        "://" in word
        or word == "memory:"
        or word.endswith(_ENDINGS)
        or (word not in ("", ".", "/") and Path(word).is_file())
    )


def split_url(words: tuple[str, ...], most: int, usage: str) -> tuple[str, list[str]]:
    """Return the space that ``words`` name first, or the default one, and the words behind it.

    Args:
        words: As they were typed.
        most: How many there may be behind the URL.
        usage: What should have been typed.

    Raises:
        click.UsageError: If there are too many.
    """
    # Where nothing but a space can stand, a word that is none is told by whoever opens it.
    named = bool(words) and (is_space(words[0]) or (most == 0 and len(words) == 1))
    url, rest = (words[0], list(words[1:])) if named else (URL, list(words))
    if len(rest) > most:
        raise click.UsageError(f"too many words; it is {usage}")
    return url, rest


def split_path(words: tuple[str, ...], usage: str) -> tuple[str, str]:
    """Return the space that ``words`` name first, or the default one, and the path inside it; ``""`` for the root.

    Args:
        words: As they were typed.
        usage: What should have been typed.

    Raises:
        click.UsageError: If there are too many, or the first is the folder that the user is in or one beside it.
    """
    url, rest = split_url(words, 1, usage)
    # In front of a path '.' is harmless; where it stands alone somebody means the folder.
    if url == URL and rest and rest[0].partition("/")[0] in (".", ".."):
        raise click.UsageError(
            f"{rest[0]!r} is no space: give the file of one, such as chat.hub, or its host; it is {usage}"
        )
    return url, "".join(rest)


@contextmanager
def open_space(url: str, token: str, *, read_only: bool = True) -> Iterator[Space]:
    """Open the space that a command line names, and never make one.

    Raises:
        ConfigurationError: If there is no such file.
        HubbubError: As `hubbub.open`.
    """
    if "://" not in url and url != "memory:" and not Path(url).exists():
        raise ConfigurationError(f"there is no file {url!r}; hubbub serve --data makes a new space")
    with hubbub.mount.open(url, token=token, read_only=read_only, **tls_files(url)) as space:
        yield space


def moment(text: str | None, space: Space) -> Tid | None:
    """Return the tid that ``--at`` says; None for the newest.

    Raises:
        ConfigurationError: If that is no moment, or one to come.
    """
    if text is None:
        return None
    tid = tid_of(text)
    if tid > space.tid:
        if _TID.fullmatch(text.strip()):
            raise ConfigurationError(
                f"tid {text} is in the future of this space, which ends at {tid_text(space.tid)}"
            )
        return space.tid
    return tid


def tid_of(text: str) -> Tid:
    """Return the tid that ``text`` names: one, or the last one at or before a time.

    Raises:
        ConfigurationError: If it is neither.
    """
    text = text.strip()
    if _TID.fullmatch(text):
        return tid_from_text(text[-16:])
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return tid_at(datetime.now().astimezone().timestamp() - float(ago[1]) * _SECONDS[ago[2]])
    try:
        # Without a zone it is the time of the clock on the wall here.
        return tid_at(datetime.fromisoformat(text).astimezone().timestamp())
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"{text!r} is no moment: give a tid (16 hexadecimal digits), a time such as 2026-11-28T10:00, or 2h "
            "for two hours ago"
        ) from None
