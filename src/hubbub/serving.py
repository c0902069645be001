"""A hub with its doors open: the web page and its API, and the port for users and peers."""

from __future__ import annotations

from hubbub.app import Hub
from hubbub.gateway import Listener, WebServer
from hubbub.gateway.peers import PeerOptions
from hubbub.perspective.checkers import Anonymous


class Serving:
    """Serve a running hub on its addresses.

    Args:
        hub: Started.
        web: ``host:port`` or a path for the web face; None for none.
        listen: The same for users and peers.
        token: What peers have to show; empty for nothing.
        public: Allow addresses that are not loopback though anybody may come in there (GW2).
        read_only_peers: Peers may read and not write.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        web: str | None,
        listen: str | None,
        token: str = "",
        public: bool = False,
        read_only_peers: bool = False,
    ) -> None:
        self.hub = hub
        self._web_address = web
        self._listen_address = listen
        self._public = public
        self._options = PeerOptions(token=token, read_only=read_only_peers)
        self._web: WebServer | None = None
        self._listener: Listener | None = None

    @property
    def web_url(self) -> str:
        """Where the page is; empty without one."""
        return self._web.url if self._web is not None else ""

    @property
    def listen_url(self) -> str:
        """Where users and peers connect; empty without a listener."""
        if self._listener is None:
            return ""
        address = self._listener.address
        return f"hub+unix://{address}" if "/" in address else f"hub://{address}"

    async def start(self) -> None:
        """Open the doors.

        Raises:
            AddressInUseError: An address is taken. No door stays open.
            ConfigurationError: An address is open to the network without a password or token (GW2).
        """
        hub = self.hub
        closed_to_strangers = not any(isinstance(c, Anonymous) for c in hub.checkers)
        try:
            if self._listen_address is not None:
                listener = Listener(hub.portal, host=hub.host, peer_options=self._options)
                await listener.start(
                    self._listen_address,
                    authenticated=closed_to_strangers,
                    public=self._public,
                )
                self._listener = listener
            if self._web_address is not None:
                web = WebServer(hub.asgi(), hub.limits, hub.gateway)
                await web.start(
                    self._web_address,
                    authenticated=closed_to_strangers and bool(hub.checkers),
                    public=self._public,
                )
                self._web = web
        except BaseException:
            await self.stop()
            raise

    def stop_accepting(self) -> None:
        """Take no new connections; what is there goes on."""
        if self._listener is not None:
            self._listener.stop_accepting()
        if self._web is not None:
            self._web.stop_accepting()

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Close the doors; call it after the hub was drained. Idempotent."""
        listener, self._listener = self._listener, None
        web, self._web = self._web, None
        if listener is not None:
            await listener.close(timeout_s=timeout_s)
        if web is not None:
            await web.close(timeout_s)
