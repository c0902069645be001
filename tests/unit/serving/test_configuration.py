"""``hub.toml``."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubbub import Hub
from hubbub.kernel import ConfigurationError
from hubbub.serving import ListenPlan, Public, read_configuration
from tests.faults.gateway.certificates import Certificates

WHOLE = """
listen = ["127.0.0.1:1975", "run/hub.sock", { address = "0.0.0.0:1976", tls = true }]
default = "shop"
token = { env = "SHOP_TOKEN" }
tokens = "secret/tokens"

[tls]
certificate = "host.pem"
client_ca = "ca.pem"
require_client_certificate = true

[limits]
max_connections = 500

[logging]
level = "warning"
file = "hub.log"

[spaces.shop]
data = "data/shop.hub"
application = "shop.py:hub"
web = "127.0.0.1:8000"
public = "read-only"
limits.grace_s = 5

[spaces.chat]
data = "memory:"
read_only = true
keep = "30d"
[spaces.chat.peers]
heartbeat_s = 3.5

[open.shop]
url = "hub://127.0.0.1/shop"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOP_TOKEN", "s3cret")
    (tmp_path / "data").mkdir()
    (tmp_path / "run").mkdir()
    Certificates(tmp_path)
    return tmp_path


def write(here: Path, text: str) -> Path:
    path = here / "hub.toml"
    path.write_text(text)
    return path


def test_the_whole_of_it(here: Path) -> None:
    asked: list[str] = []

    def load(target: str) -> Hub:
        asked.append(target)
        return Hub()

    configuration = read_configuration(write(here, WHOLE))
    plan = configuration.plan(load)
    assert asked == [f"{here}/shop.py:hub"]
    assert list(plan.listen) == [
        ListenPlan("127.0.0.1:1975"),
        ListenPlan(f"{here}/run/hub.sock"),
        ListenPlan("0.0.0.0:1976", True),
    ]
    assert (plan.default, plan.secret) == ("shop", "s3cret")
    assert plan.tokens == configuration.tokens_path == here / "secret" / "tokens"
    assert plan.tls is not None
    assert (plan.tls.certificate, plan.tls.is_required) == (f"{here}/host.pem", True)
    assert plan.limits.max_connections == 500
    shop, chat = plan.spaces
    assert (shop.name, shop.data, shop.web) == ("shop", f"{here}/data/shop.hub", "127.0.0.1:8000")
    assert shop.public is Public.READ_ONLY
    assert (shop.hub.limits.grace_s, shop.hub.limits.max_connections) == (5, 500)
    assert (chat.data, chat.web, chat.read_only) == ("memory:", None, True)
    assert chat.peer_options.heartbeat_s == 3.5
    assert chat.public is Public.NO
    assert (shop.keep, chat.keep) == (None, 30 * 86_400)
    assert configuration.log_file == f"{here}/hub.log"


def test_the_least(here: Path) -> None:
    configuration = read_configuration(write(here, '[spaces.a]\ndata = "a.hub"'))
    plan = configuration.plan(lambda target: Hub())
    assert list(plan.listen) == [ListenPlan("127.0.0.1:1975")]
    assert configuration.tokens_path == here / "hub.toml-tokens"
    assert configuration.log_file is None


SPACE = '[spaces.a]\ndata = "a.hub"\n'


@pytest.mark.parametrize(
    "text, told",
    [
        ("", ":1: it serves nothing: add a section [spaces.NAME]"),
        ('[spaces.a]\ndta = "a.hub"', ":2: [spaces.a] has no key 'dta': did you mean 'data'?"),
        ('[space.a]\ndata = "a.hub"', ":1: the file has no key 'space': did you mean 'spaces'?"),
        ("[spaces.a]", ":1: [spaces.a] needs the key 'data'"),
        (
            f'{SPACE}public = "yes"',
            "spaces.a.public has to be 'no' or 'users' or 'read-only' or 'all'",
        ),
        (f"{SPACE}public = true", ":3: spaces.a.public has to be"),
        (f'{SPACE}[spaces.b]\ndata = "./a.hub"', ":4: spaces a and b have the same data"),
        ('[spaces."a/b"]\ndata = "a.hub"', ":1: 'a/b' is no name of a space"),
        (f'default = "b"\n{SPACE}', ":1: there is no space 'b': there are a"),
        ('[spaces.a]\ndata = "none/a.hub"', ":2: the folder"),
        ('[spaces.a]\ndata = "hub://a"', ":2: data is a file"),
        ('[spaces.a]\ndata = "chat.hub-accounts"', ":2: 'chat.hub-accounts' is a file of accounts"),
        (f'{SPACE}web = "127.0.0.1:80"', ":3: a page needs an application"),
        (f'{SPACE}web = "nonsense"', ":3: 'nonsense' is not an address"),
        (f'listen = ["nonsense"]\n{SPACE}', ":1: 'nonsense' is not an address"),
        (
            f'listen = {{ address = ":1", tls = true }}\n{SPACE}',
            ":1: :1 is to speak TLS: add a section",
        ),
        (f"{SPACE}[limits]\nmax_connections = 0", ":4: max_connections has to be more than 0"),
        (f"{SPACE}limits.grace_s = -1", ":3: grace_s has to be more than 0"),
        (
            f"{SPACE}[limits]\nmax_conections = 1",
            ":4: [limits] has no key 'max_conections': did you mean",
        ),
        (f'{SPACE}keep = "soon"', ":3: 'soon' is no length of time"),
        (f"{SPACE}peers.heartbeat_s = 0", "heartbeat_s has to be more than 0"),
        (f'{SPACE}[open.x]\nurk = ""', ":4: [open.x] has no key 'urk'"),
        (f'{SPACE}[logging]\nlevel = "loud"', ":4: logging.level has to be 'debug'"),
        (f'{SPACE}[tls]\ncertificate = "none.pem"', ":3: the PEM file"),
        (f'{SPACE}[tls]\ncertificate = "ca.pem"', ":3: "),
        (
            f'{SPACE}[tls]\ncertificate = "host.pem"\nrequire_client_certificate = true',
            ":5: say by client_ca",
        ),
        (f'{SPACE}application = "none.py:hub"', ":3: there is no file"),
        (
            f'token = {{ env = "NOT_SET_AT_ALL" }}\n{SPACE}',
            ":1: the variable NOT_SET_AT_ALL is not set",
        ),
    ],
)
def test_what_makes_no_sense_is_told_with_its_line(here: Path, text: str, told: str) -> None:
    from hubbub.cli.serving import load_hub

    with pytest.raises(ConfigurationError) as raised:
        read_configuration(write(here, text)).plan(load_hub)
    assert f"hub.toml{told}" in str(raised.value) or told in str(raised.value)
    assert str(here / "hub.toml") in str(raised.value)
