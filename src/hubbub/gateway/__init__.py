"""The gateway: one session for a browser over any of three transports, plain HTTP calls, and the TCP listener.

`asgi` is the web face. Behind its `guard` (origins and addresses, GW2) are the carriers `websocket` and `http_session`
(GW1), plain calls in `http_calls`, which are sessions of one request, and static files in `pages`. `tcp` is the hub's
own port, for users (`user_connection`) and peers. `serving` runs the web face by itself; `options` says what a hub
offers and allows.
"""

from hubbub.gateway.asgi import create_app
from hubbub.gateway.options import Gateway
from hubbub.gateway.serving import WebServer
from hubbub.gateway.tcp import Listener

__all__ = ["Gateway", "Listener", "WebServer", "create_app"]
