"""A client of the notification system: prints what machine B notifies. It comes back when B does.

python client.py [HOST [PORT]]       1600 normal, 1601 important, 1602 critical
"""

import sys

from hubbub.flow import ConsoleEchoer, Pipeline, TCPClient


def listen(host: str = "127.0.0.1", port: str = "1602") -> None:
    Pipeline(TCPClient(host, int(port)), ConsoleEchoer()).run()


if __name__ == "__main__":
    listen(*sys.argv[1:])
