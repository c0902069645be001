"""Drawings: well-formed, every part and linkage in them, nothing of a name taken for markup."""

from xml.etree import ElementTree as ET

from hubbub.flow import Component, Graphline, Pipeline, box

NAMESPACE = {"svg": "http://www.w3.org/2000/svg"}


class Grade(Component):
    outboxes = {"good": "fine", "bad": "not <fine>"}

    async def main(self) -> None: ...


class Loop(Component):
    async def main(self) -> None: ...


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)


def words(root: ET.Element) -> str:
    return " ".join(" ".join(text.itertext()) for text in root.iterfind(".//svg:text", NAMESPACE))


def graph() -> Graphline:
    return Graphline(
        source=range(3),
        grade=Grade(),
        good=Pipeline(str, print),
        bad=Loop(),
        linkages=["source -> grade", "grade.good -> good", "grade.bad -> bad", "bad -> grade"],
        boxes={"grade.inbox": box(when_full="drop-oldest")},
        name="a <graph> & more",
    )


def test_every_part_linkage_policy_and_named_box_is_drawn() -> None:
    root = parsed(graph().svg())
    parts = root.findall(".//svg:rect[@rx='9']", NAMESPACE)
    lines = root.findall(".//svg:path[@class='linkage']", NAMESPACE)
    assert (len(parts), len(lines)) == (5, 5)
    shown = words(root)
    for word in ("source", "grade", "good.str", "good.print", "bad", "drop-oldest"):
        assert word in shown
    assert root.findtext("svg:title", namespaces=NAMESPACE) == "a <graph> & more"


def test_parts_do_not_overlap_and_stand_on_the_page() -> None:
    root = parsed(graph().svg())
    frames = [
        tuple(float(part.get(side, "nan")) for side in ("x", "y", "width", "height"))
        for part in root.findall(".//svg:rect[@rx='9']", NAMESPACE)
    ]
    for number, (x, y, width, height) in enumerate(frames):
        assert x >= 0
        assert y >= 0
        assert x + width <= float(root.get("width", "nan"))
        assert y + height <= float(root.get("height", "nan"))
        for other_x, other_y, other_width, other_height in frames[:number]:
            assert (
                x + width <= other_x
                or other_x + other_width <= x
                or y + height <= other_y
                or other_y + other_height <= y
            )


async def test_counts_are_drawn_where_they_are_wanted() -> None:
    pipeline = Pipeline(range(1234), str, lambda _: None)
    await pipeline
    assert "1,234" in words(parsed(pipeline.svg()))
    assert "1,234" not in words(parsed(pipeline.svg(counts=False)))


def test_one_component_alone_can_be_drawn() -> None:
    assert "Loop" in words(parsed(Loop().svg()))


def test_it_follows_dark_mode() -> None:
    assert "prefers-color-scheme: dark" in graph().svg()
