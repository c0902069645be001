"""``hub.toml``: what `hubbub serve --config` reads. Each key is an attribute here, and is described where it is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from hubbub.app import Hub
from hubbub.gateway.binding import host_and_port, is_unix
from hubbub.gateway.peers import PeerOptions
from hubbub.kernel import ConfigurationError, Limits, seconds_of
from hubbub.mount.opening import OpenSection
from hubbub.mount.toml_file import Secret, TOMLFile, nearest
from hubbub.perspective.tokens import tokens_path
from hubbub.serving.plan import ListenPlan, Plan, Public, SpacePlan, TLSPlan

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

_LIMITS = {field.name: field.default for field in msgspec.structs.fields(Limits)}
LimitsSection = msgspec.defstruct(
    "LimitsSection",
    [(name, type(default) | None, None) for name, default in _LIMITS.items()],
    module=__name__,
    frozen=True,
    kw_only=True,
)
"""``[limits]``: how much outsiders may ask for; what is left out stays as the application says."""


class PeersSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[spaces.NAME.peers]``: how much one peer may do.

    Attributes:
        heartbeat_s: Seconds of silence after which a peer that waits asks for a sign of life.
        max_message_bytes: Bytes of one message from a peer, such as a commit.
        buffer_limit_bytes: Bytes that may wait for a peer that does not read, before it is told to drop its cache.
        max_commits: Commits of one peer that wait for their answers.
        max_upload_bytes: Bytes of blobs of one peer that were uploaded and are not committed.
    """

    heartbeat_s: float = PeerOptions().heartbeat_s
    max_message_bytes: int = PeerOptions().max_message_bytes
    buffer_limit_bytes: int = PeerOptions().buffer_limit_bytes
    max_commits: int = PeerOptions().max_commits
    max_upload_bytes: int = PeerOptions().max_upload_bytes

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} has to be more than 0")


class SpaceSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[spaces.NAME]``: one space. Clients find it at ``hub://host:port/NAME``.

    Attributes:
        data: Where it is kept: a file, or "memory:".
        application: The application, as module:attribute or file.py:attribute; without it the bare space is served.
        web: Address of its web page: "HOST:PORT", or a path for a Unix socket.
        web_tls: The page is https, with the certificate in [tls].
        public: What strangers may: "users" be users where a checker lets anybody in, "read-only" read the present of
            the space as peers, "all" both.
        read_only: Peers may read and not write, whatever they show.
        keep: For how long the space keeps its past, such as "30d": a pack does not go beyond that.
        limits: A table; see [limits], for this space only.
        peers: A table: how much one peer may do.
    """

    data: str
    application: str = ""
    web: str = ""
    web_tls: bool = False
    public: Literal["no", "users", "read-only", "all"] = "no"
    read_only: bool = False
    keep: str = ""
    limits: LimitsSection | None = None  # type: ignore[valid-type]
    peers: PeersSection = PeersSection()


class ListenSection(msgspec.Struct, frozen=True, kw_only=True):
    """One of ``listen``, where it is more than an address.

    Attributes:
        address: "HOST:PORT", or a path for a Unix socket.
        tls: It speaks TLS: hubs://
    """

    address: str
    tls: bool = False


class TLSSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[tls]``: the certificate of this host.

    Attributes:
        certificate: A PEM file with it, and those that lead to its root.
        key: A PEM file with its private key, if that is not in the same file.
        client_ca: A PEM file: clients may show certificates that one of these has signed; what such a peer may do says
            hubbub token add --subject.
        require_client_certificate: Turn clients away that show none.
    """

    certificate: str
    key: str = ""
    client_ca: str = ""
    require_client_certificate: bool = False


class LoggingSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[logging]``.

    Attributes:
        level: From which level on something is logged.
        file: Where to; to standard error without it.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    file: str = ""


class Sections(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file.

    Attributes:
        listen: Addresses for users and peers: "HOST:PORT", a path for a Unix socket, or { address = ..., tls = true };
            one, or a list.
        default: The space of clients who name none; without it the only one.
        token: One secret that lets peers in with all rights, or where it is.
        tokens: The file of what `hubbub token` makes; without it, one beside this file.
        tls: A table: the certificate of this host.
        limits: A table: how much outsiders may ask for, in all spaces.
        logging: A table: what is logged, and where to.
        spaces: Tables: what is served.
        open: Tables: how `hubbub.open` opens spaces by this file. The host has no use for them.
    """

    listen: str | ListenSection | list[str | ListenSection] = "127.0.0.1:1975"
    default: str = ""
    token: str | Secret = ""
    tokens: str = ""
    tls: TLSSection | None = None
    limits: LimitsSection | None = None  # type: ignore[valid-type]
    logging: LoggingSection = LoggingSection()
    spaces: dict[str, SpaceSection] = {}
    open: dict[str, OpenSection] = {}


class Configuration:
    """What a file says, checked as far as it can be without running anything.

    Args:
        file: The file.

    Raises:
        ConfigurationError: If it makes no sense: says the line, the key and what would.
    """

    def __init__(self, file: TOMLFile) -> None:
        self.file = file
        self.sections = file.convert(Sections)
        self._check()

    @property
    def spaces(self) -> Mapping[str, SpaceSection]:
        """What is served, by name."""
        return self.sections.spaces

    @property
    def tokens_path(self) -> Path:
        """Where the tokens are."""
        if self.sections.tokens:
            return Path(self.file.resolved(self.sections.tokens))
        return tokens_path(self.file.path)

    @property
    def log_file(self) -> str | None:
        """Where to log; None: to standard error."""
        file = self.sections.logging.file
        return self.file.resolved(file) if file else None

    def plan(self, load_hub: Callable[[str], Hub]) -> Plan:
        """Return what is to be served.

        Args:
            load_hub: Returns the hub that ``module:attribute`` or ``/path/file.py:attribute`` names.

        Raises:
            ConfigurationError: If a secret, a file or an application is not there.
        """
        sections = self.sections
        shared = Limits(**_given(sections.limits))
        return Plan(
            spaces=[
                self._space(name, section, load_hub) for name, section in sections.spaces.items()
            ],
            listen=self._listen(),
            tls=self._tls(),
            secret=self.file.secret(sections.token, ("token",)),
            tokens=self.tokens_path,
            default=sections.default,
            limits=shared,
        )

    # --- within -------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        sections, error = self.sections, self.file.error
        if not sections.spaces:
            raise error(
                ("spaces",), 'it serves nothing: add a section [spaces.NAME] with data = "NAME.hub"'
            )
        for name in sections.spaces:
            if not _NAME.fullmatch(name):
                raise error(
                    ("spaces", name),
                    f"{name!r} is no name of a space: letters, digits, '.', '-' and '_', 63 at most",
                )
        if sections.default and sections.default not in sections.spaces:
            raise error(
                ("default",),
                f"there is no space {sections.default!r}{nearest(sections.default, list(sections.spaces))}",
            )
        self._check_limits(("limits",), sections.limits)
        seen: dict[str, str] = {}
        for name, space in sections.spaces.items():
            self._check_space(name, space)
            if space.data == "memory:":
                continue
            where = os.path.realpath(self.file.resolved(space.data))
            if where in seen:
                raise error(
                    ("spaces", name, "data"), f"spaces {seen[where]} and {name} have the same data"
                )
            seen[where] = name
        for number, listen in enumerate(self._listen()):
            self._check_address(("listen", number), listen.address)
            if listen.tls and sections.tls is None:
                raise error(("listen",), f"{listen.address} is to speak TLS: add a section [tls]")

    def _check_space(self, name: str, space: SpaceSection) -> None:
        error, where = self.file.error, ("spaces", name)
        if "://" in space.data or not space.data:
            raise error((*where, "data"), f'data is a file or "memory:", not {space.data!r}')
        folder = Path(self.file.resolved(space.data)).parent
        if space.data != "memory:" and not folder.is_dir():
            raise error((*where, "data"), f"the folder {folder} does not exist")
        if space.data.endswith(("-accounts", "-tokens")):
            raise error(
                (*where, "data"), f"{space.data!r} is a file of accounts or tokens: no space"
            )
        self._check_limits((*where, "limits"), space.limits)
        if space.keep:
            try:
                seconds_of(space.keep)
            except ConfigurationError as wrong:
                raise error((*where, "keep"), str(wrong)) from None
        if space.web:
            self._check_address((*where, "web"), space.web)
            if not space.application:
                raise error((*where, "web"), "a page needs an application")
        if space.web_tls and self.sections.tls is None:
            raise error((*where, "web_tls"), "the page is to be https: add a section [tls]")

    def _check_limits(self, where: tuple[str, ...], limits: msgspec.Struct | None) -> None:
        for key, value in _given(limits).items():
            if not value > 0:
                raise self.file.error((*where, key), f"{key} has to be more than 0, not {value!r}")

    def _check_address(self, where: tuple[str | int, ...], address: str) -> None:
        if not is_unix(address):
            try:
                host_and_port(address)
            except ConfigurationError as error:
                raise self.file.error(where, str(error)) from None

    def _address(self, address: str) -> str:
        """Return it with a path that is relative to the file, if it is one."""
        if not is_unix(address):
            return address
        return self.file.resolved(address.removeprefix("unix:"))

    def _listen(self) -> list[ListenPlan]:
        listen = self.sections.listen
        found = listen if isinstance(listen, list) else [listen]
        return [
            ListenPlan(self._address(one))
            if isinstance(one, str)
            else ListenPlan(self._address(one.address), one.tls)
            for one in found
        ]

    def _tls(self) -> TLSPlan | None:
        section = self.sections.tls
        if section is None:
            return None
        if section.require_client_certificate and not section.client_ca:
            raise self.file.error(
                ("tls", "require_client_certificate"),
                "say by client_ca whose certificates are meant",
            )
        plan = TLSPlan(
            certificate=self.file.resolved(section.certificate),
            key=self.file.resolved(section.key) if section.key else None,
            client_ca=self.file.resolved(section.client_ca) if section.client_ca else None,
            is_required=section.require_client_certificate,
        )
        try:
            plan.context()
        except ConfigurationError as error:
            raise self.file.error(("tls",), str(error)) from None
        return plan

    def _space(self, name: str, section: SpaceSection, load_hub: Callable[[str], Hub]) -> SpacePlan:
        hub = Hub()
        if section.application:
            target, colon, attribute = section.application.partition(":")
            if target.endswith(".py"):
                target = self.file.resolved(target)
            try:
                hub = load_hub(f"{target}{colon}{attribute}")
            except ConfigurationError as error:
                raise self.file.error(("spaces", name, "application"), str(error)) from None
        given = {**_given(self.sections.limits), **_given(section.limits)}
        hub.limits = msgspec.structs.replace(hub.limits, **given)
        data = section.data if section.data == "memory:" else self.file.resolved(section.data)
        return SpacePlan(
            hub=hub,
            data=data,
            name=name,
            web=self._address(section.web) if section.web else None,
            web_tls=section.web_tls,
            public=Public(section.public),
            read_only=section.read_only,
            keep=seconds_of(section.keep) if section.keep else None,
            peer_options=PeerOptions(**msgspec.structs.asdict(section.peers)),
        )


def _given(limits: msgspec.Struct | None) -> dict[str, Any]:
    if limits is None:
        return {}
    return {k: v for k, v in msgspec.structs.asdict(limits).items() if v is not None}


def read_configuration(path: str | os.PathLike[str]) -> Configuration:
    """Return what the file at ``path`` says.

    Raises:
        ConfigurationError: As `Configuration`, or if it can't be read.
    """
    return Configuration(TOMLFile(path))
