"""``hubbub space check``: before a deploy, on a file and on a host in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.hosts import Hosts

FIRST = """
import hubbub
from hubbub import Hub, Log, Map, Persistent, Realm

class Room(Persistent):
    def __init__(self, title):
        self.title = title
        self.posts = Log()

class Post(Persistent):
    def __init__(self, text):
        self.text = text

def setup(root):
    rooms = root.setdefault("rooms", Map())
    for number in range(3):
        rooms[f"r{number}"] = room = Room(str(number))
        room.posts.append(Post("hello"))

hub = Hub(Realm(), setup=setup)

if __name__ == "__main__":
    with hubbub.open("blog.hub") as space:
        space.run(setup)
"""

BROKEN = """
from hubbub import Hub, Persistent, Realm, upgrade

class Room(Persistent, version=2):
    @upgrade(from_version=1)
    @staticmethod
    def title_is_a_number(state):
        state["title"] = 1 / int(state["title"])
        return state

hub = Hub(Realm())
"""

MENDED = """
from hubbub import Hub, Persistent, Realm, upgrade

class Room(Persistent, version=2):
    @upgrade(from_version=1)
    @staticmethod
    def title_is_a_number(state):
        state["title"] = int(state["title"])
        return state

class Story(Persistent, formerly="blog:Post"):
    def __init__(self, text):
        self.text = text

hub = Hub(Realm())
"""


@pytest.fixture
def blog(hosts: Hosts, tmp_path: Path) -> Path:
    """An application whose space has data."""
    application = tmp_path / "blog.py"
    application.write_text(FIRST)
    assert hosts.run("blog.py").wait() == 0
    return application


@pytest.mark.rule("SP7")
def test_what_would_not_load_is_told_before_the_deploy_and_nothing_is_written(
    hosts: Hosts, blog: Path
) -> None:
    data = blog.with_name("blog.hub")
    assert hosts.hubbub("space", "check", "blog:hub")[0] == 0
    before = data.read_bytes()
    blog.write_text(BROKEN)
    status, said, errors = hosts.hubbub("space", "check", "blog:hub")
    assert (status, errors) == (1, "")
    for line in (
        "  blog:Room: 3 objects of an older version, upgraded on load",
        "step fails: blog:Room: 1 to 2: title_is_a_number: ZeroDivisionError: division by zero",
        "  1 object, the first is 0x",
        "root['rooms']['r0']",
        "unknown class: blog:Post",
        "  3 objects, the first is 0x",
        "root['rooms']['r0'].posts[...]",
        "2 findings: not all of it would load.",
    ):
        assert line in said
    blog.write_text(MENDED)
    status, said, _ = hosts.hubbub("space", "check", "blog:hub", "--data", str(data))
    assert status == 0
    assert said.splitlines()[1:] == [
        "  blog:Room: 3 objects of an older version, upgraded on load",
        "  blog:Post: 3 objects under a former name",
        "",
        "All of it loads.",
    ]
    assert data.read_bytes() == before
    assert hosts.hubbub("space", "upgrade", "blog:hub")[:2] == (0, "9 objects rewritten\n"), (
        "and the logs, which name the class"
    )
    assert hosts.hubbub("space", "upgrade", "blog:hub")[:2] == (0, "0 objects rewritten\n")
    status, said, _ = hosts.hubbub("space", "check", "blog:hub")
    assert (status, said.splitlines()[1:]) == (0, ["", "All of it loads."])


@pytest.mark.rule("SP7")
@pytest.mark.rule("SP3")
def test_a_host_in_use_is_checked_as_well(hosts: Hosts, blog: Path) -> None:
    host = hosts.host("blog:hub", blog.parent).start()
    blog.write_text(BROKEN)
    status, said, _ = hosts.hubbub("space", "check", "blog:hub", "--data", host.hub)
    assert status == 1
    assert "unknown class: blog:Post" in said
    status, _, errors = hosts.hubbub("space", "check", "blog:hub", "--data", str(host.data))
    assert status == 1
    assert str(host.running.pid) in errors, "the one that has the file is named"


@pytest.mark.rule("SP7")
def test_a_space_that_peers_use_is_rewritten_through_its_host(hosts: Hosts, blog: Path) -> None:
    host = hosts.host(None, blog.parent, data=blog.with_name("blog.hub")).start()
    blog.write_text(MENDED)
    at = ("--data", host.hub)
    assert "3 objects of an older version" in hosts.hubbub("space", "check", "blog:hub", *at)[1]
    assert hosts.hubbub("space", "upgrade", "blog:hub", *at) == (0, "9 objects rewritten\n", "")
    status, said, _ = hosts.hubbub("space", "check", "blog:hub", *at)
    assert (status, said.splitlines()[1:]) == (0, ["", "All of it loads."])
    blog.write_text(FIRST)
    status, said, _ = hosts.hubbub("space", "check", "blog:hub", *at)
    assert status == 1
    assert "newer version: blog:Room: version 2, here 1" in said
    assert "unknown class: blog:Story" in said


def test_what_can_t_be_checked_is_one_line(hosts: Hosts, blog: Path) -> None:
    for arguments, said in [
        (("blog:hub", "--data", "none.hub"), "there is no file 'none.hub'"),
        (("blog:nothing",), "is not a hubbub.Hub; did you mean blog:hub?"),
        (("nowhere",), "there is no module 'nowhere'"),
    ]:
        status, _, errors = hosts.hubbub("space", "check", *arguments)
        assert status == 1
        assert said in errors
        assert errors.count("\n") == 1
    assert not blog.with_name("none.hub").exists()
    status, _, errors = hosts.hubbub("space", "chek", "blog:hub")
    assert status == 2
    assert "Did you mean 'check'?" in errors
