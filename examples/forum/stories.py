"""What the forum keeps: stories and their postings; and how they look. Plain classes and functions, without the web."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

import msgspec

import hubbub
from hubbub import Log, Persistent, Root, SortedMap

SHOWN = 30


class Posting(msgspec.Struct, frozen=True):
    author: str
    text: str
    at: float


class Story(Persistent):
    def __init__(self, title: str) -> None:
        self.title = title
        self.postings: Log[Posting] = Log()


# --- transactions -----------------------------------------------------------------------------------------------------


def setup(root: Root) -> None:
    root.setdefault("stories", SortedMap())


def start(root: Root, title: str, author: str, text: str) -> str:
    """Start a story; return its key. Keys sort by time, and no two front ends make the same."""
    key = hubbub.unique()
    root["stories"][key] = story = Story(title)
    story.postings.append(Posting(author, text, hubbub.now()))
    return key


def post(root: Root, key: str, author: str, text: str) -> None:
    root["stories"][key].postings.append(Posting(author, text, hubbub.now()))


# --- what is shown ----------------------------------------------------------------------------------------------------


def front(root: Root) -> str:
    """Return the newest stories as HTML."""
    stories = root["stories"].newest(SHOWN)
    if not stories:
        return (
            '<li class="empty"><b>No stories yet.</b><br>Start the first one; '
            "whoever has this page open sees it at once.</li>"
        )
    return "".join(_card(key, story) for key, story in stories)


def _card(key: str, story: Story) -> str:
    (newest,) = story.postings.last(1)
    answers = len(story.postings) - 1
    count = "no answers" if not answers else "1 answer" if answers == 1 else f"{answers:,} answers"
    return (
        f'<li><a href="/s/{escape(key)}"><h2>{escape(story.title)}</h2>'
        f"<p>{escape(newest.text[:200])}</p>"
        f'<small><span class="count">{count}</span> {_who(newest)}</small></a></li>'
    )


def title(root: Root, key: str) -> str | None:
    story = root["stories"].get(key)
    return None if story is None else story.title


def postings(root: Root, key: str) -> str:
    """Return a story's postings as HTML."""
    story: Story = root["stories"][key]
    shown = story.postings.last(500)
    earlier = len(story.postings) - len(shown)
    before = f'<li class="earlier">{earlier:,} earlier postings</li>' if earlier else ""
    return before + "".join(
        f"<li>{_badge(posting.author)}<div><small>{_who(posting)}</small>"
        f"<p>{escape(posting.text)}</p></div></li>"
        for posting in shown
    )


def _who(posting: Posting) -> str:
    when = datetime.fromtimestamp(posting.at, UTC)
    return (
        f"<b>{escape(posting.author)}</b> "
        f'<time datetime="{when.isoformat(timespec="seconds")}">{when:%d %b, %H:%M} UTC</time>'
    )


def _badge(author: str) -> str:
    hue = sum(author.encode()) * 47 % 360
    return (
        f'<i class="badge" style="--hue: {hue}" aria-hidden="true">{escape(author[:1].upper())}</i>'
    )
