from __future__ import annotations

import os
from pathlib import Path

import pytest

from hubbub.kernel import CorruptRecordError, SpaceInUseError, StoreError
from hubbub.store import SideFile
from tests.conformance.store.building import tid

ID = "ab" * 16


@pytest.mark.rule("ST8")
def test_the_second_owner_gets_an_error_that_names_the_first(tmp_path: Path) -> None:
    first = SideFile(tmp_path / "chat.hub")
    first.set_addresses(["hub://localhost:1975"])
    with pytest.raises(SpaceInUseError) as caught:
        SideFile(tmp_path / "chat.hub")
    text = str(caught.value)
    assert f"process {os.getpid()} on {first.owner.host} since" in text
    assert "hub://localhost:1975" in text
    first.release()
    first.release()
    SideFile(tmp_path / "chat.hub").release()


@pytest.mark.rule("ST6")
def test_addresses_leave_the_noted_tid_alone(tmp_path: Path) -> None:
    side = SideFile(tmp_path / "chat.hub")
    side.check(ID, tid(3))
    for addresses in (["hub://localhost:1975/a-long-name"], ["hub://b:1"], []):
        head = side.path.read_bytes()[:50]
        side.set_addresses(addresses)
        assert side.path.read_bytes()[:50] == head
        with pytest.raises(SpaceInUseError) as caught:
            SideFile(tmp_path / "chat.hub")
        assert all(address in str(caught.value) for address in addresses)
        side.note(tid(4))
    side.release()


@pytest.mark.rule("ST8")
def test_a_first_owner_without_a_name_is_another_process(tmp_path: Path) -> None:
    first = SideFile(tmp_path / "chat.hub")
    first.path.write_bytes(b"")
    with pytest.raises(SpaceInUseError, match="in use by another process"):
        SideFile(tmp_path / "chat.hub")
    first.release()


@pytest.mark.rule("ST6")
def test_a_space_that_ends_below_the_acknowledged_tid_is_damaged(tmp_path: Path) -> None:
    side = SideFile(tmp_path / "chat.hub")
    side.check(ID, 0)
    side.note(tid(5))
    side.release()
    side = SideFile(tmp_path / "chat.hub")
    before = side.path.read_bytes()[:50]
    with pytest.raises(CorruptRecordError, match="were acknowledged and are missing") as caught:
        side.check(ID, tid(4))
    assert caught.value.tid == tid(5)
    assert side.path.read_bytes()[:50] == before
    side.check(ID, tid(5))
    side.check(ID, tid(6))  # after power loss the note may be older
    side.release()


@pytest.mark.rule("ST6")
def test_a_note_about_another_space_or_a_damaged_one_says_nothing(tmp_path: Path) -> None:
    side = SideFile(tmp_path / "chat.hub")
    side.check(ID, tid(5))
    side.check("cd" * 16, tid(1))
    side.release()
    side.path.write_bytes(b"\xff not a side file at all" * 10)
    side = SideFile(tmp_path / "chat.hub")
    side.check(ID, tid(1))
    side.release()
    assert side.path.read_text().startswith(f"{tid(1):016x}\n{ID}\n{{")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"the folder .*nowhere does not exist"):
        SideFile(tmp_path / "nowhere" / "chat.hub")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="does not exist"):
        SideFile(tmp_path / "file" / "chat.hub")


def test_discard_removes_only_a_file_of_its_own(tmp_path: Path) -> None:
    side = SideFile(tmp_path / "chat.hub")
    side.release(discard=True)
    assert not side.path.exists()
    side = SideFile(tmp_path / "chat.hub")
    side.release()
    side = SideFile(tmp_path / "chat.hub")
    side.release(discard=True)
    assert side.path.exists()
