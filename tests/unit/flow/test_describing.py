"""What a graph says of itself."""

import asyncio
import json

from hubbub.flow import Component, Graphline, Pipeline, Restart, Runner, Threaded, box


class Grade(Component):
    inboxes = {"inbox": box("events", items=2)}
    outboxes = {"good": "what is fine", "bad": "what is not"}

    async def main(self) -> None:
        async for item in self.inbox:
            await self.send(item, "good" if item % 2 else "bad")


class Sink(Component):
    outboxes = {}

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.seen: list[int] = []

    async def main(self) -> None:
        await self.go.wait()
        async for item in self.inbox:
            self.seen.append(item)


def graded(source, good, bad) -> Graphline:
    return Graphline(
        source=source,
        grade=Grade(),
        good=good,
        bad=bad,
        linkages=["source -> grade", "grade.good -> good", "grade.bad -> bad"],
        boxes={"bad.inbox": box(items=1, when_full="drop-oldest")},
        name="grading",
    )


def test_a_graph_that_does_not_run_tells_its_parts_and_linkages() -> None:
    description = graded(range(3), print, print).describe()
    assert description.name == "grading"
    assert [(part.path, part.kind, part.state) for part in description.parts] == [
        ("source", "range", "made"),
        ("grade", "Grade", "made"),
        ("good", "print", "made"),
        ("bad", "print", "made"),
    ]
    assert [(link.source, link.target) for link in description.linkages] == [
        ("source.outbox", "grade.inbox"),
        ("grade.good", "good.inbox"),
        ("grade.bad", "bad.inbox"),
    ]
    assert description.parts[1].outboxes == {"good": "what is fine", "bad": "what is not"}
    assert [link.when_full for link in description.linkages] == ["wait", "wait", "drop-oldest"]
    assert description.linkages[0].limit_items == 2


async def test_counts_queue_lengths_drops_and_blocked_senders_of_a_graph_that_runs() -> None:
    good, bad = Sink(), Sink()
    graph = graded(range(1000), good, bad)
    async with Runner() as runner:
        running = runner.start(graph)
        while not graph.describe().linkages[1].blocked:
            await asyncio.sleep(0)
        now = {link.source: link for link in graph.describe().linkages}
        assert now["grade.good"].waiting == 100
        assert now["grade.good"].blocked == 1
        assert (now["grade.bad"].waiting, now["grade.bad"].dropped) == (1, 100)
        assert now["source.outbox"].waiting <= 2
        good.go.set()
        bad.go.set()
        await running
    after = graph.describe()
    assert {part.state for part in after.parts} == {"ended"}
    assert [link.passed for link in after.linkages] == [1000, 500, 500]
    assert len(good.seen) == 500


async def test_two_linkages_into_one_box_are_counted_apart() -> None:
    seen: list[int] = []
    graph = Graphline(a=range(3), b=range(5), out=seen.append, linkages=["a -> out", "b -> out"])
    await graph
    assert {link.source: link.passed for link in graph.describe().linkages} == {
        "a.outbox": 3,
        "b.outbox": 5,
    }


def test_rates_are_what_passed_between_two_descriptions() -> None:
    graph = Pipeline(range(3), print)
    first = graph.describe()
    later = graph.describe()
    object.__setattr__(later, "at", first.at + 2.0)
    object.__setattr__(later.linkages[0], "passed", 50)
    assert later.rates(first) == [25.0]
    assert "25/s" in later.text(first)


async def test_a_part_that_failed_and_starts_again_says_so() -> None:
    class Fragile(Component):
        restart = Restart(limit=3)
        outboxes = {}

        async def main(self) -> None:
            raise ValueError("not today")

    graph = Pipeline(range(1), Fragile())
    async with Runner() as runner:
        runner.start(graph)
        while graph.describe().parts[1].state != "restarting":
            await asyncio.sleep(0)
        assert graph.describe().parts[1].failures == 1
        assert "1 failures" in str(graph.describe())


def test_the_table_has_a_row_for_each_part_and_linkage() -> None:
    text = str(Pipeline(range(3), Threaded(abs), print).describe())
    assert text.splitlines() == [
        "range  range  made",
        "abs    abs    made",
        "print  print  made",
        "  range -> abs  0 passed  0 of 100 wait",
        "  abs -> print  0 passed  0 of 100 wait",
    ]


def test_a_description_is_plain_data() -> None:
    data = json.loads(json.dumps(graded(range(3), print, print).describe().as_data()))
    assert data["linkages"][2]["when_full"] == "drop-oldest"
