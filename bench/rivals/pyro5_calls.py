"""Pyro5: a remote call that echoes its argument, and stores nothing. As a module: the server."""

from __future__ import annotations

import json
from typing import Any

import Pyro5.api

from bench.rivals import calls
from bench.server import rival


@Pyro5.api.expose
class Echo:
    def echo(self, value: Any) -> Any:
        return value


def sequential(seconds: float) -> dict[str, float]:
    """One client, one call at a time."""
    with (
        rival("bench.rivals.pyro5_calls") as server,
        Pyro5.api.Proxy(server.told["uri"]) as proxy,
    ):
        return calls.sequential(proxy.echo, seconds)


if __name__ == "__main__":
    daemon = Pyro5.api.Daemon(host="127.0.0.1")
    print(json.dumps({"uri": str(daemon.register(Echo))}), flush=True)
    daemon.requestLoop()
