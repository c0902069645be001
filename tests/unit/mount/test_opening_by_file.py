"""``hubbub.open("app.toml")``."""

from __future__ import annotations

from pathlib import Path

import pytest

import hubbub
from hubbub.gateway.admission import Admission
from hubbub.kernel import ConfigurationError, LoginFailedError, ReadOnlyError
from hubbub.store import MemoryStore
from tests.conformance.mount.serving import HostThread


@pytest.fixture
def write(tmp_path: Path):
    def make(text: str) -> str:
        path = tmp_path / "app.toml"
        path.write_text(text)
        return str(path)

    return make


def test_a_host_its_token_and_what_the_caller_says_instead(write, tmp_path: Path) -> None:
    host = HostThread(MemoryStore(), admission=Admission(secret="s3cret"))
    (tmp_path / "token").write_text("s3cret\n")
    path = write(
        f'[open.main]\nurl = "{host.url}"\ntoken = {{ file = "token" }}\nread_only = true\n'
        "wait_timeout_s = 2\ncache_bytes = 1_000_000\n"
    )
    try:
        with hubbub.open(path) as space:
            assert space.read(len) == 0
            with pytest.raises(ReadOnlyError):
                space.run(lambda root: root.update(n=1))
        with hubbub.open(path, "main") as space:
            assert space.read(len) == 0
        with pytest.raises(LoginFailedError):
            hubbub.open(path, token="another")
    finally:
        host.close()


def test_a_file_is_relative_to_the_file(write, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir("/")
    path = write('[open.default]\nurl = "data.hub"\n[open.other]\nurl = "memory:"\n')
    with hubbub.open(Path(path)) as space:
        space.run(lambda root: root.update(n=1))
    assert (tmp_path / "data.hub").exists()
    with hubbub.open(path, "other") as space:
        assert space.read(len) == 0


@pytest.mark.parametrize(
    "text, name, told",
    [
        ("", "", "there is no section [open.NAME]"),
        ('[opne.main]\nurl = "x"', "", "is [opne] meant to be one?"),
        ('[open]\nurl = "x"', "", ":2: open.url has to be in a section [open.NAME]"),
        ('[open.a]\nurl = "x"\n[open.b]\nurl = "y"', "", "it opens a, b: say which"),
        ('[open.main]\nurl = "x"', "mian", "no section [open.mian]: did you mean 'main'?"),
        ('[open.main]\nurk = "x"', "", ":2: [open.main] has no key 'urk': did you mean 'url'?"),
        ("[open.main]\nurl = []", "", ":2: url is an empty list"),
        ("[open.main]\nread_only = true", "", ":1: [open.main] needs the key 'url'"),
    ],
)
def test_what_makes_no_sense(write, text: str, name: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        hubbub.open(write(text), name)
    assert told in str(raised.value)


def test_only_files_have_names() -> None:
    with pytest.raises(ConfigurationError, match="only a TOML file has names"):
        hubbub.open("hub://a", "shop")
