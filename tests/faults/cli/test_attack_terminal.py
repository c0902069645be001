"""Words of users and peers on the operator's terminal and in the log: they give no orders and forge no lines."""

from __future__ import annotations

import logging
import sys

import msgspec
import pytest
from click.testing import CliRunner

from hubbub.cli.arguments import as_text, harmless
from hubbub.cli.inspecting import tail_line
from hubbub.cli.logs import _Formatter
from hubbub.cli.main import main
from hubbub.kernel import Label, RemoteError, Tid
from hubbub.mount.tail import TailEntry

NASTY = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\x08\u202eevil\u2066\x00\n12:00:00  forged"


def is_tame(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


def test_a_line_of_tail_is_one_line() -> None:
    label = Label(NASTY, NASTY, NASTY, msgspec.msgpack.encode([NASTY]), NASTY)
    line = tail_line(TailEntry(Tid(290000000000000000), label, 1, 2, 3.0))
    assert line.isprintable()


@pytest.mark.parametrize("tid", [0, 1, (1 << 63) - 1, (1 << 64) - 1])
@pytest.mark.parametrize("args", [b"\xc1", b"\x91" * 3000, b"\xa1\xff", b"\x91\xa1\xff"])
def test_tail_survives_what_makes_no_sense(tid: int, args: bytes) -> None:
    tail_line(TailEntry(Tid(tid), Label(args=args, command="x"), -1, -1, float("nan")))


def test_the_log_keeps_its_lines_apart() -> None:
    try:
        raise ValueError(NASTY)
    except ValueError:
        failed = sys.exc_info()
    record = logging.LogRecord("x", logging.ERROR, "", 0, "watch %s failed", (NASTY,), failed)
    first, *others = _Formatter().format(record).split("\n")
    assert is_tame(first)
    assert first[8:].startswith("  ERROR watch ")
    assert others
    assert all(line.startswith("    ") and is_tame(line) for line in others)


def test_a_value_stays_json_and_gives_no_orders() -> None:
    value = [NASTY, {"\x9b": "\U000e0001 \u00e9 \u6f22"}]
    text = as_text(value)
    assert is_tame(text)
    assert msgspec.json.decode(text) == value
    assert "é" in text
    assert "漢" in text


def test_an_error_of_a_far_host_is_shown_harmlessly(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise RemoteError(NASTY)

    monkeypatch.setattr("hubbub.mount.tail", fails)
    done = CliRunner().invoke(main, ["tail"])
    assert done.exit_code == 1
    assert is_tame(done.stderr)


def test_what_is_harmless_stays_as_it_is() -> None:
    assert harmless("Zoë says: 漢字 \\ 100 %") == "Zoë says: 漢字 \\ 100 %"
