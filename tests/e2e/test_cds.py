"""The CD database: a peer that writes, faces for HTTP and XML-RPC that read, a stranger without the classes."""

from __future__ import annotations

import xmlrpc.client
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.hosts import EXAMPLES, Host, Hosts, Program, environment

CDS = EXAMPLES / "cds"
TOKEN = "whoever has this may write"
MORE = """artist,title,year,tracks
Fanny Hensel,Das Jahr,1841,Januar 3:01 | Februar 2:58
"""


@pytest.fixture
def host(hosts: Hosts) -> Host:
    return hosts.host(None, "cds", "--token", TOKEN, "--public", "read-only").start()


def cds(hosts: Hosts, host: Host, *arguments: str, token: str = TOKEN) -> Program:
    """Run the program that fills the database, to its end."""
    program = hosts.run(
        str(CDS / "cds.py"),
        *arguments,
        directory=CDS,
        env=environment(CDS=host.hub, **({"TOKEN": token} if arguments[0] == "add" else {})),
    )
    program.wait()
    return program


class Faces:
    def __init__(self, hosts: Hosts, host: Host) -> None:
        self.program = hosts.run(
            "-m", "uvicorn", "faces:app", "--port", "0",
            directory=CDS,
            env=environment(CDS=host.hub, XML_RPC_PORT="0"),
        )  # fmt: skip
        self.http = self.program.until_logged(r"running on (http://\S+)")[1]
        self.xml_rpc = self.program.until_printed(r"XML-RPC on (http://\S+)")[1]


def test_both_faces_show_what_a_peer_has_written_also_later(
    hosts: Hosts, host: Host, tmp_path: Path
) -> None:
    faces = Faces(hosts, host)
    remote: Any = xmlrpc.client.ServerProxy(faces.xml_rpc)
    with httpx.Client(base_url=faces.http, timeout=20) as web, remote:
        assert web.get("/cds").json() == remote.find() == [], "an empty database is none that fails"
        assert cds(hosts, host, "add", "catalogue.csv").printed == "5 CDs\n"
        (card,) = web.get("/cds", params={"word": "bach"}).json()
        assert card == {
            "title": "Goldberg Variations",
            "artist": "Johann Sebastian Bach",
            "year": 1741,
            "minutes": 5.0,
            "tracks": [
                {"title": "Aria", "seconds": 123},
                {"title": "Variatio 1", "seconds": 70},
                {"title": "Variatio 2", "seconds": 49},
                {"title": "Variatio 3", "seconds": 55},
            ],
        }  # fmt: skip
        assert remote.find("BACH") == [card]
        assert [found["title"] for found in remote.find("clair de lune")] == ["Suite bergamasque"]
        assert "find" in remote.system.listMethods()
        assert remote.system.methodHelp("find") == "Return the CDs that WORD occurs in."
        assert web.get("/cds", params={"word": "no such"}).json() == []
        with pytest.raises(xmlrpc.client.Fault):
            remote.add("x")
        more = tmp_path / "more.csv"
        more.write_text(MORE)
        assert cds(hosts, host, "add", str(more)).printed == "1 CDs\n"
        assert [found["artist"] for found in remote.find("jahr")] == ["Fanny Hensel"]
        assert len(web.get("/cds").json()) == 6
    found = cds(hosts, host, "find", "spring")
    assert found.printed == "Antonio Vivaldi: The Four Seasons (1725), 40.7 min\n"


@pytest.mark.rule("SP3")
def test_a_stranger_without_the_classes_reads_plain_attributes_and_changes_nothing(
    hosts: Hosts, host: Host, tmp_path: Path
) -> None:
    cds(hosts, host, "add", "catalogue.csv")
    for token in ("", "a wrong one"):
        refused = cds(hosts, host, "add", "catalogue.csv", token=token)
        assert refused.logged.startswith("cds: ")
        assert refused.process.returncode == 1
    # Away from the classes, as on another machine.
    program = tmp_path / "stranger.py"
    program.write_text((CDS / "stranger.py").read_text())
    stranger = hosts.run("stranger.py", host.hub, directory=tmp_path)
    assert stranger.wait() == 0, stranger.logged
    lines = stranger.printed.splitlines()
    assert len(lines) == 7
    assert "Claude Debussy: Suite bergamasque, 4 tracks, the first is 'Prélude'" in lines
    assert (
        lines[5] == "but: class cds:CD is not known here to use 'minutes': import its module first"
    )
    assert lines[6].startswith("and: ")
    assert len(cds(hosts, host, "find", "").printed.splitlines()) == 5


def test_what_can_not_be_done_is_one_line(hosts: Hosts, host: Host, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(MORE + "Somebody,No year,soon,One 1:00\n")
    program = cds(hosts, host, "add", str(bad))
    assert program.logged.startswith("cds: row 2 is no CD: invalid literal for int()")
    assert program.logged.count("\n") == 1
    program = cds(hosts, host, "find", "year")
    assert program.printed == "", "all of them, or none"
    assert program.logged == "There is no CD with 'year' in it.\n"
    program = cds(hosts, host, "add", str(tmp_path / "missing.csv"))
    assert program.logged.startswith("cds: [Errno 2] No such file")
    assert program.logged.count("\n") == 1
    stranger = hosts.run(str(CDS / "stranger.py"), host.hub, directory=CDS)
    assert stranger.wait() == 1
    assert stranger.logged == "There are no CDs yet.\n"
    faces = Faces(hosts, host)
    host.kill()
    stranger = hosts.run(str(CDS / "stranger.py"), host.hub, directory=CDS)
    assert stranger.wait() == 1
    assert stranger.logged.startswith("stranger: there is no host at ")
    assert stranger.logged.count("\n") == 1
    program = cds(hosts, host, "find", "x")
    assert program.logged.startswith("cds: ")
    assert program.logged.count("\n") == 1
    with httpx.Client(base_url=faces.http, timeout=20) as web:
        assert web.get("/cds").status_code in (200, 503)
