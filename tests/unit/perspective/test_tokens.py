"""What lets peers in, as it is kept."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from hubbub.kernel import ConfigurationError, FakeClock, LoginFailedError, StoreError
from hubbub.perspective.tokens import (
    Rights,
    Token,
    TokensFile,
    parsed_subject,
    subject_of,
    tokens_path,
)


@pytest.fixture
def tokens(tmp_path: Path) -> TokensFile:
    return TokensFile(tokens_path(tmp_path / "chat.hub"), FakeClock(1000.0))


def test_only_a_hash_is_kept_in_a_file_that_only_its_owner_reads(tokens: TokensFile) -> None:
    assert not tokens.are_asked_for
    secret = tokens.add("front-end")
    assert tokens.path.name == "chat.hub-tokens"
    assert secret.startswith("hubbub_")
    assert len(secret) > 45
    text = tokens.path.read_text()
    assert secret not in text
    assert secret.removeprefix("hubbub_") not in text
    assert tokens.path.stat().st_mode & 0o777 == 0o600
    found = tokens.of_secret(secret)
    assert found is not None
    assert found.rights_in("anything") is Rights.FULL


def test_rights_and_spaces(tokens: TokensFile) -> None:
    secret = tokens.add("report", read_only=True, spaces=("shop", "chat"))
    found = tokens.of_secret(secret)
    assert found is not None
    assert [found.rights_in(name) for name in ("shop", "chat", "other")] == [
        Rights.READ_ONLY,
        Rights.READ_ONLY,
        None,
    ]


def test_what_is_removed_is_gone_and_the_host_goes_on_asking(tokens: TokensFile) -> None:
    secret = tokens.add("a")
    elsewhere = TokensFile(tokens.path)
    assert elsewhere.of_secret(secret) is not None
    assert tokens.remove("a")
    assert not tokens.remove("a")
    assert elsewhere.of_secret(secret) is None  # of another process, without being told
    assert elsewhere.are_asked_for
    assert elsewhere.listed() == []


def test_a_time_comes_to_its_end(tokens: TokensFile) -> None:
    secret = tokens.add("a", lifetime_s=60)
    found = tokens.of_secret(secret)
    assert found is not None
    assert [found.has_expired(now) for now in (1000, 1059.9, 1060)] == [False, False, True]
    assert not Token(made=0).has_expired(1e12)


def test_a_name_is_given_once(tokens: TokensFile) -> None:
    secret = tokens.add("a")
    with pytest.raises(ConfigurationError, match="there is a token 'a': remove it first"):
        tokens.add("a")
    with pytest.raises(LoginFailedError):
        tokens.add("")
    assert tokens.of_secret(secret) is not None


@pytest.mark.parametrize("secret", ["", "x", "hubbub_", "x" * 10_000, "\ud800", "a\0b"])
def test_what_is_no_token_is_nobody_s(tokens: TokensFile, secret: str) -> None:
    tokens.add("a")
    tokens.add("b", subject="CN=b")
    assert tokens.of_secret(secret) is None


def test_a_certificate_has_to_say_all_that_is_asked(tokens: TokensFile) -> None:
    assert tokens.add("workers", subject="CN=worker,O=Shop\\, Inc.") == ""
    says = frozenset({("CN", "worker"), ("O", "Shop, Inc."), ("C", "NO")})
    assert len(tokens.of_subject(says)) == 1
    assert tokens.of_subject(frozenset({("CN", "worker")})) == []
    assert tokens.of_subject(frozenset()) == []


@pytest.mark.parametrize("text", ["", "worker", "CN=", "=x", "commonName=x", "CN=a,,O=b"])
def test_what_is_no_subject_says_how_to_write_one(tokens: TokensFile, text: str) -> None:
    with pytest.raises(ConfigurationError, match="subject"):
        parsed_subject(text)


def test_the_subject_of_a_certificate() -> None:
    told = {"subject": ((("commonName", "a"),), (("organizationName", "b"), ("title", "x")))}
    assert subject_of(told) == {("CN", "a"), ("O", "b")}
    assert subject_of(None) == subject_of({}) == frozenset()


def test_a_damaged_file_lets_nobody_in(tokens: TokensFile) -> None:
    secret = tokens.add("a")
    tokens.path.write_text('{"a": {"made": "yesterday"}}')
    with pytest.raises(StoreError, match="is no file of tokens"):
        tokens.of_secret(secret)
    with pytest.raises(StoreError):
        tokens.add("b")


def test_many_who_add_at_once_lose_nothing(tokens: TokensFile) -> None:
    def add(number: int) -> None:
        TokensFile(tokens.path).add(f"t{number}")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens.listed()) == 20
