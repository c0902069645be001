"""``hubbub tail``: how a commit looks as a line."""

from __future__ import annotations

import msgspec
import pytest

from hubbub.cli.inspecting import tail_line
from hubbub.kernel import Label, Tid
from hubbub.mount.tail import TailEntry

SAID = Label("anon:136378a7d54ffdf9", "Member", "say", msgspec.msgpack.encode(["hello"]), "")


@pytest.mark.parametrize("columns", [80, 100, 115, 116, 200])
def test_a_line_fits_into_the_terminal(columns: int) -> None:
    line = tail_line(TailEntry(Tid(0x040D4F89A963D6DD), SAID, 12, 1_234_567, 1234.5), columns)
    assert len(line) <= columns
    assert "11-28 " in line or "11-27 " in line  # whatever the zone
    for part in ("anon:136378a7d5", "say('hello')", "12 obj 1234567 B", "1234.5 ms"):
        assert part in line


def test_where_there_is_room_the_year_is_told() -> None:
    entry = TailEntry(Tid(0x040D4F89A963D6DD), SAID, 1, 2, 3.0)
    assert tail_line(entry).startswith("2026-")
    assert not tail_line(entry, 80).startswith("2026-")
