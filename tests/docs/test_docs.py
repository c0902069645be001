"""The documentation does what it says: its samples run, its links lead somewhere."""

import re
import typing
from pathlib import Path

import pytest

from hubbub.kernel import HubbubError
from hubbub.wire import peer
from tests.docs.samples import ROOT, Stage, groups

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "spec").glob("*.md")],
)
STORIES = [
    pytest.param(page, group, id=f"{page.relative_to(ROOT).as_posix()}:{group}")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    for group in groups(page)
]
FILE = re.compile(r"<!-- test: \S+ file=(?P<name>\S+)")
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\((?P<target>[^)\s]+)\)")


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("page, group", STORIES)
def test_the_samples_run(page, group, tmp_path):
    Stage(tmp_path).play(groups(page)[group])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_to_a_file_leads_somewhere(page):
    text = re.sub(
        r"^(```|~~~).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    missing = [
        link["target"]
        for link in LINK.finditer(text)
        if not re.match(r"[a-z+]+:|#", link["target"])
        and not (page.parent / Path(link["target"].partition("#")[0])).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_reader_sees_the_name_of_each_file_in_front_of_it(page):
    """The comment that names it for the tests is invisible."""
    text = page.read_text(encoding="utf-8")
    unnamed = [
        sample["name"]
        for sample in FILE.finditer(text)
        if not re.search(
            rf"`([^`\s]*/)?{re.escape(Path(sample['name']).name)}`", text[: sample.start()]
        )
    ]
    assert unnamed == []


def test_every_page_is_found_from_the_index_once():
    docs = ROOT / "docs"
    index = (docs / "README.md").read_text(encoding="utf-8")
    entries = "\n".join(line for line in index.splitlines() if line.startswith("- "))
    links = [(docs / link["target"]).resolve() for link in LINK.finditer(entries)]
    linked = set(links)
    assert len(links) == len(linked)
    assert [
        page.name for page in docs.rglob("*.md") if page.name != "README.md" and page not in linked
    ] == []


def test_every_error_is_explained():
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    found, errors = [HubbubError], set()
    while found:
        error = found.pop()
        found += error.__subclasses__()
        if error.__module__ == "hubbub.kernel.errors":
            errors.add(error.__name__)
    assert {name for name in errors if f"`{name}`" not in page} == set()


def test_the_page_of_the_peer_wire_has_every_message_and_member():
    page = (ROOT / "spec" / "wire-peer.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (\w+) \| ([^|]*) \|", page, re.MULTILINE)
    assert [(int(kind), name, re.findall(r"`(\w+)`", members)) for kind, name, members in rows] == [
        (message.__struct_config__.tag, message.__name__, list(message.__struct_fields__))
        for union in (peer.ToHost, peer.ToPeer)
        for message in sorted(typing.get_args(union), key=lambda each: each.__struct_config__.tag)
    ]


def test_the_changelog_says_nothing_twice():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = [re.sub(r"\s+", " ", entry)[:60] for entry in re.split(r"^- ", text, flags=re.M)[1:]]
    assert [entry for entry in entries if entries.count(entry) > 1] == []
