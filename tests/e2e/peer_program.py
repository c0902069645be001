"""A peer that does what its standard input says, one command a line, and answers each with one line.

set KEY VALUE     in the transaction that is open; begins one if there is none
commit            prints 'committed', or 'conflict' and what the error says
look              prints the map as JSON
add COUNT         adds to the counter COUNT times with the retry loop of the seed; prints how often it had to try again
hear COUNT        waits for changes until the counter is COUNT; prints how many changes it saw and requests it made
"""

from __future__ import annotations

import json
import sys
import time

import hubbub
from hubbub import ConflictError


def add(space: hubbub.Space, count: int) -> int:
    again = 0
    for _ in range(count):
        while True:
            try:
                with space.transaction() as root:
                    words = root["words"]
                    words["count"] = words.get("count", 0) + 1
            except ConflictError:
                again += 1
                time.sleep(0.002)
            else:
                break
    return again


def hear(space: hubbub.Space, goal: int) -> tuple[int, int]:
    seen = 0
    for _ in space.changes():
        seen += 1
        if space.read(lambda root: root["words"].get("count", 0)) >= goal:
            break
        if seen == 1:
            print("listening", flush=True)
    return seen, space.stats.requests


def main(url: str) -> None:
    with hubbub.open(url) as space, space.connect() as connection:
        print("ready", flush=True)
        for line in sys.stdin:
            command, *words = line.split()
            if command == "set":
                connection.root["words"][words[0]] = words[1]
                answer = "set"
            elif command == "commit":
                try:
                    connection.commit()
                    answer = "committed"
                except ConflictError as error:
                    answer = f"conflict {error}"
            elif command == "look":
                connection.sync()
                answer = json.dumps(dict(connection.root["words"].items()))
            elif command == "add":
                answer = f"added {add(space, int(words[0]))}"
            else:
                answer = "heard {} {}".format(*hear(space, int(words[0])))
            print(answer, flush=True)


main(sys.argv[1])
