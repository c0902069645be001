"""Build a large space quickly: pages of small objects, written straight into the store.

The pages, empty, and the map that holds them are made by an ordinary transaction. Then each page and its objects are
written as one commit, with records encoded by the space's own codec.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hubbub
from bench.peers.things import BODY, Holder, Item
from hubbub.kernel import Commit, Label, Record, Tid, tid_at
from hubbub.space.classes import class_name
from hubbub.space.writing import encode_state
from hubbub.store import Store, open_store

PER_PAGE = 100
_GROUP = 50


def build(data: Path, count: int) -> None:
    """Make a space with ``count`` objects (a multiple of the page's size) at ``data``."""
    page_oids = make_pages(data, count // PER_PAGE)
    store = open_store(data)
    try:
        group: list[Commit] = []
        for commit in page_commits(store, page_oids):
            group.append(commit)
            if len(group) == _GROUP:
                store.write(group)
                group = []
        if group:
            store.write(group)
    finally:
        store.close()


def make_pages(data: Path, count: int) -> list[int]:
    """Store ``count`` empty pages in ``root["pages"]``; return their oids."""
    with hubbub.open(data) as space, space.connect() as connection:
        pages = [Holder([]) for _ in range(count)]
        connection.root["pages"] = hubbub.SortedMap(enumerate(pages))
        connection.commit()
        return [oid_of(page) for page in pages]


def oid_of(thing: Any) -> int:
    oid = thing._p_oid
    return oid if isinstance(oid, int) else int.from_bytes(oid, "big")


def page_commits(store: Store, page_oids: list[int]) -> Iterator[Commit]:
    """Yield a commit for each page: its objects, and the page that refers to them."""
    label = Label(command="bulk")
    item_class, page_class = class_name(Item), class_name(Holder)
    next_oid = store.max_oid + 1
    tid = max(store.last_tid, tid_at(time.time()))
    number = 0
    stand_ins = [Item(0) for _ in range(PER_PAGE)]
    places = {id(item): place for place, item in enumerate(stand_ins)}
    for page_oid in page_oids:
        tid = Tid(tid + 1)
        first = next_oid

        def ref_of(item: Any, first: int = first) -> int:
            return first + places[id(item)]

        records: list[Record] = []
        for oid in range(first, first + PER_PAGE):
            state = {
                "number": number,
                "title": f"object {number:08d}",
                "body": BODY,
                "key": 0,
                "next": None,
            }
            payload, refs, _ = encode_state(state, ref_of)
            records.append(Record(oid, tid, item_class, refs, payload))
            number += 1
        payload, refs, _ = encode_state({"items": stand_ins}, ref_of)
        records.append(Record(page_oid, tid, page_class, refs, payload))
        next_oid += PER_PAGE
        yield Commit(tid, label, records)
