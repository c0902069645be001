"""TLS at a host's own port: who comes in, and what those are told who don't. Real sockets."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import hubbub
from hubbub import Hub
from hubbub.cli.main import main
from hubbub.kernel import (
    AccessError,
    BrokenError,
    ConfigurationError,
    HubbubError,
    LoginFailedError,
    ReadOnlyError,
    RemoteProtocolError,
)
from hubbub.mount.failures import from_fault
from hubbub.perspective.tokens import TokensFile
from hubbub.serving import ListenPlan, Plan, SpacePlan, TLSPlan
from hubbub.wire import peer
from hubbub.wire.frames import PREFACE_PEER, FrameReader, frame
from tests.conformance.gateway.application import make_hub
from tests.conformance.mount.doors import OpenDoors
from tests.e2e.hosts import until
from tests.faults.gateway.certificates import Certificates

Serve = Callable[..., OpenDoors]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def serve(certificates: Certificates, tmp_path: Path) -> Iterator[Serve]:
    opened: list[OpenDoors] = []

    def make(
        certificate: str = "host", *, client_ca: bool = False, tls: bool = True, **changes: Any
    ) -> OpenDoors:
        plan = TLSPlan(
            certificate=getattr(certificates, certificate),
            client_ca=certificates.ca if client_ca else None,
            is_required=changes.pop("is_required", False),
        )
        made = OpenDoors(
            Plan(
                spaces=[SpacePlan(hub=changes.pop("hub", None) or Hub(), data="memory:")],
                listen=[ListenPlan("127.0.0.1:0", tls)],
                tls=plan,
                tokens=tmp_path / "tokens",
                **changes,
            )
        )
        opened.append(made)
        return made

    yield make
    for doors in opened:
        doors.close()


def put(root: Any) -> None:
    root["n"] = root.get("n", 0) + 1


def test_a_peer_and_a_user_over_tls(serve: Serve, certificates: Certificates) -> None:
    doors = serve(hub=make_hub())
    assert doors.url.startswith("hubs://127.0.0.1:")
    with hubbub.open(doors.url, ca=certificates.ca) as space:
        big = "x" * 3_000_000
        space.run(lambda root: root.update(big=big))
        assert space.read(lambda root: root["big"]) == big
        with hubbub.open(doors.url, ca=certificates.ca) as other:
            assert other.read(lambda root: len(root["big"])) == len(big)
    with hubbub.sync.login(doors.url, name="ann", ca=certificates.ca) as me:
        assert me.whoami() == "ann"


def test_a_certificate_that_is_not_trusted_has_expired_or_is_of_another_host(
    serve: Serve, certificates: Certificates
) -> None:
    for certificate, ca, words in (
        ("host", certificates.other_ca, "unable to get local issuer|self-signed"),
        ("expired_host", certificates.ca, "certificate has expired"),
        ("elsewhere", certificates.ca, "IP address mismatch"),
    ):
        doors = serve(certificate)
        with pytest.raises(BrokenError, match=words) as raised:
            hubbub.open(doors.url, ca=ca)
        assert raised.value.code == "certificate"
        with pytest.raises(BrokenError, match=words):
            hubbub.sync.login(doors.url, name="ann", ca=ca)
        with (
            hubbub.open(doors.url.replace("127.0.0.1", "localhost"), ca=certificates.ca)
            if (certificate == "host")
            else hubbub.open("memory:")
        ):
            pass  # the host goes on


def test_a_client_without_tls_is_told_and_one_with_tls_where_there_is_none(
    serve: Serve, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with_tls, without = serve(hub=make_hub()), serve(tls=False)
    plain = with_tls.url.replace("hubs:", "hub:")
    with pytest.raises(ConfigurationError, match="speaks TLS: use hubs://"):
        hubbub.open(plain)
    with pytest.raises(HubbubError, match="speaks TLS: use hubs://"):
        hubbub.sync.login(plain, name="ann")
    until(lambda: "was turned away: this port speaks TLS" in caplog.text, "the line in the log")
    secured = without.url.replace("hub:", "hubs:")
    with pytest.raises(ConfigurationError, match="does not speak TLS: use hub://"):
        hubbub.open(secured, ca=certificates.ca)
    with pytest.raises(HubbubError, match="does not speak TLS: use hub://"):
        hubbub.sync.login(secured, name="ann", ca=certificates.ca)
    until(lambda: "a TLS client came to a port without TLS" in caplog.text, "the line in the log")
    host, port = with_tls.url.removeprefix("hubs://").split(":")
    with socket.create_connection((host, int(port))) as curl:
        curl.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"This is a Hubbub port: use hubbub.login('hubs://" in curl.recv(4096)


def test_the_subject_of_a_certificate_gives_rights(
    serve: Serve, certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = TokensFile(tmp_path / "tokens")
    tokens.add("workers", subject="CN=worker", read_only=True)
    doors = serve(client_ca=True)
    with hubbub.open(doors.url, ca=certificates.ca, cert=certificates.worker) as space:
        assert space.read(lambda root: len(root)) == 0
        with pytest.raises(ReadOnlyError, match="show a token that may write"):
            space.run(put)
    for cert in (certificates.nobody, None):
        with pytest.raises(LoginFailedError, match="asks peers for a token or a certificate"):
            hubbub.open(doors.url, ca=certificates.ca, cert=cert)
    for cert in (certificates.expired, certificates.forged):
        with pytest.raises(LoginFailedError, match="does not accept our certificate"):
            hubbub.open(doors.url, ca=certificates.ca, cert=cert)
    until(
        lambda: "its certificate is not accepted: certificate has expired" in caplog.text,
        "the line in the log",
    )
    until(
        lambda: "its certificate is not accepted: unable to get local issuer" in caplog.text,
        "the line in the log",
    )


def test_a_certificate_may_be_required_of_all(serve: Serve, certificates: Certificates) -> None:
    doors = serve(client_ca=True, is_required=True, hub=make_hub())
    with pytest.raises(LoginFailedError, match="asks for a certificate"):
        hubbub.open(doors.url, ca=certificates.ca)
    with pytest.raises(LoginFailedError, match="asks for a certificate"):
        hubbub.sync.login(doors.url, name="ann", ca=certificates.ca)
    with hubbub.open(doors.url, ca=certificates.ca, cert=certificates.nobody) as space:
        space.run(put)
    with hubbub.sync.login(
        doors.url, name="ann", ca=certificates.ca, cert=certificates.nobody
    ) as me:
        assert me.whoami() == "ann"


def test_commands_take_their_files_from_the_environment(
    serve: Serve, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = serve(client_ca=True, is_required=True, hub=make_hub())
    failed = CliRunner().invoke(main, ["tail", "--no-follow", "--connect", doors.url])
    assert "is not to be trusted" in failed.stderr
    monkeypatch.setenv("HUBBUB_CA", certificates.ca)
    monkeypatch.setenv("HUBBUB_CERT", certificates.worker)
    for words in (
        ["tail", "--no-follow", "--connect", doors.url],
        ["shell", doors.url, "-x", "print(len(root))"],
        ["space", "ls", doors.url],
        ["call", "whoami", "--name", "ann", "--connect", doors.url],
    ):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output


def test_old_versions_of_tls_are_off(serve: Serve, certificates: Certificates) -> None:
    doors = serve()
    host, port = doors.url.removeprefix("hubs://").split(":")
    context = ssl.create_default_context(cafile=certificates.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with context.wrap_socket(
        socket.create_connection((host, int(port))), server_hostname=host
    ) as made:
        assert made.version() == "TLSv1.2"
    assert doors.plan.tls is not None
    assert doors.plan.tls.context().minimum_version is ssl.TLSVersion.TLSv1_2


def test_files_that_are_no_certificates_are_named(
    serve: Serve, certificates: Certificates, tmp_path: Path
) -> None:
    doors = serve()
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"ca": str(tmp_path / "none.pem")}, "none.pem can't be read"),
        ({"ca": str(wrong)}, "wrong.pem is not the PEM file"),
        ({"cert": certificates.ca}, "ca.pem is not the PEM file"),
        ({"key": certificates.worker}, "give cert="),
    ]
    for options, words in cases:
        with pytest.raises(ConfigurationError, match=words):
            hubbub.open(doors.url, **options)
    with pytest.raises(ConfigurationError, match="are for hubs://"):
        hubbub.open("hub://127.0.0.1", ca=certificates.ca)
    with pytest.raises(ConfigurationError, match="are for hubs://"):
        hubbub.open("memory:", ca=certificates.ca)


@pytest.mark.parametrize("theirs, older", [(peer.PROTOCOL + 1, "the host's"), (1, "the peer's")])
def test_another_version_is_told_who_is_older(serve: Serve, theirs: int, older: str) -> None:
    doors = serve(tls=False)
    host, port = doors.url.removeprefix("hub://").split(":")
    with socket.create_connection((host, int(port))) as made:
        made.sendall(PREFACE_PEER + frame(peer.encode(peer.Mount(theirs, "", "", 0, False))))
        (payload,) = FrameReader(1 << 20).feed(made.recv(65536))
    fault = peer.decode_to_peer(payload)
    assert isinstance(fault, peer.Fault)
    assert f"upgrade {older} hubbub" in fault.message
    assert isinstance(from_fault(fault, "there"), RemoteProtocolError)


@pytest.mark.parametrize("kind", ["user", "peer"])
def test_another_preface_is_told_in_its_protocol(serve: Serve, kind: str) -> None:
    doors = serve(tls=False, hub=make_hub())
    host, port = doors.url.removeprefix("hub://").split(":")
    with socket.create_connection((host, int(port))) as made:
        made.sendall(f"hubbub/2 {kind}\n".encode())
        (payload,) = FrameReader(1 << 20).feed(made.recv(65536))
        assert b"this host needs a newer Hubbub" in payload


def test_a_silent_client_holds_up_nobody(
    serve: Serve, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = serve()
    host, port = doors.url.removeprefix("hubs://").split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(20)]
    half = socket.create_connection((host, int(port)))
    half.sendall(b"\x16\x03\x01")
    with hubbub.open(doors.url, ca=certificates.ca) as space:
        space.run(put)
    for one in [*silent, half]:
        one.close()


def test_a_user_and_a_peer_meet_the_applications_checker_with_their_certificate(
    serve: Serve, certificates: Certificates
) -> None:
    async def by_certificate(request: Any) -> hubbub.Identity | None:
        name = request.request.name if request.request is not None else ""
        return hubbub.Identity(f"certificate:{name}", name) if name else None

    hub = Hub(make_hub().realm, checkers=[by_certificate])
    doors = serve(client_ca=True, hub=hub)
    with hubbub.sync.login(doors.url, ca=certificates.ca, cert=certificates.worker) as me:
        assert me.whoami() == "worker"
    with pytest.raises(AccessError):
        hubbub.sync.login(doors.url, ca=certificates.ca)
