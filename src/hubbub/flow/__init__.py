"""Components joined by boxes. Knows no store and no wire protocol.

Components have inboxes and outboxes; graphs link them; a runner runs graphs. See docs/topics/flow.md.
"""

from hubbub.flow.background import Background, background
from hubbub.flow.backplane import Backplane, Subscriber, SubscriberChange
from hubbub.flow.box import Box, BoxState, WhenFull
from hubbub.flow.bus import Bus, LocalBus, Published, Subscription
from hubbub.flow.changing import Carousel, Sequence
from hubbub.flow.chassis import Graphline, Pipeline
from hubbub.flow.component import Component
from hubbub.flow.declaring import Declared, box
from hubbub.flow.describing import Description, LinkageDescription, PartDescription
from hubbub.flow.devices import (
    ConsoleEchoer,
    ConsoleReader,
    FileReader,
    FileWriter,
    Process,
    SerialPort,
    Ticker,
    Timer,
)
from hubbub.flow.functions import as_component
from hubbub.flow.graph import Graph
from hubbub.flow.net import (
    Datagram,
    Framing,
    Length,
    Lines,
    MessagePack,
    Peer,
    Raw,
    Server,
    SimpleServer,
    SingleServer,
    TCPClient,
    UDPPeer,
    client_tls,
    server_tls,
)
from hubbub.flow.parts import (
    Batch,
    Failed,
    Filter,
    Map,
    RateLimit,
    RecoverOrder,
    Retry,
    TagWithSequenceNumber,
    Tap,
    UnseenOnly,
)
from hubbub.flow.publishing import Join, PublishTo
from hubbub.flow.pubsub_queue import PublishSubscribeQueue, QueueSubscriber
from hubbub.flow.restarting import Backoff, Restart
from hubbub.flow.routing import Duplex, FanOut, Merge, Parallel, PassThrough, Router, Share
from hubbub.flow.runner import Runner, activate, run
from hubbub.flow.running import Running
from hubbub.flow.subscribing import PresenceOf, SubscribeTo
from hubbub.flow.threaded import Threaded, ThreadedComponent
from hubbub.flow.tracking import Position, Token, Tracked
from hubbub.kernel import (
    BoxFullError,
    ComponentFailedError,
    Finished,
    FramingError,
    GraphError,
    ProcessFailedError,
    Stopped,
    SubscriberDroppedError,
    SubscriberTooSlowError,
)

__all__ = [
    "Background",
    "Backoff",
    "Backplane",
    "Batch",
    "Box",
    "BoxFullError",
    "BoxState",
    "Bus",
    "Carousel",
    "Component",
    "ComponentFailedError",
    "ConsoleEchoer",
    "ConsoleReader",
    "Datagram",
    "Declared",
    "Description",
    "Duplex",
    "Failed",
    "FanOut",
    "FileReader",
    "FileWriter",
    "Filter",
    "Finished",
    "Framing",
    "FramingError",
    "Graph",
    "GraphError",
    "Graphline",
    "Join",
    "Length",
    "Lines",
    "LinkageDescription",
    "LocalBus",
    "Map",
    "Merge",
    "MessagePack",
    "Parallel",
    "PartDescription",
    "PassThrough",
    "Peer",
    "Pipeline",
    "Position",
    "PresenceOf",
    "Process",
    "ProcessFailedError",
    "PublishSubscribeQueue",
    "PublishTo",
    "Published",
    "QueueSubscriber",
    "RateLimit",
    "Raw",
    "RecoverOrder",
    "Restart",
    "Retry",
    "Router",
    "Runner",
    "Running",
    "Sequence",
    "SerialPort",
    "Server",
    "Share",
    "SimpleServer",
    "SingleServer",
    "Stopped",
    "SubscribeTo",
    "Subscriber",
    "SubscriberChange",
    "SubscriberDroppedError",
    "SubscriberTooSlowError",
    "Subscription",
    "TCPClient",
    "TagWithSequenceNumber",
    "Tap",
    "Threaded",
    "ThreadedComponent",
    "Ticker",
    "Timer",
    "Token",
    "Tracked",
    "UDPPeer",
    "UnseenOnly",
    "WhenFull",
    "activate",
    "as_component",
    "background",
    "box",
    "client_tls",
    "run",
    "server_tls",
]
