"""A database of CDs: what it keeps, and a program to fill it.

hubbub serve --data cds.hub --token secret --public read-only
TOKEN=secret python cds.py add catalogue.csv
python cds.py find bach
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

import hubbub
from hubbub import Map, Persistent, Refused, Root

HOST = os.environ.get("CDS", "hub://127.0.0.1:1975")
SHOWN = 50


class Track(msgspec.Struct, frozen=True):
    title: str
    seconds: int


class CD(Persistent):
    def __init__(self, title: str, artist: str, year: int, tracks: tuple[Track, ...]) -> None:
        self.title, self.artist, self.year, self.tracks = title, artist, year, tracks

    def matches(self, word: str) -> bool:
        said = (self.title, self.artist, *(track.title for track in self.tracks))
        return any(word in text.lower() for text in said)

    def minutes(self) -> float:
        return round(sum(track.seconds for track in self.tracks) / 60, 1)

    def card(self) -> dict[str, Any]:
        """What the faces show: plain values that JSON and XML-RPC have words for."""
        tracks = [{"title": track.title, "seconds": track.seconds} for track in self.tracks]
        return {
            "title": self.title,
            "artist": self.artist,
            "year": self.year,
            "minutes": self.minutes(),
            "tracks": tracks,
        }


def find(root: Root, word: str = "") -> list[dict[str, Any]]:
    """Return the cards of the CDs that ``word`` occurs in, the first fifty."""
    word = word.lower()
    found = (cd.card() for cd in root.get("cds", {}).values() if cd.matches(word))
    return [card for _, card in zip(range(SHOWN), found, strict=False)]


def add(root: Root, rows: Iterable[dict[str, str]]) -> int:
    """Add CDs, one for each row; those of the same artist and title are replaced. All of them, or none."""
    cds = root.setdefault("cds", Map())
    count = 0
    for count, row in enumerate(rows, 1):
        try:
            cds[f"{row['artist']}: {row['title']}"] = _cd(row)
        except (ValueError, KeyError) as error:
            raise Refused("no_cd", f"row {count} is no CD: {error}") from None
    return count


def _cd(row: dict[str, str]) -> CD:
    pairs = (track.rsplit(" ", 1) for track in row["tracks"].split(" | "))
    tracks = tuple(Track(title, _seconds(length)) for title, length in pairs)
    return CD(row["title"], row["artist"], int(row["year"]), tracks)


def _seconds(length: str) -> int:
    minutes, seconds = length.split(":")
    return 60 * int(minutes) + int(seconds)


def main(verb: str, what: str) -> None:
    with hubbub.open(HOST, token=os.environ.get("TOKEN", ""), read_only=verb == "find") as space:
        if verb == "find":
            cards = space.read(find, what)
            for card in cards:
                print(f"{card['artist']}: {card['title']} ({card['year']}), {card['minutes']} min")
            if not cards:
                print(f"There is no CD with {what!r} in it.", file=sys.stderr)
        else:
            with Path(what).open(newline="", encoding="utf-8") as file:
                print(space.run(add, list(csv.DictReader(file))), "CDs")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("add", "find"):
        sys.exit("usage: cds.py add FILE.csv | cds.py find WORD")
    try:
        main(*sys.argv[1:])
    except (hubbub.HubbubError, OSError, UnicodeDecodeError) as error:
        sys.exit(f"cds: {error}")
