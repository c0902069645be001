"""Who may mount, against a plain model, and one by one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.gateway.admission import Admission, Shown
from hubbub.kernel import FakeClock, Limits, LoginFailedError, NotAllowedError
from hubbub.perspective.tokens import Rights, TokensFile

SPACES = ("chat", "shop")
SECRET = "the shared one"

made = st.fixed_dictionaries(
    {
        "read_only": st.booleans(),
        "spaces": st.sets(st.sampled_from(SPACES)),
        "lifetime_s": st.none() | st.integers(1, 5),
        "is_subject": st.booleans(),
        "is_removed": st.booleans(),
    }
)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(made, max_size=4),
    st.booleans(),
    st.integers(0, 6),
    st.lists(st.integers(-2, 4), max_size=2),
    st.sampled_from(SPACES),
    st.booleans(),
)
@pytest.mark.rule("PE7")
def test_rights_are_those_of_a_plain_model(tokens, has_secret, later_s, shown, space, is_public):
    """``shown``: the numbers of what is shown; -1 is the shared secret, -2 a token that nobody knows."""
    clock = FakeClock(1000.0)
    with tempfile.TemporaryDirectory() as directory:
        file = TokensFile(Path(directory) / "tokens", clock)
        secrets: list[str] = []
        for number, one in enumerate(tokens):
            subject = f"CN=c{number}" if one["is_subject"] else ""
            secrets.append(
                file.add(
                    f"t{number}",
                    read_only=one["read_only"],
                    spaces=tuple(one["spaces"]),
                    lifetime_s=one["lifetime_s"],
                    subject=subject,
                )
            )
        for number, one in enumerate(tokens):
            if one["is_removed"]:
                file.remove(f"t{number}")
        clock.advance(later_s)
        token, subject_pairs = "", set()
        for number in shown:
            if number == -1:
                token = SECRET
            elif number == -2:
                token = "hubbub_nobody's"
            elif number < len(tokens):
                if tokens[number]["is_subject"]:
                    subject_pairs.add(("CN", f"c{number}"))
                else:
                    token = secrets[number]
        admission = Admission(secret=SECRET if has_secret else "", tokens=file, clock=clock)

        def is_alive(one) -> bool:
            ends = one["lifetime_s"]
            return not one["is_removed"] and (ends is None or later_s < ends)

        expected: object
        chosen = [tokens[secrets.index(token)]] if token in secrets and token else []
        by_subject = [
            one
            for n, one in enumerate(tokens)
            if one["is_subject"] and ("CN", f"c{n}") in subject_pairs
        ]
        valid = [one for one in chosen + by_subject if is_alive(one)]
        here = [one for one in valid if not one["spaces"] or space in one["spaces"]]
        if not (has_secret or tokens or is_public) or (has_secret and token == SECRET):
            expected = Rights.FULL
        elif token and not (chosen and is_alive(chosen[0])):
            expected = LoginFailedError
        elif here:
            full = any(not one["read_only"] for one in here)
            expected = Rights.FULL if full else Rights.READ_ONLY
        elif is_public:
            expected = Rights.PUBLIC
        else:
            expected = NotAllowedError if valid else LoginFailedError
        asked = Shown(token, frozenset(subject_pairs), "10.0.0.1")
        if isinstance(expected, Rights):
            assert admission.admit(asked, space, is_public=is_public) is expected
        else:
            with pytest.raises(expected):
                admission.admit(asked, space, is_public=is_public)


def test_unknown_wrong_and_taken_back_are_one_answer(tmp_path: Path) -> None:
    tokens = TokensFile(tmp_path / "tokens")
    gone = tokens.add("a")
    tokens.remove("a")
    admission = Admission(secret="right", tokens=tokens)
    told = set()
    for token in (gone, "wrong", "hubbub_" + "x" * 43):
        with pytest.raises(LoginFailedError) as raised:
            admission.admit(Shown(token), "", is_public=False)
        told.add(str(raised.value))
    assert told == {"the token is not valid here"}


@pytest.mark.rule("PE7")
def test_guesses_are_counted_by_address_and_others_notice_nothing() -> None:
    clock = FakeClock(1000.0)
    limits = Limits(failed_logins=3, failed_logins_s=60)
    admission = Admission(secret="right", limits=limits, clock=clock)
    for _ in range(3):
        with pytest.raises(LoginFailedError, match="not valid here"):
            admission.admit(Shown("guess", address="10.0.0.1"), "", is_public=False)
    with pytest.raises(LoginFailedError, match="try again in") as raised:
        admission.admit(Shown("right", address="10.0.0.1"), "", is_public=False)
    assert raised.value.code == "too_many_failures"
    assert admission.admit(Shown("right", address="10.0.0.2"), "", is_public=False) is Rights.FULL
    clock.advance(61)
    assert admission.admit(Shown("right", address="10.0.0.1"), "", is_public=False) is Rights.FULL


def test_tokens_that_can_not_be_read_let_nobody_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = TokensFile(tmp_path / "tokens")
    secret = tokens.add("a")
    tokens.path.write_text("{")
    admission = Admission(tokens=tokens)
    with pytest.raises(LoginFailedError, match="its log says why"):
        admission.admit(Shown(secret), "", is_public=False)
    assert "is no file of tokens" in caplog.text
    for number in range(20):
        with pytest.raises(LoginFailedError, match="its log says why"):
            admission.admit(Shown("anything", address=f"10.0.0.{number}"), "", is_public=False)
    assert len(caplog.records) <= 3  # strangers can't fill the log by it
    assert "Traceback" not in caplog.text


@pytest.mark.rule("PE7")
def test_a_file_of_tokens_that_is_lost_opens_no_door(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A host that ran let everybody in, with full rights, as soon as its file had been moved away."""
    tokens = TokensFile(tmp_path / "tokens")
    secret = tokens.add("a")
    admission = Admission(tokens=tokens)
    assert admission.admit(Shown(secret), "", is_public=False) is Rights.FULL
    tokens.path.rename(tmp_path / "elsewhere")
    assert admission.asks
    with pytest.raises(LoginFailedError, match="asks peers for a token"):
        admission.admit(Shown(), "", is_public=False)
    with pytest.raises(LoginFailedError, match="its log says why"):
        admission.admit(Shown(secret), "", is_public=False)
    assert "put it back" in caplog.text
    assert admission.admit(Shown(), "", is_public=True) is Rights.PUBLIC
    (tmp_path / "elsewhere").rename(tokens.path)
    assert admission.admit(Shown(secret), "", is_public=False) is Rights.FULL
