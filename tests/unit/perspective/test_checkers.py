"""Who is let in."""

from __future__ import annotations

import asyncio
import json
import os
import stat

import argon2
import pytest

from hubbub.kernel import FakeClock, LimitError, Limits, LoginFailedError, StoreError
from hubbub.perspective.accounts import AccountsFile, MemoryAccounts, accounts_path, checked_name
from hubbub.perspective.checkers import Anonymous, FailedLogins, FunctionChecker, Passwords
from hubbub.perspective.identity import Identity

WEAK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def make_passwords(accounts=None, clock=None, **limits):
    checker = Passwords(accounts, Limits(**limits), clock or FakeClock(), WEAK)
    checker.set_password("Ann", "secret-word")
    return checker


async def refused(checker, code, **credentials):
    with pytest.raises(LoginFailedError) as caught:
        await checker.check(credentials, "1.2.3.4")
    assert caught.value.code == code
    return str(caught.value)


# --- names ---


@pytest.mark.parametrize("name", ["ann", "Ann Lee", "Zoë", "李", "x" * 40, "🙂"])
def test_names_that_may_be(name):
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "x" * 41, " ann", "ann ", "a  b", "a\tb", "a\nb", "a\x00", "a\u200bb", "a\u202eb", "a\u2028b", "\u3164", "a\u2800", "\ufeffann", "\u0301a", "\ud800", "\ufdfa" * 10],
)  # fmt: skip
def test_names_that_may_not_be(name):
    with pytest.raises(LoginFailedError) as caught:
        checked_name(name)
    assert caught.value.code == "bad_name"


def test_names_are_normalised():
    assert checked_name("ａｎｎ") == "ann"
    assert checked_name("a\u00a0b") == "a b"


# --- anonymous ---


async def test_the_same_key_is_the_same_identity():
    checker = Anonymous()
    one = await checker.check({"name": "ann", "key": "k"}, "1.2.3.4")
    two = await checker.check({"name": "ann", "key": "k"}, "")
    assert one.id == two.id
    assert one.id.startswith("anon:")
    assert "k" not in one.id.removeprefix("anon:") or len(one.id) > 20
    assert (one.name, one.address) == ("ann", "1.2.3.4")


async def test_a_name_belongs_to_one_at_a_time():
    checker = Anonymous()
    ann = await checker.check({"name": "Ann", "key": "k"}, "")
    again = await checker.check({"name": "ANN", "key": "k"}, "")
    assert "taken" in await refused(checker, "name_taken", name="aNN", key="other")
    checker.released(ann)
    await refused(checker, "name_taken", name="ann", key="other")
    checker.released(again)
    other = await checker.check({"name": "ann", "key": "other"}, "")
    checker.released(ann)  # not hers any more
    with pytest.raises(LoginFailedError):
        checker.resumed(ann)
    checker.released(other)
    checker.resumed(ann)
    await refused(checker, "name_taken", name="ann", key="other")


async def test_without_a_name_there_is_a_guest():
    checker = Anonymous()
    guests = {(await checker.check({}, "")).name for _ in range(20)}
    assert len(guests) == 20
    assert all(name.startswith("guest-") for name in guests)


async def test_a_name_with_a_password_is_not_for_the_anonymous():
    passwords = make_passwords()
    await refused(Anonymous(passwords.accounts), "name_taken", name="ANN", key="k")


# --- passwords ---


async def test_the_right_password_is_let_in():
    identity = await make_passwords().check({"name": "ann", "password": "secret-word"}, "1.2.3.4")
    assert (identity.id, identity.name, identity.address) == ("password:ann", "ann", "1.2.3.4")


async def test_a_wrong_password_and_an_unknown_name_look_the_same():
    checker = make_passwords()
    texts = {
        await refused(checker, "login_failed", name="ann", password="wrong"),
        await refused(checker, "login_failed", name="bob", password="secret-word"),
        await refused(checker, "login_failed", name="\u200b", password="secret-word"),
        await refused(checker, "login_failed", name="ann"),
    }
    assert len(texts) == 1


async def test_an_unknown_name_is_hashed_like_a_known_one(monkeypatch):
    checker = make_passwords()
    await refused(checker, "login_failed", name="bob", password="x")
    verified = []

    class Counting:
        def verify(self, kept, password):
            verified.append(kept)
            return WEAK.verify(kept, password)

    checker._hasher = Counting()
    await refused(checker, "login_failed", name="bob", password="x")
    await refused(checker, "login_failed", name="ann", password="x")
    assert len(verified) == 2


async def test_a_weaker_hash_is_made_again():
    checker = make_passwords()
    before = checker.accounts.get("ann")
    checker._hasher = argon2.PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)
    await checker.check({"name": "ann", "password": "secret-word"}, "")
    assert checker.accounts.get("ann") != before
    await checker.check({"name": "ann", "password": "secret-word"}, "")


async def test_a_damaged_hash_lets_nobody_in():
    checker = make_passwords()
    checker.accounts.set("ann", "nonsense")
    await refused(checker, "login_failed", name="ann", password="secret-word")


@pytest.mark.rule("PE7")
async def test_failed_logins_are_limited_by_address():
    clock = FakeClock()
    checker = make_passwords(clock=clock, failed_logins=3, failed_logins_s=60)
    for _ in range(3):
        await refused(checker, "login_failed", name="ann", password="wrong")
    text = await refused(checker, "too_many_failures", name="ann", password="secret-word")
    assert "try again in 60 s" in text
    await checker.check({"name": "ann", "password": "secret-word"}, "5.6.7.8")
    clock.advance(61)
    for _ in range(9):
        await checker.check({"name": "ann", "password": "secret-word"}, "1.2.3.4")


@pytest.mark.rule("PE7")
async def test_guesses_at_the_same_time_count_too():
    checker = make_passwords(failed_logins=3)
    guesses = [checker.check({"name": "ann", "password": f"{n}"}, "1.2.3.4") for n in range(20)]
    codes = [
        getattr(error, "code", "")
        for error in await asyncio.gather(*guesses, return_exceptions=True)
    ]
    assert codes.count("login_failed") == 3
    assert codes.count("too_many_failures") == 17


@pytest.mark.rule("PE7")
async def test_logins_that_wait_are_limited():
    checker = make_passwords(password_checks_waiting=1)
    logins = [checker.check({"name": "ann", "password": "secret-word"}, f"{n}") for n in range(3)]
    outcomes = await asyncio.gather(*logins, return_exceptions=True)
    assert sum(isinstance(outcome, LimitError) for outcome in outcomes) == 2
    checker.close()


@pytest.mark.rule("PE7")
def test_the_table_of_failures_is_bounded():
    table = FailedLogins(Limits(failed_login_addresses=3), FakeClock())
    for number in range(10):
        table.note(f"{number}")
    assert len(table._times) == 3


def test_passwords_that_can_not_be():
    for name, password, code in (("", "x", "bad_name"), ("ann", "", "bad_password")):
        with pytest.raises(LoginFailedError) as caught:
            make_passwords().set_password(name, password)
        assert caught.value.code == code


# --- accounts ---


@pytest.fixture(params=["memory", "file"])
def accounts(request, tmp_path):
    return (
        MemoryAccounts()
        if request.param == "memory"
        else AccountsFile(accounts_path(tmp_path / "chat.hub"))
    )


def test_accounts_are_kept_by_name(accounts):
    assert accounts.get("ann") is None
    accounts.set("Ann", "h1")
    accounts.set("bob", "h2")
    accounts.set("ANN", "h3")
    assert accounts.get("ann") == "h3"
    assert accounts.list() == ["ann", "bob"]
    assert accounts.delete("BOB")
    assert not accounts.delete("bob")
    with pytest.raises(LoginFailedError):
        accounts.set("a\u200b", "h")
    assert accounts.list() == ["ann"]


def test_the_file_is_its_owners_only_and_replaced_as_a_whole(tmp_path):
    path = tmp_path / "a"
    os.umask(os.umask(0))
    AccountsFile(path).set("ann", "h")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"ann": "h"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "a.lock"]


def test_the_file_is_read_again_when_it_has_changed(tmp_path):
    here, elsewhere = AccountsFile(tmp_path / "a"), AccountsFile(tmp_path / "a")
    here.set("ann", "h")
    elsewhere.set("bob", "h")
    assert here.list() == ["ann", "bob"]
    (tmp_path / "a").unlink()
    assert here.get("ann") is None


def test_a_damaged_file_lets_nobody_in(tmp_path):
    (tmp_path / "a").write_text("[]")
    with pytest.raises(StoreError, match="no file of accounts"):
        AccountsFile(tmp_path / "a").get("ann")


# --- functions ---


async def test_an_async_function_can_vouch():
    async def app_session(request):
        return (
            Identity(f"app:{request.credentials['user']}", "Ann") if request.credentials else None
        )

    checker = FunctionChecker(app_session)
    assert checker.name == "app_session"
    assert (await checker.check({"user": "7"}, "")).id == "app:7"
    await refused(checker, "login_failed")
