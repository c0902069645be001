"""`hubbub space`: what it prints, and what it says when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
import transaction
import ZODB
from click.testing import CliRunner, Result
from persistent.mapping import PersistentMapping

import hubbub
from hubbub import Log, Map, Persistent
from hubbub.cli import main
from hubbub.cli.opening import tid_of
from hubbub.cli.space import _COMMANDS
from hubbub.cli.tables import human_size, table
from hubbub.kernel import ConfigurationError, tid_text, tid_time
from hubbub.store import open_store
from hubbub.zodb import HubbubStorage
from tests.conformance.mount.serving import HostThread

Run = Callable[..., Result]


class Line(msgspec.Struct, frozen=True):
    author: str
    text: str


class Room(Persistent, name="test.cli.Room"):
    def __init__(self, name: str) -> None:
        self.name = name
        self.messages: Log[Any] = Log()
        self.tags: Map[Any, Any] = Map()


def furnish(root: Any) -> None:
    room = root["room"] = Room("red")
    root["a/b"] = Room("blue")
    root[7] = "seven"
    root["wild"] = {"key": [1, (2, b"x")], "bad\x1b[2J": None}
    for number in range(40):
        room.messages.append(Line("ann", f"hello {number}"))
    room.tags["boss"] = root["a/b"]


@pytest.fixture
def tids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make a space of three commits, and return their tids."""
    monkeypatch.chdir(tmp_path)
    found = []
    with hubbub.open("a.hub") as space:
        for body in (furnish, _rename, _say):
            space.run(body)
            found.append(tid_text(space.tid))
    return found


def _rename(root: Any) -> None:
    root["room"].name = "green"


def _say(root: Any) -> None:
    root["room"].tags["mood"] = "fine"
    root["room"].messages.append(Line("bob", "bye"))


def run(*words: str, status: int = 0) -> str:
    result = CliRunner().invoke(main, ["space", *words])
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_has_examples(name: str) -> None:
    shown = run(name, "--help")
    assert "Examples:\n    hubbub space" in shown


def test_a_typo_is_told_what_was_meant() -> None:
    assert "Did you mean 'backup'?" in run("bakup", status=2)


def test_ls_lists_the_root_and_what_is_in_it(tids: list[str]) -> None:
    lines = run("ls", "a.hub").splitlines()
    assert lines[0].split() == ["NAME", "CLASS", "OID", "SIZE", "CHANGED", "VALUE"]
    by_name = {line.split()[0]: line for line in lines[1:]}
    assert list(by_name) == ["7", "a%2Fb", "room", "wild"]
    assert "test.cli.Room" in by_name["room"]
    assert "'seven'" in by_name["7"]
    assert "\x1b" not in "".join(lines)
    assert "'blue'" in run("ls", "a.hub", "a%2Fb")
    assert run("ls", "a.hub", "7") == "'seven'\n"
    assert "is empty" in run("ls", "a.hub", "a%2Fb/tags")
    # A path goes through keys, attributes, positions and plain values.
    assert run("show", "a.hub", "room/messages/3/text") == "'hello 3'\n"
    assert run("show", "a.hub", "wild/key/1/0") == "2\n"


def test_ls_says_when_there_is_more(tids: list[str]) -> None:
    shown = run("ls", "a.hub", "room/messages", "-n", "3")
    assert "hello 2" in shown
    assert "hello 3" not in shown
    assert "the first 3 of 41" in shown


def test_ls_for_programs(tids: list[str]) -> None:
    found = json.loads(run("ls", "a.hub", "--json"))
    assert [entry["name"] for entry in found] == ["7", "a%2Fb", "room", "wild"]
    assert found[2]["class"] == "test.cli.Room"
    assert found[2]["tid"] == tids[1]
    assert found[3]["value"]["key"] == [1, [2, "eA=="]]


def test_the_past_is_looked_at_with_at(tids: list[str]) -> None:
    assert "'green'" in run("show", "a.hub", "room")
    assert "'red'" in run("show", "a.hub", "room", "--at", tids[0])
    assert "is in the future" in run("ls", "a.hub", "--at", "7" * 16, status=1)
    assert "is no moment" in run("ls", "a.hub", "--at", "soon", status=1)


def test_show_tells_all_of_an_object(tids: list[str]) -> None:
    shown = run("show", "a.hub", "room")
    assert "class    test.cli.Room" in shown
    assert f"tid      {tids[1]}" in shown
    found = json.loads(run("show", "a.hub", "room", "--json"))
    assert found["contents"]["name"] == "green"
    assert found["contents"]["tags"]["class"] == "hubbub.Map"
    same = json.loads(run("show", "a.hub", found["oid"], "--json"))
    assert same == found


def test_what_is_not_there_is_told_with_what_there_is(tids: list[str]) -> None:
    assert "there is no 'rom' in the root" in run("show", "a.hub", "rom", status=1)
    said = run("ls", "a.hub", "room/nope", status=1)
    assert "there is no 'nope' in /room (test.cli.Room); there is name, messages, tags" in said
    assert "there is no object 0xfff" in run("show", "a.hub", "0xfff", status=1)
    assert "there is no file 'b.hub'" in run("ls", "b.hub", status=1)
    assert not Path("b.hub").exists()


def test_history_of_an_object_and_of_the_space(tids: list[str]) -> None:
    lines = run("history", "a.hub", "room").splitlines()
    assert [line.split()[0] for line in lines[1:]] == [tids[1], tids[0]]
    lines = run("history", "a.hub").splitlines()
    assert [line.split()[0] for line in lines[1:]] == tids[::-1]
    lines = run("history", "a.hub", "-n", "1", "--at", tids[1]).splitlines()
    assert [line.split()[0] for line in lines[1:]] == [tids[1]]
    assert json.loads(run("history", "a.hub", "room", "--json"))[1]["tid"] == tids[0]
    assert "has no history of its own" in run("history", "a.hub", "room/name", status=1)


def test_diff_shows_what_differs(tids: list[str]) -> None:
    shown = run("diff", "a.hub", "--from", tids[0])
    assert "~ test.cli.Room" in shown
    assert "    - name = 'red'\n    + name = 'green'" in shown
    assert "    + 'mood' = 'fine'" in shown
    assert "    - (length) = 40\n    + (length) = 41" in shown
    only = run("diff", "a.hub", "room", "--from", tids[0], "--to", tids[1])
    assert "mood" not in only
    assert "Nothing differs" in run("diff", "a.hub", "room", "--from", tids[1])
    found = json.loads(run("diff", "a.hub", "room", "--from", tids[0], "--json"))
    assert found[0]["changes"] == [{"name": "name", "before": "'red'", "after": "'green'"}]


_STRANGER = """
import hubbub, msgspec
class Line(msgspec.Struct, frozen=True):
    text: str
class Room(hubbub.Persistent):
    def __init__(self):
        self.lines, self.first = hubbub.Log(), Line("hi")
class Rooms(hubbub.Map): pass
with hubbub.open("s.hub") as space:
    space.run(lambda root: root.update(room=Room(), rooms=Rooms(a=Room())))
    space.run(lambda root: root["room"].lines.append(Line("hi")))
    space.run(lambda root: setattr(root["room"], "first", Line("ho")))
"""


def test_classes_that_are_not_known_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stranger.py").write_text(_STRANGER)
    subprocess.run([sys.executable, "stranger.py"], check=True, timeout=60)
    assert "stranger:Room" in run("ls", "s.hub")
    assert "Line(text='ho')" in run("show", "s.hub", "room")
    assert run("show", "s.hub", "room/lines/0/text") == "'hi'\n"
    tid = json.loads(run("history", "s.hub", "--json"))[1]["tid"]
    assert "- first = Line(text='hi')" in run("diff", "s.hub", "room", "--from", tid)
    assert "container of class stranger:Rooms, which is not known here" in run(
        "ls", "s.hub", "rooms"
    )
    assert "It refers to 0x" in run("show", "s.hub", "rooms")
    run("export", "s.hub", "rooms", "rooms.hubx")
    run("import", "rooms.hubx", "s.hub", "more")
    assert "stranger:Rooms" in run("ls", "s.hub")


def test_an_empty_space_is_said_to_be_empty(tmp_path: Path) -> None:
    path = str(tmp_path / "empty.hub")
    hubbub.open(path).close()
    assert "the root is empty" in run("ls", path)
    assert "There is nothing yet" in run("history", path)
    assert "It is empty." in run("show", path)


def test_backup_restore_and_check(tids: list[str]) -> None:
    assert "Saved all: 3 commits" in run("backup", "a.hub", "backups")
    assert f"Nothing is new since {'2'}" in run("backup", "a.hub", "backups")
    assert "The backup is whole: 3 commits" in run("backup", "--check", "backups")
    assert "000001-full-" in run("backup", "--list", "backups")
    assert json.loads(run("backup", "--list", "backups", "--json"))["files"][0]["commits"] == 3
    assert "b.hub is there: 3 commits" in run("restore", "backups", "b.hub")
    assert run("ls", "b.hub") == run("ls", "a.hub")
    assert "Sessions and jobs are not in it" in run("restore", "backups", "c.hub", "--at", tids[0])
    assert "'red'" in run("show", "c.hub", "room")
    assert "is there: a space is made in a new file only" in run(
        "restore", "backups", "b.hub", status=1
    )
    assert "is no backup" in run("restore", "nowhere", "d.hub", status=1)
    assert "give the folder too" in run("backup", "a.hub", status=2)
    shown = run("backup", "a.hub", "other", "--full", "--verify")
    assert "Saved all" in shown
    assert "The backup is whole" in shown


def test_a_time_restores_the_last_commit_before_it(tids: list[str]) -> None:
    run("backup", "a.hub", "backups")
    run("restore", "backups", "b.hub", "--at", "0s")
    assert run("ls", "b.hub") == run("ls", "a.hub")
    assert "can't give the space as of" in run(
        "restore", "backups", "c.hub", "--at", "9" * 16, status=1
    )


def test_export_and_import(tids: list[str]) -> None:
    assert "room.hubx has" in run("export", "a.hub", "room", "room.hubx")
    assert "The root's 'copy' is there" in run("import", "room.hubx", "a.hub", "copy")
    assert "'green'" in run("show", "a.hub", "copy")
    assert "has a 'copy' already" in run("import", "room.hubx", "a.hub", "copy", status=1)
    assert "give the key" in run("import", "room.hubx", "a.hub", status=2)
    assert "is a plain value" in run("export", "a.hub", "room/name", "x.hubx", status=1)
    assert "is not an export of objects" in run("import", "a.hub", "a.hub", "x", status=1)


def test_a_zodb_is_brought_in(tids: list[str]) -> None:
    connection = ZODB.connection("Data.fs")
    connection.root()["a"] = {"b": 1}
    transaction.commit()
    connection.close()
    connection.db().close()
    shown = run("import", "Data.fs", "--to", "data.hub")
    assert "data.hub has 2 transactions more, with 2 records" in shown
    assert "0 transactions more" in run("import", "Data.fs", "data.hub")
    assert "give the space that it is to go into" in run("import", "Data.fs", status=2)
    assert run("verify", "data.hub") == "All of it is sound.\n"
    run("backup", "data.hub", "backups")
    run("restore", "backups", "again.hub")
    storage = HubbubStorage("again.hub")
    database = ZODB.DB(storage)
    with database.transaction() as opened:
        assert opened.root()["a"] == {"b": 1}
    database.close()


def test_a_zodb_is_brought_in_as_hubbubs_own_objects(tids: list[str]) -> None:
    connection = ZODB.connection("Data.fs")
    connection.root()["a"] = PersistentMapping(b=1)
    connection.root()["bad"] = object()
    transaction.commit()
    connection.close()
    connection.db().close()
    refused = run("import", "Data.fs", "own.hub", "--native", status=1)
    assert "object 0x0, PersistentMapping['bad']" in refused
    assert "Nothing was written" in refused
    shown = run("import", "Data.fs", "own.hub", "--native", "--partial")
    assert "left out: object 0x0" in shown
    assert "The root of own.hub reaches 1 object now" in shown
    assert "b" in run("show", "own.hub", "a")
    assert "not empty" in run("import", "Data.fs", "own.hub", "--native", status=1)
    assert "--partial goes with --native" in run(
        "import", "Data.fs", "x.hub", "--partial", status=2
    )


@pytest.mark.parametrize("options", [(), ("--current",)])
def test_copy(tids: list[str], options: tuple[str, ...]) -> None:
    assert "b.hub goes up to" in run("copy", "a.hub", "b.hub", *options)
    with hubbub.open("b.hub") as space:
        assert space.read(lambda root: [line.text for line in root["room"].messages])[-1] == "bye"
        space.run(lambda root: root.__setitem__("new", Room("new")))
        assert space.read(lambda root: root["room"].tags["boss"].name) == "blue"
    problem = run("copy", "a.hub", "b.hub", *options, status=1)
    assert "that the other does not have" in problem or "is not empty" in problem


@pytest.mark.parametrize("word", [".", "..", "./rooms"])
@pytest.mark.parametrize("command", [("ls",), ("show",), ("history",), ("diff", "--from", "1h")])
def test_a_folder_is_not_taken_for_a_path_in_the_default_host(
    tids: list[str], command: tuple[str, ...], word: str
) -> None:
    told = run(*command, word, status=2)
    assert f"{word!r} is no space: give the file of one" in told
    assert "[URL] [PATH]" in told
    # Behind a space '.' is its root, as everywhere.
    assert run("ls", "a.hub", ".") == run("ls", "a.hub")


@pytest.mark.parametrize("command", ["stats", "verify", "pack"])
def test_a_folder_is_no_space(tids: list[str], command: str) -> None:
    assert "is a folder, not a space" in run(command, ".", status=1)
    assert "there is no file 'nowhere'" in run(command, "nowhere", status=1)
    assert "too many words" in run(command, "a.hub", "more", status=2)


def test_stats_verify_and_pack(tids: list[str]) -> None:
    shown = run("stats", "a.hub")
    assert "transactions 3" in shown
    assert "packed       never" in shown
    assert "keeps        all of its past" in shown
    assert json.loads(run("stats", "a.hub", "--json"))["last_tid"] == int(tids[2], 16)
    first, last = (
        json.loads(run("stats", "a.hub", "--at", at, "--json")) for at in (tids[0], tids[2])
    )
    assert (first["at"], last["at"]) == (int(tids[0], 16), int(tids[2], 16))
    assert 0 < first["objects"] <= last["objects"]
    with hubbub.open("a.hub") as space:
        for told in (first, last):
            records = space._mount.upkeep.current(-1, told["at"])
            assert told["objects"] == len(records)
            assert told["payload_bytes"] == sum(len(record.payload) for record in records)
    assert f"objects      {first['objects']}\n" in run("stats", "a.hub", "--at", tids[0])
    assert "is no moment" in run("stats", "a.hub", "--at", "x", status=1)
    assert run("verify", "a.hub") == "All of it is sound.\n"
    shown = run("pack", "a.hub", "--before", tids[1])
    assert "Packed up to" in shown
    assert "1 record, 0 objects" in shown
    assert "is no moment" in run("pack", "a.hub", "--before", "x", status=1)
    refused = run("pack", "a.hub", "--before", tids[1], "--keep", "1d", status=2)
    assert "give --keep or --before, not both" in refused
    assert "'30x' is no length of time" in run("pack", "a.hub", "--keep", "30x", status=1)
    assert "packed       up to" in run("stats", "a.hub")
    json.loads(run("pack", "a.hub", "--no-gc", "--json"))


def test_undo_and_its_undo(tids: list[str]) -> None:
    shown = run("undo", "a.hub", tids[1], "--note", "wrong name")
    assert "Undone, as transaction" in shown
    assert "'red'" in run("show", "a.hub", "room")
    assert "wrong name" in run("history", "a.hub", "-n", "1")
    run("undo", "a.hub", shown.split()[-1])
    assert "'green'" in run("show", "a.hub", "room")
    assert "is no tid" in run("undo", "a.hub", "1h", status=1)
    assert "give the tids" in run("undo", "a.hub", status=2)
    run("undo", "a.hub", "0" * 15 + "7", status=1)


@pytest.mark.rule("ST6")
def test_verify_ends_with_a_status_that_says_so(tids: list[str]) -> None:
    data = bytearray(Path("a.hub").read_bytes())
    place = data.rindex(b"green")
    data[place] ^= 1
    Path("a.hub").write_bytes(data)
    shown = run("verify", "a.hub", status=1)
    assert "restore a backup" in shown
    assert tids[1] in shown
    assert json.loads(run("verify", "a.hub", "--json", status=1))[0]["tid"] == int(tids[1], 16)


def test_a_host_is_looked_at_and_backed_up_as_a_file_is(tids: list[str]) -> None:
    listed, shown = run("ls", "a.hub"), run("show", "a.hub", "room", "--at", tids[0])
    history, diff = run("history", "a.hub"), run("diff", "a.hub", "--from", tids[0])
    server = HostThread(open_store("a.hub"))
    try:
        url = server.url
        assert run("ls", url) == listed
        assert run("show", url, "room", "--at", tids[0]) == shown
        assert run("history", url) == history
        assert run("diff", url, "--from", tids[0]) == diff
        assert "Saved all: 3 commits" in run("backup", url, "backups", "--verify")
        assert "room.hubx has" in run("export", url, "room", "room.hubx")
        assert "Copied 3 commits" in run("copy", url, "b.hub")
        assert "The root's 'copy' is there" in run("import", "room.hubx", url, "copy")
        run("undo", url, tids[1])
        assert "'red'" in run("show", url, "room")
        assert "Saved what is new" in run("backup", url, "backups")
    finally:
        server.close()
    assert run("ls", "b.hub") == listed


def test_the_shell_has_the_past_at_hand(tids: list[str]) -> None:
    def shell(*words: str, status: int = 0) -> str:
        result = CliRunner().invoke(main, ["shell", *words])
        assert result.exit_code == status, result.output
        return result.output

    look = "print(root['room'].name)"
    assert shell("a.hub", "-x", look) == "green\n"
    assert shell("a.hub", "--at", tids[0], "-x", look) == "red\n"
    told = shell("a.hub", "-x", "print([f'{r.tid:016x}' for r in history(root['room'])])")
    assert told == f"{[tids[1], tids[0]]}\n"
    shell("a.hub", "-x", f"undo(0x{tids[1]})")
    assert shell("a.hub", "-x", look) == "red\n"
    assert "ReadOnlyError" in shell(
        "a.hub", "--at", tids[0], "-x", "root['x'] = 1; commit()", status=1
    )


def test_a_file_in_use_is_told_with_what_to_give_instead(tids: list[str]) -> None:
    with hubbub.open("a.hub"):
        said = run("ls", "a.hub", status=1)
    assert "is in use by process" in said
    assert "Mount it over the network instead" in said


def test_moments() -> None:
    assert tid_of("040d4f2967c4d2cc") == tid_of("0x040d4f2967c4d2cc") == 0x040D4F2967C4D2CC
    assert tid_time(tid_of("2026-11-28T10:00:00+00:00")) == pytest.approx(1795860000)
    assert tid_of("2h") < tid_of("1h ago") < tid_of("1m")
    with pytest.raises(ConfigurationError, match="'yesterday' is no moment"):
        tid_of("yesterday")


def test_sizes_and_tables() -> None:
    assert [human_size(n) for n in (0, 999, 1000, 1234567, 5 * 10**9)] == [
        "0 B",
        "999 B",
        "1.0 KB",
        "1.2 MB",
        "5.0 GB",
    ]
    shown = click.unstyle(table(["A", "NUMBER"], [["x", "1"], ["long\x1b", "20"]], (1,)))
    assert shown.splitlines() == ["A         NUMBER", "x              1", "long\\x1b      20"]


@pytest.mark.parametrize(
    "args, said",
    [
        (("ls", "a.hub", "-n", "-1"), "x>=1"),
        (("history", "a.hub", "room", "-n", "-1"), "x>=1"),
        (("diff", "a.hub", "--from", "1h", "-n", "0"), "x>=1"),
        (("show", "a.hub", "0xfffffffffffffffff"), "16 hexadecimal digits"),
        (("copy", "a.hub", "a.hub"), "the same space"),
        (("copy", "a.hub", "./a.hub"), "the same space"),
    ],
)
def test_numbers_out_of_range_and_a_copy_to_itself_are_refused_in_words(
    tids: list[str], args: tuple[str, ...], said: str
) -> None:
    result = CliRunner().invoke(main, ["space", *args])
    assert result.exit_code
    assert not isinstance(result.exception, ValueError | OverflowError)
    assert said in f"{result.output}{result.exception}"
