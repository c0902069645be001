"""Spaces with their doors open: the hubs run, their pages are up, and the ports take users and peers."""

from __future__ import annotations

import msgspec

from hubbub.gateway import Listener, WebServer
from hubbub.gateway.admission import Admission
from hubbub.gateway.doorkeeper import Doorkeeper, OpenSpace
from hubbub.kernel import ConfigurationError
from hubbub.mount import open as open_space
from hubbub.perspective.checkers import Anonymous
from hubbub.perspective.tokens import TokensFile
from hubbub.serving.plan import Plan, SpacePlan
from hubbub.store import SQLiteStore


class Serving:
    """Serve what a plan says.

    Args:
        plan: What, where, and for whom.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._webs: list[WebServer] = []
        self._listeners: list[Listener] = []

    @property
    def web_urls(self) -> list[str]:
        """Where the pages are, in the order of the spaces that have one; empty for one on a Unix socket."""
        return [web.url for web in self._webs]

    @property
    def listen_urls(self) -> list[str]:
        """Where users and peers connect."""
        return [listener.url for listener in self._listeners]

    @property
    def web_url(self) -> str:
        """Where the first page is; empty without one."""
        return next(iter(self.web_urls), "")

    @property
    def listen_url(self) -> str:
        """Where users and peers connect first; empty without a listener."""
        return next(iter(self.listen_urls), "")

    async def start(self, *, dev: bool = False) -> None:
        """Start the hubs, then open the doors.

        Args:
            dev: Raise `BlockingError` where a body blocks.

        Raises:
            AddressInUseError: An address is taken. No hub runs and no door is open then.
            ConfigurationError: An address is open to the network without a password or token (GW2).
            SpaceInUseError: Another process owns a space.
        """
        try:
            for space in self.plan.spaces:
                _declare_retention(space)
                await space.hub.start(data=space.data, dev=dev)
            await self._open()
        except BaseException:
            self.stop_accepting()
            await self.stop()
            raise

    async def _open(self) -> None:
        plan = self.plan
        tokens = TokensFile(plan.tokens) if plan.tokens is not None else None
        admission = Admission(secret=plan.secret, tokens=tokens, limits=plan.limits)
        doorkeeper = Doorkeeper([_opened(space) for space in plan.spaces], admission, plan.default)
        context = plan.tls.context() if plan.tls is not None else None
        users_prove_themselves = all(
            _is_closed_to_strangers(space) or space.public.for_users for space in plan.spaces
        )
        for listen in plan.listen:
            if listen.tls and context is None:
                raise ConfigurationError(f"{listen.address} is to speak TLS: give a certificate")
            listener = Listener(
                doorkeeper=doorkeeper,
                ssl_context=context if listen.tls else None,
                wants_certificate=listen.tls and plan.tls is not None and plan.tls.is_required,
                limits=plan.limits,
            )
            await listener.start(listen.address, authenticated=users_prove_themselves)
            self._listeners.append(listener)
        self._leave_addresses()
        for space in plan.spaces:
            if space.web is None:
                continue
            hub, tls = space.hub, plan.tls if space.web_tls else None
            web = WebServer(
                hub.asgi(),
                hub.limits,
                hub.gateway,
                ssl_certfile=None if tls is None else tls.certificate,
                ssl_keyfile=None if tls is None else tls.key,
            )
            await web.start(
                space.web,
                authenticated=_is_closed_to_strangers(space) and bool(hub.checkers),
                public=space.public.for_users,
            )
            self._webs.append(web)

    def _leave_addresses(self) -> None:
        """Write beside each space where it is served, for whoever wants to open its file meanwhile (ST8)."""
        for space in self.plan.spaces:
            store = space.hub.host.store
            if isinstance(store, SQLiteStore):
                store.side_file.set_addresses(
                    [_within(url, space.name) for url in self.listen_urls]
                )

    def stop_accepting(self) -> None:
        """Take no new connections; what is there goes on."""
        for listener in self._listeners:
            listener.stop_accepting()
        for web in self._webs:
            web.stop_accepting()

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Drain the hubs, and close the doors. Idempotent."""
        for space in self.plan.spaces:
            await space.hub.stop()
        listeners, self._listeners = self._listeners, []
        webs, self._webs = self._webs, []
        for listener in listeners:
            await listener.close(timeout_s=timeout_s)
        for web in webs:
            await web.close(timeout_s)


def _declare_retention(space: SpacePlan) -> None:
    """Let the space say for how long it keeps its past, before its hub owns it."""
    if space.keep is None or space.data == "memory:":
        return
    with open_space(space.data) as opened:
        if opened.retention != space.keep:
            opened.declare_retention(space.keep)


def _within(url: str, name: str) -> str:
    """Return the address of one space at a listener's."""
    if not name:
        return url
    return f"{url}?space={name}" if url.startswith("hub+unix:") else f"{url}/{name}"


def _is_closed_to_strangers(space: SpacePlan) -> bool:
    return not any(isinstance(checker, Anonymous) for checker in space.hub.checkers)


def _opened(space: SpacePlan) -> OpenSpace:
    options = msgspec.structs.replace(
        space.peer_options, read_only=space.read_only or space.peer_options.read_only
    )
    return OpenSpace(
        name=space.name,
        portal=space.hub.portal,
        host=space.hub.host,
        peer_options=options,
        is_public=space.public.for_peers,
    )
