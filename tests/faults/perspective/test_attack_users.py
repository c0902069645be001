"""What one stranger may cost the host before and after the login (PE5, PE7)."""

from __future__ import annotations

import logging
import threading
import unicodedata
from typing import Any

import msgspec
import pytest

from hubbub import Anonymous, Avatar, Hub, Identity, Limits, Persistent, Realm, Root, query
from hubbub.gateway.plain_session import PlainSession
from hubbub.kernel import HubbubError, LoginFailedError
from hubbub.perspective import accounts, checkers
from hubbub.perspective.accounts import checked_name
from hubbub.perspective.checkers import Passwords
from hubbub.space.states import class_for
from hubbub.store import MemoryStore
from hubbub.wire import session as wire


class Short:
    """`unicodedata` that is not to be asked about long texts."""

    def normalize(self, form: Any, text: str) -> str:
        assert len(text) <= 2048, "a long text was normalised"
        return unicodedata.normalize(form, text)

    def __getattr__(self, name: str) -> Any:
        return getattr(unicodedata, name)


class Thing(Persistent):
    pass


class Member(Avatar):
    def __init__(self, name: str, root: Root) -> None:
        self.name, self._thing = name, root.setdefault("thing", Thing())

    @query
    def thing(self) -> Thing:
        return self._thing

    @query
    def echo(self, text: str) -> str:
        return text


class R(Realm):
    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        return Member(who.name, root)


class Carrier:
    def wake(self) -> None: ...
    def close(self, message: Any) -> None: ...


async def hub_of(**limits: Any) -> Hub:
    hub = Hub(R(), checkers=[Anonymous()], limits=Limits(**limits))
    await hub.start(MemoryStore())
    return hub


async def login(hub: Hub, address: str = "1.2.3.4") -> Any:
    session, _ = await hub.portal.open(wire.Hello(), "json", address, Carrier())
    return session


def raw(value: Any) -> Any:
    return msgspec.Raw(msgspec.json.encode(value))


@pytest.mark.rule("PE7")
def test_a_name_is_measured_before_it_is_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    """NFKC takes quadratic time for a long run of accents."""
    monkeypatch.setattr(accounts, "unicodedata", Short())
    with pytest.raises(LoginFailedError, match="characters"):
        checked_name("a" + "\u0301" * 8000 + "\u0323" * 8000)


@pytest.mark.rule("PE7")
async def test_a_password_is_measured_before_it_is_normalised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords = Passwords()
    passwords.set_password("ann", "12345678")
    monkeypatch.setattr(checkers, "unicodedata", Short())
    with pytest.raises(LoginFailedError, match="wrong"):
        await passwords.check(
            {"name": "ann", "password": "a" + "\u0301" * 16000 + "\u0323" * 16000}, "x"
        )
    passwords.close()
    with pytest.raises(LoginFailedError, match="1 to 1024"):
        passwords.set_password("ann", "x" * 1025)


@pytest.mark.rule("PE7")
async def test_watch_and_unwatch_without_end_are_bounded() -> None:
    hub = await hub_of()
    session = await login(hub)
    blocked = threading.Event()

    def hold_up() -> None:
        blocked.wait(30)

    hub.host.serial.submit(hold_up)
    before = hub.host.serial.waiting
    try:
        try:
            for _ in range(20_000):
                session.receive(wire.Watch(1, "echo", args=raw(["x" * 100])))
                session.receive(wire.Unwatch(1))
        except HubbubError:
            pass  # cut off for it, or refused one by one: both will do
        assert hub.host.serial.waiting - before <= 10_000
    finally:
        blocked.set()
        await hub.stop()


@pytest.mark.rule("PE7")
async def test_live_queries_are_bounded() -> None:
    hub = await hub_of(max_live_queries=5)
    try:
        session = await login(hub)
        for n in range(20):
            session.receive(wire.Watch(n + 1, "echo", args=raw([f"{n}"])))
        await hub.host.read(lambda c: None)
        await hub.host.read(lambda c: None)
        assert len(hub.host.queries) <= 5
    finally:
        await hub.stop()


@pytest.mark.rule("PE7")
async def test_kept_answers_are_bounded() -> None:
    hub = await hub_of(kept_answer_bytes=1000)
    try:
        session = await login(hub)
        for n in range(20):
            session.receive(wire.Watch(n + 1, "echo", args=raw([f"{n}" * 1000])))
        await hub.host.read(lambda c: None)
        await hub.host.read(lambda c: None)
        kept = sum(len(v) for q in hub.host.queries._queries.values() for v in q.encoded.values())
        assert kept <= 10_000
    finally:
        await hub.stop()


@pytest.mark.rule("PE7")
async def test_one_address_can_not_have_all_sessions() -> None:
    hub = await hub_of(max_sessions=50, max_connections_per_address=5)
    try:
        for _ in range(50):
            try:
                session = await login(hub, "6.6.6.6")
                session.detach(session._carrier)
            except HubbubError:
                pass
        await login(hub, "1.1.1.1")
    finally:
        await hub.stop()


@pytest.mark.rule("PE7")
async def test_a_reference_that_is_watched_is_the_callers_mistake(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub = await hub_of()
    try:
        one = await PlainSession.opened(hub.portal, {}, "x")
        messages = await one.watch("thing", {})
        failure = next(m.error for m in messages if isinstance(m, wire.End))
        assert failure is not None
        assert failure.kind != "internal"
        assert not [r for r in caplog.records if r.levelno >= logging.ERROR]
    finally:
        await hub.stop()


@pytest.mark.rule("SP3")
def test_a_class_name_with_a_zero_byte_can_be_read() -> None:
    assert class_for("x:a\x00b")
