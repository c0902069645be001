"""What `hubbub.open` is told, by its arguments or by the ``[open.NAME]`` section of a TOML file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from hubbub.mount.address import URL
from hubbub.mount.moments import When
from hubbub.mount.toml_file import Secret, TOMLFile, nearest

if TYPE_CHECKING:
    from hubbub.mount.space import Space

DEFAULT_CACHE_BYTES = 256 << 20
DEFAULT_BLOB_BYTES = 1 << 30
DEFAULT_WAIT_TIMEOUT_S = 30.0


class Opening(msgspec.Struct, frozen=True):
    """How a space is opened; see `hubbub.open`."""

    url: URL | Sequence[URL] = ""
    token: str = ""
    read_only: bool = False
    wait_timeout_s: float = DEFAULT_WAIT_TIMEOUT_S
    cache_bytes: int = DEFAULT_CACHE_BYTES
    ca: URL | None = None
    cert: URL | None = None
    key: URL | None = None
    blob_dir: URL | None = None
    blob_bytes: int = DEFAULT_BLOB_BYTES
    at: When | None = None
    serializable: bool = False


class OpenSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[open.NAME]``: how `hubbub.open` opens a space by this file.

    Attributes:
        url: Where it is: an address of a host, a list of such, or the path of a file.
        token: What the host asks of its peers, or where that is.
        read_only: Refuse every change.
        wait_timeout_s: Seconds that a call waits for a host that is gone.
        cache_bytes: Bytes of records of a host that are kept.
        ca: The PEM file with the certificates that are trusted for hubs://; without it those of the system.
        cert: The PEM file with a certificate of our own.
        key: The PEM file with its private key, if that is not in the same file.
        blob_dir: The folder where files of a host's blobs are kept; without it a temporary one.
        blob_bytes: About how many bytes of them.
        serializable: What transactions are that don't say.
    """

    url: str | list[str]
    token: str | Secret = ""
    read_only: bool = False
    wait_timeout_s: float = DEFAULT_WAIT_TIMEOUT_S
    cache_bytes: int = DEFAULT_CACHE_BYTES
    ca: str = ""
    cert: str = ""
    key: str = ""
    blob_dir: str = ""
    blob_bytes: int = DEFAULT_BLOB_BYTES
    serializable: bool = False


def open_by_file(path: str, name: str, given: Opening, open_: Callable[[Opening], Space]) -> Space:
    """Open the space ``name`` of the TOML file at ``path``.

    Args:
        path: Of the file.
        name: Of the section; empty for the only one, or the one called ``default``.
        given: What the caller says; it counts where it is not the default.
        open_: Opens what comes out.

    Raises:
        ConfigurationError: If there is no such section, or it makes no sense: says the line and what would.
        HubbubError: As `hubbub.open`.
    """
    file = TOMLFile(path)
    opening = opening_of(file, _chosen(file, name))
    ours = msgspec.structs.asdict(given)
    defaults = msgspec.structs.asdict(Opening())
    changed = {key: value for key, value in ours.items() if value != defaults[key]}
    return open_(msgspec.structs.replace(opening, **changed))


def _chosen(file: TOMLFile, name: str) -> str:
    sections = file.table.get("open")
    if not isinstance(sections, dict) or not sections:
        close = difflib.get_close_matches("open", [key for key in file.table if key != "open"], 1)
        hint = f": is [{close[0]}] meant to be one?" if close else ""
        raise file.error(("open",), f'there is no section [open.NAME] with url = "..."{hint}')
    for key, section in sections.items():
        if not isinstance(section, dict):
            raise file.error(("open", key), f"open.{key} has to be in a section [open.NAME]")
    wanted = name or ("default" if len(sections) > 1 else next(iter(sections)))
    if wanted in sections:
        return wanted
    if not name:
        raise file.error(("open",), f"it opens {', '.join(sections)}: say which")
    raise file.error(("open",), f"there is no section [open.{name}]{nearest(name, sections)}")


def opening_of(file: TOMLFile, name: str) -> Opening:
    """Return what the section ``[open.NAME]`` of ``file`` says.

    Raises:
        ConfigurationError: If it makes no sense.
    """
    section = file.convert_at(OpenSection, "open", name)
    where = ("open", name)
    urls = [section.url] if isinstance(section.url, str) else section.url
    meant = [url if "://" in url or url == "memory:" else file.resolved(url) for url in urls]

    def path(value: str) -> str | None:
        return file.resolved(value) if value else None

    if not meant:
        raise file.error((*where, "url"), "url is an empty list")
    return Opening(
        meant[0] if len(meant) == 1 else meant,
        file.secret(section.token, (*where, "token")),
        section.read_only,
        section.wait_timeout_s,
        section.cache_bytes,
        path(section.ca),
        path(section.cert),
        path(section.key),
        path(section.blob_dir),
        section.blob_bytes,
        serializable=section.serializable,
    )
