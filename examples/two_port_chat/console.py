"""The chat in a terminal: type a line to say it; what is said is printed. End of input (Ctrl-D) ends both.

python console.py [HOST [FIRST_PORT]]
"""

import sys

from hubbub.flow import ConsoleEchoer, ConsoleReader, Pipeline, TCPClient, run


def talk(host: str = "127.0.0.1", first_port: str = "1600") -> None:
    listen, say = int(first_port), int(first_port) + 1
    run(
        Pipeline(ConsoleReader(">>> "), TCPClient(host, say)),
        Pipeline(TCPClient(host, listen), ConsoleEchoer()),
        until="first",
    )


if __name__ == "__main__":
    talk(*sys.argv[1:])
