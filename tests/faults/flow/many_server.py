"""A server for thousands of clients, in a process of its own: publishes what it is told to, and says how it is.

Reads ``publish N`` and ``look`` from its standard input, and answers with JSON, a line each.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import socket
import sys
from pathlib import Path

from hubbub.flow import Backplane, Runner, SimpleServer, SubscribeTo
from hubbub.flow.runner import in_own_loop


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def main() -> None:
    connections, line_bytes = int(sys.argv[1]), int(sys.argv[2])
    backplane = Backplane("news")
    server = SimpleServer(
        lambda: SubscribeTo("news", items=50), 0, max_connections=connections + 100, items=10
    )
    async with Runner() as runner:
        runner.start(backplane, server)
        for sock in server._place._sockets:
            # Else the system itself would hold megabytes for whoever does not read.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        print(json.dumps({"port": server.port, "bytes": resident_bytes()}), flush=True)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        published = 0
        while line := await reader.readline():
            if line.startswith(b"publish"):
                count = int(line.split()[1])
                backplane.publish_all(
                    "news", [f"{published + n} ".ljust(line_bytes - 1, "x") for n in range(count)]
                )
                published += count
            else:
                print(
                    json.dumps(
                        {
                            "connections": server.connections,
                            "accepted": server.accepted,
                            "failed": server.failed,
                            "bytes": resident_bytes(),
                        }
                    ),
                    flush=True,
                )
        runner.finish()
        await runner.wait()


logging.basicConfig(level=logging.ERROR)
in_own_loop(main())
