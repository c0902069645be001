"""What is to be served, whoever has said it: the command line or a file."""

from __future__ import annotations

import enum
import ssl
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hubbub.app import Hub
from hubbub.flow.net.tls import server_tls
from hubbub.gateway.peers import PeerOptions
from hubbub.kernel import Limits


class Public(enum.StrEnum):
    """What strangers may, though nobody asks them who they are (GW2)."""

    NO = "no"
    """Nothing: an address that is not loopback needs passwords and tokens."""
    USERS = "users"
    """Be users, where the application's checkers let anybody in."""
    READ_ONLY = "read-only"
    """Mount the space and read its present."""
    ALL = "all"
    """Both."""

    @property
    def for_users(self) -> bool:
        """Whether anybody may be a user."""
        return self in (Public.USERS, Public.ALL)

    @property
    def for_peers(self) -> bool:
        """Whether anybody may read the space as a peer."""
        return self in (Public.READ_ONLY, Public.ALL)


class SpacePlan(msgspec.Struct, kw_only=True):
    """One space.

    Attributes:
        hub: Its application, or ``Hub()`` for the bare space.
        data: Where it is kept.
        name: How clients call it; empty for one without a name.
        web: Address of its page; None for none.
        web_tls: The page is https, with the certificate of the plan.
        public: What strangers may.
        read_only: Peers may read and not write, whatever they show.
        keep: For how many seconds the space keeps its past; None: as it declares already.
        peer_options: How much a peer may do.
    """

    hub: Hub
    data: str
    name: str = ""
    web: str | None = None
    web_tls: bool = False
    public: Public = Public.NO
    read_only: bool = False
    keep: float | None = None
    peer_options: PeerOptions = PeerOptions()


class ListenPlan(msgspec.Struct, frozen=True):
    """One address for users and peers, with or without TLS."""

    address: str
    tls: bool = False


class TLSPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The certificate of a host, and whose certificates it trusts.

    Attributes:
        certificate: A PEM file with it, and those that lead to its root.
        key: A PEM file with its private key; None if that is in the same file.
        client_ca: A PEM file: certificates that these have signed are believed. None: clients are asked for none.
        is_required: Clients have to show one.
    """

    certificate: str
    key: str | None = None
    client_ca: str | None = None
    is_required: bool = False

    def context(self) -> ssl.SSLContext:
        """Return the context for listening sockets.

        Raises:
            ConfigurationError: If a file can't be loaded; names it.
        """
        context = server_tls(self.certificate, self.key, client_ca=self.client_ca)
        if self.client_ca is not None:
            # Also where one is required: the listener says so in words, a failed handshake would say nothing.
            context.verify_mode = ssl.CERT_OPTIONAL
        return context


class Plan(msgspec.Struct, kw_only=True):
    """All that one process serves.

    Attributes:
        spaces: At least one.
        listen: Addresses for users and peers of all spaces.
        tls: For those that speak TLS.
        secret: A token with all rights in all spaces; empty for none.
        tokens: The file of the tokens; None where there can be none.
        default: The space of who names none; empty: the only one.
        limits: Of connections, and of failed attempts to log in.
    """

    spaces: Sequence[SpacePlan]
    listen: Sequence[ListenPlan] = ()
    tls: TLSPlan | None = None
    secret: str = ""
    tokens: Path | None = None
    default: str = ""
    limits: Limits = Limits()
