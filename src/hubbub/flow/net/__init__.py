"""Components that reach other programs: TCP, Unix sockets, TLS, UDP.

framing      items to bytes and back (sans-I/O)
wires        what a connection speaks: a framing, or numbered and acknowledged (sans-I/O)
connection   bytes and boxes, without a task
client       TCPClient: connects, and again
servers      Server, SimpleServer: a graph for each connection (served)
single       SingleServer: one connection at a time
listening    sockets; tls, descriptors, peer: what its name says
"""

from hubbub.flow.net.client import TCPClient
from hubbub.flow.net.framing import Framing, Length, Lines, MessagePack, Raw
from hubbub.flow.net.peer import Peer
from hubbub.flow.net.servers import Server, SimpleServer
from hubbub.flow.net.single import SingleServer
from hubbub.flow.net.tls import client_tls, server_tls
from hubbub.flow.net.udp import Datagram, UDPPeer
from hubbub.kernel import FramingError

__all__ = [
    "Datagram",
    "Framing",
    "FramingError",
    "Length",
    "Lines",
    "MessagePack",
    "Peer",
    "Raw",
    "Server",
    "SimpleServer",
    "SingleServer",
    "TCPClient",
    "UDPPeer",
    "client_tls",
    "server_tls",
]
