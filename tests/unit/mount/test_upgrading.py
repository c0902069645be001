"""What is of an older shape is rewritten, all of it, beside everybody else's commits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from hubbub.kernel import Job, JobStoppedError, UpgradeFailedError
from hubbub.mount import LocalMount, Space
from hubbub.space import classes
from hubbub.space.containers import Log, Map
from hubbub.space.persistent import Persistent
from hubbub.space.registering import register
from hubbub.space.steps import upgrade
from hubbub.store import MemoryStore

State = dict[str, Any]


@pytest.fixture(autouse=True)
def _own_names() -> Iterator[None]:
    registered, persistent = classes._registered.copy(), classes._persistent.copy()
    yield
    for names, kept in ((classes._registered, registered), (classes._persistent, persistent)):
        names.clear()
        names.update(kept)  # type: ignore[arg-type]


@pytest.fixture
def mount() -> Iterator[LocalMount]:
    mount = LocalMount(MemoryStore())

    class Room(Persistent, name="upgrade.Room"):
        def __init__(self, number: int) -> None:
            self.number = number

    class Other(Persistent, name="upgrade.Other"):
        pass

    @register(name="upgrade.Line")
    class Line(msgspec.Struct, frozen=True):
        text: str

    def fill(root: Any) -> None:
        root["rooms"] = Map({number: Room(number) for number in range(500)})
        root["log"] = Log([Line("hi")])
        root["other"] = Other()

    Space(mount).run(fill)
    yield mount
    mount.close()


def new_code() -> None:
    class Room(Persistent, name="upgrade.Room", version=2):
        @upgrade(from_version=1)
        @staticmethod
        def doubled(state: State) -> State:
            return {"number": 2 * state["number"]}

    classes._registered.pop("upgrade.Line")

    @register(name="upgrade.Said", formerly="upgrade.Line")
    class Said(msgspec.Struct, frozen=True):
        text: str
        stars: int = 0

    for names in (classes._registered, classes._persistent):
        names.pop("upgrade.Other")


def numbers(mount: LocalMount) -> list[int]:
    return Space(mount).read(lambda root: [room.number for room in root["rooms"].values()])


@pytest.mark.rule("SP7")
def test_all_that_is_old_is_rewritten_once_and_what_is_unknown_stays(mount: LocalMount) -> None:
    new_code()
    space = Space(mount)
    assert space.check().upgraded == {"upgrade.Room": 500}
    other = space.read(lambda root: root["other"]._p_serial)
    assert space.upgrade() == 501, "the rooms, and the log"
    assert space.check().upgraded == {}
    assert numbers(mount) == list(range(0, 1000, 2))
    assert Space(mount).read(lambda root: root["other"]._p_serial) == other
    tid = space.tid
    assert space.upgrade() == 0
    assert space.tid == tid, "nothing is written for nothing"


@pytest.mark.rule("SP7")
def test_what_somebody_else_changes_meanwhile_is_not_undone(
    mount: LocalMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_code()
    commit = mount.commit
    raced: list[int] = []

    def racing_commit(changeset: Any) -> Any:
        if not raced:
            raced.append(1)
            Space(mount).run(lambda root: setattr(root["rooms"][7], "number", 7777))
        return commit(changeset)

    monkeypatch.setattr(mount, "commit", racing_commit)
    assert Space(mount).upgrade() == 500
    expected = list(range(0, 1000, 2))
    expected[7] = 7777
    assert numbers(mount) == expected


@pytest.mark.rule("SP7")
def test_it_can_be_stopped_and_does_the_rest_in_another_run(mount: LocalMount) -> None:
    new_code()
    job = Job(lambda what, done, total: job.stop())
    with pytest.raises(JobStoppedError):
        Space(mount).upgrade(job)
    left = Space(mount).check().upgraded["upgrade.Room"]
    assert 0 < left < 500
    Space(mount).upgrade()
    assert numbers(mount) == list(range(0, 1000, 2))


@pytest.mark.rule("SP7")
def test_a_step_that_fails_ends_it_and_names_the_object(mount: LocalMount) -> None:
    class Room(Persistent, name="upgrade.Room", version=2):
        @upgrade(from_version=1)
        @staticmethod
        def not_three_hundred(state: State) -> State:
            return {"number": 1 / (state["number"] - 300)}

    with pytest.raises(UpgradeFailedError) as caught:
        Space(mount).upgrade()
    assert caught.value.oid is not None
    assert Space(mount).check().upgraded["upgrade.Room"] < 500, "what came before is done"
