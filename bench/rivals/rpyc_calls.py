"""RPyC: a remote call that echoes its argument, and stores nothing. As a module: the server."""

from __future__ import annotations

import json
from typing import Any

import rpyc
from rpyc.utils.server import ThreadedServer

from bench.rivals import calls
from bench.server import rival


class Echo(rpyc.Service):
    def exposed_echo(self, value: Any) -> Any:
        return value


def sequential(seconds: float) -> dict[str, float]:
    """One client, one call at a time."""
    with rival("bench.rivals.rpyc_calls") as server:
        connection = rpyc.connect("127.0.0.1", server.told["port"])
        try:
            return calls.sequential(connection.root.echo, seconds)
        finally:
            connection.close()


if __name__ == "__main__":
    server = ThreadedServer(Echo, hostname="127.0.0.1", port=0)
    server.listener.listen(5)
    print(json.dumps({"port": server.port}), flush=True)
    server.start()
