"""Classes that change their shape again and again, against a plain model; what is rewritten is counted (SP7)."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hubbub.kernel import NewerVersionError
from hubbub.space import classes
from hubbub.space.defaults import default_factory
from hubbub.space.examining import Examined, Examiner
from hubbub.space.persistent import Persistent
from hubbub.space.registering import register
from hubbub.space.steps import upgrade
from tests.unit.space.small_space import Client, SmallSpace

State = dict[str, Any]
Step = Callable[[State], State]

ATTRIBUTES = ("a", "b", "c")
names = st.sampled_from(ATTRIBUTES)


def renaming(old: str, new: str) -> Step:
    def step(state: State) -> State:
        if old in state:
            state[new] = state.pop(old)
        return state

    return step


def dropping(name: str) -> Step:
    return lambda state: {key: value for key, value in state.items() if key != name}


def marking(name: str) -> Step:
    return lambda state: {**state, name: (*state.get(name, ()), "marked")}


class Shapes(RuleBasedStateMachine):
    """The model has the attributes of each object as they are stored, upgraded at once; the space does so on load."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = classes._registered.copy(), classes._persistent.copy()
        self.space = SmallSpace()
        self.stored: list[State] = []
        self.records: list[int] = []  # how many each object should have
        self.versions: list[int] = []  # the version that wrote each
        self.name = "shapes.Thing"
        self.former: tuple[str, ...] = ()
        self.steps: list[Step] = []
        self.defaults: State = {}
        self.factories: set[str] = set()
        self.item_version = 1
        self._make_item()
        self._make_class()
        self.space.do(lambda root: None)

    def teardown(self) -> None:
        self._forget()
        for names_, kept in zip(
            (classes._registered, classes._persistent), self._kept, strict=True
        ):
            names_.clear()
            names_.update(kept)  # type: ignore[arg-type]

    def _forget(self) -> None:
        for name in (self.name, *self.former):
            classes._registered.pop(name, None)
            classes._persistent.pop(name, None)

    def _make_class(self, version: int | None = None) -> None:
        """Make the class as it is now, or as it was at ``version``."""
        at = len(self.steps) + 1 if version is None else version
        body: dict[str, Any] = dict(self.defaults)
        body.update((name, default_factory(list)) for name in self.factories)
        for number, step in enumerate(self.steps[: at - 1], 1):
            body[f"step_{number}"] = upgrade(from_version=number)(step)
        declared: dict[str, Any] = {} if at == 1 else {"version": at}
        self._forget()
        self.cls: Any = types.new_class(
            "Thing",
            (Persistent,),
            {"name": self.name, "formerly": self.former, **declared},
            lambda namespace: namespace.update(body),
        )

    def _make_item(self) -> None:
        steps = {
            f"step_{number}": upgrade(from_version=number)(_count_up)
            for number in range(1, self.item_version)
        }
        item = msgspec.defstruct("Item", [("count", int)], namespace=steps)
        self.item: Any = register(name="shapes.Item", version=self.item_version if steps else None)(
            item
        )

    # --- shapes -------------------------------------------------------------------------------------------------------

    def _add_step(self, step: Step) -> None:
        self.steps.append(step)
        self.stored = [step({**state}) for state in self.stored]
        self._make_class()

    @rule(old=names, new=names)
    def rename_an_attribute(self, old: str, new: str) -> None:
        self._add_step(renaming(old, new))

    @rule(name=names)
    def remove_an_attribute(self, name: str) -> None:
        self._add_step(dropping(name))

    @rule()
    def change_a_value(self) -> None:
        self._add_step(marking("marks"))

    @rule(name=names, value=st.integers())
    def add_an_attribute_with_a_default(self, name: str, value: int) -> None:
        self.defaults[f"{name}_default"] = value
        self._make_class()

    @rule(name=names)
    def add_an_attribute_that_a_factory_makes(self, name: str) -> None:
        self.factories.add(f"{name}_made")
        self._make_class()

    @rule()
    def rename_the_class(self) -> None:
        self._forget()
        self.former = (self.name, *self.former)
        self.name = f"shapes.Thing{len(self.former)}"
        self._make_class()

    @rule()
    def change_the_items(self) -> None:
        self.item_version += 1
        self._make_item()
        for state in self.stored:
            for name, value in state.items():
                if type(value) is list:
                    state[name] = [count + 1 for count in value]

    # --- objects ------------------------------------------------------------------------------------------------------

    def _shown(self, value: Any) -> Any:
        return [item.count for item in value] if value and type(value) is list else value

    def _expected(self, number: int) -> State:
        made: State = {name: [] for name in self.factories}
        return {**self.defaults, **made, **self.stored[number]}

    def _written(self, number: int, state: State) -> None:
        for name in self.factories:
            state.setdefault(name, [])
        self.records[number] += 1
        self.versions[number] = len(self.steps) + 1

    def _thing(self, client: Client, number: int) -> Any:
        return client.run(lambda root: root[str(number)])

    @rule(name=names, counts=st.lists(st.integers(0, 9), max_size=3))
    def make(self, name: str, counts: list[int]) -> None:
        thing = self.cls()
        setattr(thing, name, [self.item(count) for count in counts])
        number = len(self.stored)
        self.space.do(lambda root: root.update({str(number): thing}))
        self.stored.append({name: counts})
        self.records.append(1)
        self.versions.append(len(self.steps) + 1)

    @precondition(lambda self: self.stored)
    @rule(data=st.data(), name=names, counts=st.lists(st.integers(0, 9), max_size=3))
    def change(self, data: st.DataObject, name: str, counts: list[int]) -> None:
        number = data.draw(st.integers(0, len(self.stored) - 1))
        client = self.space.connect()
        thing = self._thing(client, number)
        items = [self.item(count) for count in counts]
        client.run(lambda root: setattr(thing, name, items))
        client.commit()
        self.stored[number][name] = counts
        self._written(number, self.stored[number])

    @precondition(lambda self: self.stored)
    @rule(data=st.data(), count=st.integers(0, 9))
    def change_in_place(self, data: st.DataObject, count: int) -> None:
        number = data.draw(st.integers(0, len(self.stored) - 1))
        lists = sorted(
            name for name, value in self._expected(number).items() if type(value) is list
        )
        if not lists:
            return
        name = data.draw(st.sampled_from(lists))
        client = self.space.connect()
        thing = self._thing(client, number)
        client.run(lambda root: getattr(thing, name).append(self.item(count)))
        client.commit()
        state = self.stored[number]
        self._written(number, state)
        state[name] = [*state.get(name, []), count]

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def read_with_the_class_before(self, data: st.DataObject) -> None:
        """As after a deploy that was rolled back: what is newer is an error, and stays as it is."""
        number = data.draw(st.integers(0, len(self.stored) - 1))
        if self.versions[number] == 1:
            return
        self._make_class(data.draw(st.integers(1, self.versions[number] - 1)))
        client = self.space.connect()
        thing = self._thing(client, number)
        with pytest.raises(NewerVersionError):
            thing._p_activate()
        assert client.commit() == 0
        (misfit,) = self._examined(client, thing).misfits
        assert misfit.kind == "newer version"
        self._make_class()

    def _examined(self, client: Client, thing: Any) -> Examined:
        record = self.space.newest(int.from_bytes(thing._p_oid, "big"))
        assert record is not None
        return Examiner(client.connection.get).examine(record)

    @invariant()
    def everything_reads_as_in_the_model_and_only_what_was_changed_is_rewritten(self) -> None:
        client = self.space.connect()
        oids = []
        for number in range(len(self.stored)):
            thing = self._thing(client, number)
            expected = self._expected(number)
            found = {name: self._shown(getattr(thing, name)) for name in expected}
            assert found == expected
            assert vars(thing).keys() - self.defaults.keys() <= expected.keys()
            assert type(thing) is self.cls
            oids.append(int.from_bytes(thing._p_oid, "big"))
            examined = self._examined(client, thing)
            assert examined.misfits == ()
            assert examined.is_upgraded == (self.versions[number] <= len(self.steps))
        assert client.commit() == 0
        assert [len(self.space.records[oid]) for oid in oids] == self.records


def _count_up(parts: State) -> State:
    return {"count": parts["count"] + 1}


Shapes.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


@pytest.mark.rule("SP7")
class TestShapes(Shapes.TestCase):  # type: ignore[name-defined,misc,valid-type]
    pass
