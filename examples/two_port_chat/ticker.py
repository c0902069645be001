"""The chat scrolling by, where nothing that is said can overtype what you are reading. q ends it.

python ticker.py [HOST [PORT]]
"""

import sys

from hubbub.flow import Pipeline, TCPClient, Ticker


def show(host: str = "127.0.0.1", port: str = "1600") -> None:
    Pipeline(TCPClient(host, int(port)), Ticker()).run()


if __name__ == "__main__":
    show(*sys.argv[1:])
