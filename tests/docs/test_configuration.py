"""The page of all keys is made from the code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from hubbub.kernel import Limits
from hubbub.mount.opening import OpenSection
from hubbub.serving.configuration import LimitsSection, SpaceSection

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_of_today() -> None:
    report = ROOT / "tools" / "configuration_report.py"
    done = subprocess.run(
        [sys.executable, str(report), "--check"],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_it_has_every_key() -> None:
    text = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    for kind in (SpaceSection, OpenSection, LimitsSection):
        for field in msgspec.structs.fields(kind):
            assert f"| `{field.name}` |" in text


def test_limits_in_a_file_are_those_of_the_code() -> None:
    assert [field.name for field in msgspec.structs.fields(LimitsSection)] == [
        field.name for field in msgspec.structs.fields(Limits)
    ]
