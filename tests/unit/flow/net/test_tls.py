"""TLS both ways, with certificates of our own."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from hubbub.flow import (
    Backoff,
    Peer,
    Runner,
    Server,
    SimpleServer,
    SingleServer,
    TCPClient,
    client_tls,
    server_tls,
)
from hubbub.kernel import ConfigurationError
from tests.unit.flow.net.parts import Collect, grown, start, until, within

SOON = Backoff(first_s=0.01, most_s=0.05)


class Papers:
    def __init__(self, directory: Path) -> None:
        authority, stranger = trustme.CA(), trustme.CA()
        self.ca = directory / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        self.strangers_ca = directory / "stranger.pem"
        stranger.cert_pem.write_to_path(self.strangers_ca)
        self.server = self._issue(directory / "server.pem", authority.issue_cert("127.0.0.1"))
        self.client = self._issue(
            directory / "client.pem", authority.issue_cert("machine.a", common_name="machine-a")
        )

    def _issue(self, path: Path, issued: Any) -> Path:
        issued.private_key_and_cert_chain_pem.write_to_path(path)
        return path


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.mark.parametrize("acked", [False, True])
async def test_items_go_both_ways(papers: Papers, acked: bool) -> None:
    got, lines = Collect(), [f"line {n}" for n in range(2000)]
    async with Runner() as runner:
        server = SingleServer(0, tls=server_tls(papers.server), acked=acked)
        start(runner, server, got)
        client = TCPClient("127.0.0.1", server.port, tls=client_tls(papers.ca), acked=acked)
        await within(20, start(runner, lines, client).wait())
        assert await within(10, got.count(2000)) == lines


@pytest.mark.parametrize("acked", [False, True])
@pytest.mark.parametrize("kind", [SimpleServer, SingleServer])
async def test_told_not_to_reconnect_it_ends_well_over_tls_too(
    papers: Papers, kind: Any, acked: bool
) -> None:
    got, lines = Collect(), [f"line {n}" for n in range(500)]
    async with Runner() as runner:
        tls = server_tls(papers.server)
        if kind is SingleServer:
            server: Any = SingleServer(0, tls=tls, acked=acked)
            start(runner, server, got)
        else:
            server = SimpleServer(lambda: got.items.append, 0, tls=tls, acked=acked)
            runner.start(server)
        client = TCPClient(
            "127.0.0.1", server.port, tls=client_tls(papers.ca), acked=acked, reconnect=None
        )
        await within(20, start(runner, lines, client).wait())
        await grown(got.items, 500)
        assert got.items == lines


async def test_numbered_there_is_an_end_of_one_direction_over_tls_too(
    papers: Papers, caplog: pytest.LogCaptureFixture
) -> None:
    got, lines = Collect(), [f"line {n}" for n in range(500)]
    async with Runner() as runner:
        server = SimpleServer(lambda: str.upper, 0, tls=server_tls(papers.server), acked=True)
        runner.start(server)
        client = TCPClient("127.0.0.1", server.port, tls=client_tls(papers.ca), acked=True)
        await within(20, start(runner, lines, client, got).wait())
        assert got.items == [line.upper() for line in lines]
    assert "eof_received" not in caplog.text


async def test_answers_that_nobody_reads_may_come_too_late(papers: Papers) -> None:
    lines = [f"line {n}" for n in range(300)]
    async with Runner() as runner:
        server = SimpleServer(lambda: str.upper, 0, tls=server_tls(papers.server))
        runner.start(server)
        for _ in range(5):
            client = TCPClient("127.0.0.1", server.port, tls=client_tls(papers.ca), reconnect=None)
            await within(20, start(runner, lines, client).wait())


async def test_a_graph_is_told_whose_certificate_it_is(papers: Papers) -> None:
    peers: list[Peer] = []

    def protocol(peer: Peer) -> Any:
        peers.append(peer)
        return ["welcome"]

    got = Collect()
    async with Runner() as runner:
        server = Server(protocol, 0, tls=server_tls(papers.server, client_ca=papers.ca))
        runner.start(server)
        tls = client_tls(papers.ca, certificate=papers.client)
        client = TCPClient("127.0.0.1", server.port, tls=tls, reconnect=None)
        await within(20, start(runner, client, got).wait())
        assert got.items == ["welcome"]
        assert peers[0].name == "machine-a"


async def test_a_server_that_is_not_trusted_gets_nothing(
    papers: Papers, caplog: pytest.LogCaptureFixture
) -> None:
    got = Collect()
    async with Runner() as runner:
        server = SimpleServer(lambda: got, 0, tls=server_tls(papers.server))
        runner.start(server)
        with caplog.at_level(logging.WARNING):
            client = TCPClient(
                "127.0.0.1", server.port, tls=client_tls(papers.strangers_ca), reconnect=SOON
            )
            start(runner, ["secret"], client)
            await until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)
        assert got.items == []


async def test_a_client_without_a_certificate_is_not_let_in(papers: Papers) -> None:
    async with Runner() as runner:
        server = SimpleServer(
            lambda: ["secret"], 0, tls=server_tls(papers.server, client_ca=papers.ca)
        )
        runner.start(server)
        got = Collect()
        client = TCPClient("127.0.0.1", server.port, tls=client_tls(papers.ca), reconnect=SOON)
        start(runner, client, got)
        await until(lambda: client.connected >= 2)
        assert server.accepted == 0
        assert got.items == []


def test_the_contexts_are_strict(papers: Papers) -> None:
    client = client_tls(papers.ca)
    assert client.verify_mode is ssl.CERT_REQUIRED
    assert client.check_hostname
    assert client.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert server_tls(papers.server).minimum_version >= ssl.TLSVersion.TLSv1_2
    assert server_tls(papers.server, client_ca=papers.ca).verify_mode is ssl.CERT_REQUIRED


def test_over_a_path_the_servers_name_has_to_be_said(papers: Papers) -> None:
    with pytest.raises(ConfigurationError, match="needs server_name="):
        TCPClient(path="/tmp/x", tls=client_tls(papers.ca))
