"""``hubbub token``."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hubbub.cli.main import main
from hubbub.perspective.tokens import Rights, TokensFile


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["token", *words])


def test_a_token_is_shown_once(tmp_path: Path) -> None:
    added = run("add", "report", "--read-only", "--expires", "30d", "--data", "shop.hub")
    assert added.exit_code == 0
    secret = added.stdout.strip()
    assert "not shown again" in added.stderr
    found = TokensFile("shop.hub-tokens").of_secret(secret)
    assert found is not None
    assert found.rights_in("") is Rights.READ_ONLY
    listed = run("list", "--data", "shop.hub").stdout
    assert listed.startswith("report               read-only  all spaces           until 20")
    assert secret not in listed
    assert run("remove", "report", "--data", "shop.hub").exit_code == 0
    again = run("remove", "report", "--data", "shop.hub")
    assert again.exit_code == 1
    assert "there is no token 'report'" in again.stderr
    hint = run("list", "--data", "shop.hub").stderr
    assert hint == "There are no tokens yet. Add one: hubbub token add NAME --data shop.hub\n"


def test_by_the_file_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text(
        '[spaces.shop]\ndata = "shop.hub"\n[spaces.chat]\ndata = "chat.hub"\n'
    )
    added = run("add", "w", "--space", "shop", "--subject", "CN=w", "--config", "hub.toml")
    assert added.stdout == "Whose certificate says CN=w can mount.\n"
    (found,) = TokensFile("hub.toml-tokens").of_subject(frozenset({("CN", "w")}))
    assert found.rights_in("chat") is None
    unknown = run("add", "x", "--space", "shoop", "--config", "hub.toml")
    assert "has no space 'shoop'" in unknown.stderr


@pytest.mark.parametrize(
    "words, told",
    [
        (("add", "a"), "--data PATH, or --config FILE"),
        (("add", "a", "--data", "memory:"), "takes the file of a space"),
        (("add", "a", "--data", "nowhere/x.hub"), "does not exist"),
        (("add", "a", "--data", "x.hub", "--expires", "soon"), "such as 30d"),
        (("add", "a", "--data", "x.hub", "--space", "s"), "has one space"),
        (("add", "a", "--data", "x.hub", "--subject", "w"), "CN=front-end"),
    ],
)
def test_what_makes_no_sense_is_told(words: tuple[str, ...], told: str) -> None:
    result = run(*words)
    assert result.exit_code != 0
    assert told in result.stderr
