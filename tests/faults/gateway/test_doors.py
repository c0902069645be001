"""Several spaces behind one port, tokens that are taken back, strangers in a public space. Real sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hubbub
from hubbub import Hub
from hubbub.gateway import doorkeeper
from hubbub.kernel import (
    AccessError,
    BrokenError,
    ConfigurationError,
    HubbubError,
    LoginFailedError,
    NotAllowedError,
    ReadOnlyError,
    RemoteError,
    SpaceInUseError,
    StoreError,
)
from hubbub.mount import tail
from hubbub.perspective.accounts import AccountsFile, accounts_path
from hubbub.perspective.checkers import Passwords
from hubbub.perspective.tokens import TokensFile
from hubbub.serving import ListenPlan, Plan, Public, SpacePlan
from hubbub.wire import peer
from hubbub.wire.frames import PREFACE_PEER, FrameReader, frame
from tests.conformance.gateway.application import GatewayRealm, make_hub
from tests.conformance.mount.doors import OpenDoors

Serve = Callable[..., OpenDoors]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    opened: list[OpenDoors] = []

    def make(*spaces: SpacePlan, **changes: Any) -> OpenDoors:
        plan = Plan(
            spaces=spaces or [SpacePlan(hub=Hub(), data="memory:")],
            listen=changes.pop("listen", [ListenPlan("127.0.0.1:0")]),
            tokens=tmp_path / "tokens",
            **changes,
        )
        made = OpenDoors(plan)
        opened.append(made)
        return made

    yield make
    for doors in opened:
        doors.close()


def put(root: Any, key: str = "n") -> int:
    root[key] = root.get(key, 0) + 1
    return int(root[key])


# --- several spaces -----------------------------------------------------------------------------------------------------


def test_one_port_has_many_spaces_each_with_its_own_data(serve: Serve, tmp_path: Path) -> None:
    shop, chat = str(tmp_path / "shop.hub"), str(tmp_path / "chat.hub")
    doors = serve(
        SpacePlan(hub=Hub(), data=shop, name="shop"),
        SpacePlan(hub=make_hub(), data=chat, name="chat"),
        listen=[ListenPlan("127.0.0.1:0"), ListenPlan(str(tmp_path / "hub.sock"))],
    )
    tcp, unix = doors.serving.listen_urls
    with hubbub.open(f"{tcp}/shop") as one, hubbub.open(f"{unix}?space=shop") as same:
        assert one.run(put, "a") == 1
        assert same.run(put, "a") == 2
    with hubbub.open(f"{tcp}/chat") as other:
        assert other.read(lambda root: list(root)) == []
    with hubbub.sync.login(f"{tcp}/chat", name="ann") as me:
        assert me.say("hello") == 1
    for url in (tcp, f"{tcp}/shoop"):
        with pytest.raises(RemoteError) as raised:
            hubbub.open(url)
        assert raised.value.code == "unknown_space"
        assert "chat" not in str(raised.value)
        assert "shop" not in str(raised.value)
        with pytest.raises(NotAllowedError) as refused:
            hubbub.sync.login(url, name="ann")
        assert "chat" not in str(refused.value)
    doors.close()
    with hubbub.open(shop) as embedded:
        assert embedded.read(lambda root: root["a"]) == 2


def test_a_default_is_for_who_names_none(serve: Serve) -> None:
    doors = serve(
        SpacePlan(hub=make_hub(), data="memory:", name="chat"),
        SpacePlan(hub=Hub(), data="memory:", name="shop"),
        default="shop",
    )
    with hubbub.open(doors.url) as space, hubbub.open(f"{doors.url}/shop") as same:
        space.run(put)
        assert same.run(put) == 2


def test_a_space_in_use_opens_no_door_at_all(serve: Serve, tmp_path: Path) -> None:
    path = str(tmp_path / "a.hub")
    with hubbub.open(path), pytest.raises(SpaceInUseError):
        serve(
            SpacePlan(hub=Hub(), data="memory:", name="free"),
            SpacePlan(hub=Hub(), data=path, name="taken"),
        )
    with hubbub.open(path):
        pass


@pytest.mark.rule("GW2")
def test_one_open_space_among_closed_ones_keeps_the_network_out(
    serve: Serve, tmp_path: Path
) -> None:
    public = SpacePlan(hub=Hub(), data="memory:", name="cds", public=Public.READ_ONLY)
    closed = SpacePlan(hub=Hub(), data="memory:", name="shop")
    with pytest.raises(ConfigurationError, match="would hand the whole space shop"):
        serve(public, closed, listen=[ListenPlan("0.0.0.0:0")])
    TokensFile(tmp_path / "tokens").add("a")
    serve(public, closed, listen=[ListenPlan("0.0.0.0:0")])


@pytest.mark.rule("GW2")
def test_public_for_users_and_public_for_peers_are_two_things(serve: Serve) -> None:
    for public, words in (
        (Public.USERS, "would hand the whole space"),
        (Public.READ_ONLY, "without a password"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            serve(
                SpacePlan(hub=make_hub(), data="memory:", public=public),
                listen=[ListenPlan("0.0.0.0:0")],
            )
    serve(
        SpacePlan(hub=make_hub(), data="memory:", public=Public.ALL),
        listen=[ListenPlan("0.0.0.0:0")],
    )


def test_a_space_declares_for_how_long_it_keeps_its_past(serve: Serve, tmp_path: Path) -> None:
    data = str(tmp_path / "a.hub")
    serve(SpacePlan(hub=Hub(), data=data, keep=86_400.0)).close()
    with hubbub.open(data) as space:
        assert space.retention == 86_400
    serve(SpacePlan(hub=Hub(), data=data)).close()
    with hubbub.open(data) as space:
        assert space.retention == 86_400


# --- tokens -------------------------------------------------------------------------------------------------------------


def test_tokens_of_one_space_and_for_reading(serve: Serve, tmp_path: Path) -> None:
    tokens = TokensFile(tmp_path / "tokens")
    everywhere, shop_only = tokens.add("a"), tokens.add("b", spaces=("shop",), read_only=True)
    doors = serve(
        SpacePlan(hub=Hub(), data="memory:", name="shop"),
        SpacePlan(hub=Hub(), data="memory:", name="chat"),
    )
    for name in ("shop", "chat"):
        with hubbub.open(f"{doors.url}/{name}", token=everywhere) as space:
            space.run(put)
    with hubbub.open(f"{doors.url}/shop", token=shop_only) as space:
        assert space.read(lambda root: root["n"]) == 1
        with pytest.raises(ReadOnlyError, match="show a token that may write"):
            space.run(put)
        with pytest.raises(ReadOnlyError), space.transaction() as root:
            root["new"] = hubbub.Map()
    told = []
    for name in ("chat", "nowhere"):  # there, and not for this token; and not there: it can't tell
        with pytest.raises(RemoteError) as raised:
            hubbub.open(f"{doors.url}/{name}", token=shop_only)
        told.append(str(raised.value).replace(name, "NAME"))
    assert told[0] == told[1]
    with pytest.raises(LoginFailedError, match="asks peers for a token"):
        hubbub.open(f"{doors.url}/shop")
    with pytest.raises(LoginFailedError, match="not valid here") as unknown:
        hubbub.open(f"{doors.url}/nowhere", token="a guess")
    assert "nowhere" not in str(unknown.value)


def test_one_shared_secret_goes_on_working(serve: Serve) -> None:
    doors = serve(secret="tea for two")
    with hubbub.open(doors.url, token="tea for two") as space:
        space.run(put)
    with pytest.raises(LoginFailedError):
        hubbub.open(doors.url, token="tea for three")


@pytest.mark.parametrize("how", ["removed", "expired", "damaged"])
def test_a_token_that_ends_ends_its_connections(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(doorkeeper, "_CHECK_S", 0.02)
    tokens = TokensFile(tmp_path / "tokens")
    secret = tokens.add("a", lifetime_s=1.0 if how == "expired" else None)
    other = tokens.add("b")
    doors = serve()
    with (
        hubbub.open(doors.url, token=secret) as ended,
        hubbub.open(doors.url, token=other) as stays,
    ):
        ended.run(put)
        waiting = ended.changes()
        next(waiting)
        if how == "removed":
            tokens.remove("a")
        elif how == "damaged":
            tokens.path.write_text("{")
        with pytest.raises(LoginFailedError, match="does not let us in"):
            next(
                waiting
            )  # nobody commits: it waits until it is cut off, and told when it comes again
        with pytest.raises(LoginFailedError):
            ended.read(lambda root: len(root))
        if how != "damaged":
            assert stays.run(put) == 2
            assert stays.stats.reconnects == 0


def test_a_first_token_ends_those_who_came_without(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "_CHECK_S", 0.02)
    doors = serve()
    with hubbub.open(doors.url) as space:
        waiting = space.changes()
        next(waiting)
        TokensFile(tmp_path / "tokens").add("a")
        with pytest.raises(LoginFailedError, match="asks peers for a token"):
            next(waiting)


@pytest.mark.rule("PE7")
def test_guesses_are_limited(serve: Serve) -> None:
    doors = serve(secret="right", limits=hubbub.Limits(failed_logins=3))
    for _ in range(3):
        with pytest.raises(LoginFailedError, match="not valid here"):
            hubbub.open(doors.url, token="wrong")
    with pytest.raises(LoginFailedError, match="try again in") as raised:
        hubbub.open(doors.url, token="right")
    assert raised.value.code == "too_many_failures"


# --- accounts and tokens are no space -----------------------------------------------------------------------------------


def test_no_peer_mounts_accounts_or_tokens(serve: Serve, tmp_path: Path) -> None:
    data = tmp_path / "chat.hub"
    passwords = Passwords(AccountsFile(accounts_path(data)))
    passwords.set_password("ann", "correct horse")
    hashed = AccountsFile(accounts_path(data)).get("ann")
    assert hashed is not None
    tokens = TokensFile(tmp_path / "tokens")
    token = tokens.add("a")
    hub = Hub(GatewayRealm(), checkers=[Passwords()])
    doors = serve(SpacePlan(hub=hub, data=str(data), name="chat"))
    names = [
        "accounts",
        "tokens",
        "chat.hub-accounts",
        str(accounts_path(data)),
        "../chat.hub-accounts",
    ]
    for name in names:
        with pytest.raises(RemoteError, match="no space"):
            hubbub.open(f"{doors.url}/{name}", token=token)
    with hubbub.sync.login(f"{doors.url}/chat", name="ann", password="correct horse") as me:
        me.say("hello")
    with hubbub.open(doors.url, token=token) as space:
        assert space.read(lambda root: list(root)) == ["room"]
    store = hub.host.store
    for entry in store.feed():
        for record in store.load_many(entry.oids, entry.tid):
            assert hashed.encode() not in record.payload
            assert token.encode() not in record.payload
    for path in (accounts_path(data), tokens.path):
        with pytest.raises(StoreError, match="is not a Hubbub space"):
            hubbub.open(str(path))


# --- strangers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def cds(serve: Serve, tmp_path: Path) -> tuple[OpenDoors, str]:
    token = TokensFile(tmp_path / "tokens").add("writer")
    space = SpacePlan(hub=Hub(), data=str(tmp_path / "cds.hub"), public=Public.READ_ONLY)
    return serve(space, listen=[ListenPlan("0.0.0.0:0")]), token


def local(doors: OpenDoors) -> str:
    return doors.url.replace("0.0.0.0", "127.0.0.1")


def test_strangers_read_and_only_who_has_a_token_writes(cds: tuple[OpenDoors, str]) -> None:
    doors, token = cds
    with hubbub.open(local(doors), token=token) as writer, hubbub.open(local(doors)) as stranger:
        writer.run(put)
        stranger.sync()
        assert stranger.read(lambda root: root["n"]) == 1
        changes = stranger.watch(lambda root: root["n"])
        assert next(changes) == 1
        writer.run(put)
        assert next(changes) == 2
        with pytest.raises(ReadOnlyError, match="show a token"):
            stranger.run(put)
        with pytest.raises(ReadOnlyError, match="show a token"), stranger.transaction() as root:
            root["m"] = hubbub.Map()
    with pytest.raises(LoginFailedError, match="not valid here"):
        hubbub.open(local(doors), token="a guess")  # it is not taken for a stranger in silence


def test_strangers_learn_nothing_of_the_past_nor_of_who_did_what(
    cds: tuple[OpenDoors, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    doors, token = cds
    with hubbub.open(local(doors), token=token) as writer:
        writer.run(lambda root: root.update(secret="told by mistake"))
        first = writer.tid
        writer.run(lambda root: root.pop("secret"))
        assert len(writer.feed()) == 2
    monkeypatch.setattr("hubbub.gateway.strangers._PRESENT_S", 0.0)
    with hubbub.open(local(doors)) as stranger:
        with pytest.raises(NotAllowedError, match="the present of this space only"):
            stranger.feed()
        with pytest.raises(NotAllowedError, match="the present"):
            list(tail(local(doors), follow=False))
        with pytest.raises(NotAllowedError, match="the present"):
            stranger._mount.load(0, first)
        assert stranger.read(lambda root: list(root)) == []


def test_each_message_but_a_few_is_refused_to_strangers(cds: tuple[OpenDoors, str]) -> None:
    """Also those that are added one day: what is not known to be harmless is refused."""
    doors, _ = cds
    host, port = local(doors).removeprefix("hub://").split(":")
    asked: list[Any] = [peer.Feed(7, 0, 10), peer.Follow(7, 10, False), peer.Oids(7, 10)]
    for message in asked:
        with socket.create_connection((host, int(port))) as made:
            greeting = peer.Mount(peer.PROTOCOL, "", "", 0, False)
            made.sendall(PREFACE_PEER + frame(peer.encode(greeting)) + frame(peer.encode(message)))
            reader = FrameReader(1 << 20)
            found: list[bytes] = []
            while len(found) < 2:
                found += reader.feed(made.recv(65536))
        answer = peer.decode_to_peer(found[1])
        assert isinstance(answer, peer.Failed)
        assert answer.kind in ("not_allowed", "read_only")
        assert answer.id == 7


def test_a_long_reading_goes_on_where_it_began(cds: tuple[OpenDoors, str]) -> None:
    doors, token = cds
    with hubbub.open(local(doors), token=token) as writer:
        writer.run(put)
        with hubbub.open(local(doors), cache_bytes=1) as stranger, stranger.connect() as reading:
            assert reading.root["n"] == 1
            writer.run(put)
            stranger.sync()
            at = reading.tid
            assert stranger._mount.load(0, at).tid <= at  # a snapshot of a moment ago


# --- waiting ------------------------------------------------------------------------------------------------------------


class Mute:
    """A host that accepts, and never answers; ``mounts``: it greets before it falls silent."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.url = f"hub://127.0.0.1:{self._server.getsockname()[1]}"

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def mute() -> Iterator[Mute]:
    made = Mute()
    yield made
    made.close()


def test_opening_waits_so_long_for_a_host_that_accepts_and_never_answers(mute: Mute) -> None:
    for timeout_s in (0, 0.1):
        with pytest.raises(BrokenError, match="did not answer within"):
            hubbub.open(mute.url, wait_timeout_s=timeout_s)
    with pytest.raises(BrokenError, match="did not answer within"):
        list(tail(mute.url, timeout_s=0.1))
    with pytest.raises(ConfigurationError, match="0 or more"):
        hubbub.open(mute.url, wait_timeout_s=-1)


def test_calls_wait_so_long_when_the_host_falls_silent(serve: Serve, mute: Mute) -> None:
    doors = serve()
    space = hubbub.open([doors.url, mute.url], wait_timeout_s=0.3)
    try:
        space.run(put)
        doors.close()
        for call in (lambda: space.read(len), lambda: space.run(put), space.sync):
            with pytest.raises(BrokenError, match=r"no connection to 127\.0\.0\.1:\d+, 127"):
                call()
        with pytest.raises(HubbubError):
            space._mount.feed(0)
    finally:
        space.close()


def test_users_are_judged_by_their_checkers_in_each_space(serve: Serve, tmp_path: Path) -> None:
    data = tmp_path / "closed.hub"
    Passwords(AccountsFile(accounts_path(data))).set_password("ann", "correct horse")
    closed = Hub(GatewayRealm(), checkers=[Passwords()])
    doors = serve(
        SpacePlan(hub=make_hub(), data="memory:", name="open"),
        SpacePlan(hub=closed, data=str(data), name="closed"),
    )
    with hubbub.sync.login(f"{doors.url}/open", name="bob") as me:
        assert me.whoami() == "bob"
    with pytest.raises(AccessError):
        hubbub.sync.login(f"{doors.url}/closed", name="bob")
    with hubbub.sync.login(f"{doors.url}/closed", name="ann", password="correct horse") as me:
        assert me.whoami() == "ann"


def test_users_take_the_first_host_that_answers(serve: Serve) -> None:
    doors = serve(SpacePlan(hub=make_hub(), data="memory:"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = taken.getsockname()[1]
    with hubbub.sync.login([f"hub://127.0.0.1:{nobody}", doors.url], name="ann") as me:
        assert me.whoami() == "ann"
