"""How a client's connection ends."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from hubbub.mount.secured import Certificates
from hubbub.perspective.client.transport import StreamConnector


@pytest.fixture
def silent_host(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Listens, speaks TLS, and never says goodbye; its URL, and the certificates to trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    is_over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        made, _ = listener.accept()
        with context.wrap_socket(made, server_side=True) as secured:
            secured.recv(100)
            is_over.wait()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener:
        yield f"hubs://127.0.0.1:{listener.getsockname()[1]}", tmp_path / "ca.pem"
        is_over.set()
        thread.join(10)


def test_a_host_that_says_no_goodbye_leaves_no_connection_open(
    silent_host: tuple[str, Path],
) -> None:
    url, trusted = silent_host

    async def come_and_go() -> None:
        transport = await StreamConnector(url, Certificates(trusted, None, None)).connect()
        transport.close()
        await transport.closed()

    asyncio.run(come_and_go())
    gc.collect()  # complains of what is still open, and that is an error
