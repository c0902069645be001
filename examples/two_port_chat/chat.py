"""A chat on two ports: what comes in on one goes out on the other, to everybody who is connected.

python chat.py [FIRST_PORT]       then, in other terminals:  nc 127.0.0.1 1600   and   nc 127.0.0.1 1601
"""

import sys

from hubbub.flow import Backplane, Join, PublishTo, SimpleServer, SubscribeTo


def serve(first_port: int = 1600) -> None:
    Backplane("chatroom").activate()
    SimpleServer(lambda: SubscribeTo("chatroom"), first_port).activate()  # listens
    SimpleServer(lambda: Join("chatroom"), first_port + 2).activate()  # both, on one port
    SimpleServer(lambda: PublishTo("chatroom"), first_port + 1).run()  # talks


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:]))
