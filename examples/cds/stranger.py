"""Somebody who has found the database in the network, and has none of its classes.

python stranger.py hub://cds.example.org
"""

from __future__ import annotations

import sys
from typing import Any

import hubbub


def look(root: hubbub.Root) -> list[str]:
    """What stands in for a CD has its plain attributes, and those of its tracks."""
    return [
        f"{cd.artist}: {cd.title}, {len(cd.tracks)} tracks, the first is {cd.tracks[0].title!r}"
        for cd in root.get("cds", {}).values()
    ]


def behave(root: hubbub.Root) -> Any:
    return next(iter(root["cds"].values())).minutes()


def main(url: str) -> None:
    with hubbub.open(url, read_only=True) as world:
        found = world.read(look)
        if not found:
            sys.exit("There are no CDs yet.")
        print(*found, sep="\n")
        try:
            world.read(behave)
        except hubbub.UnknownClassError as error:
            print("but:", error)
        try:
            world.run(lambda root: root.clear())
        except hubbub.ReadOnlyError as error:
            print("and:", error)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: stranger.py hub://HOST:PORT")
    try:
        main(sys.argv[1])
    except hubbub.HubbubError as error:
        sys.exit(f"stranger: {error}")
