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
from hubbub.flow.functions import as_component
from hubbub.flow.graph import Graph
from hubbub.flow.publishing import Join, PublishTo
from hubbub.flow.pubsub_queue import PublishSubscribeQueue, QueueSubscriber
from hubbub.flow.restarting import Backoff, Restart
from hubbub.flow.routing import Duplex, FanOut, Merge, Parallel, PassThrough, Router, Share
from hubbub.flow.runner import Runner, activate, run
from hubbub.flow.running import Running
from hubbub.flow.subscribing import PresenceOf, SubscribeTo
from hubbub.flow.threaded import Threaded, ThreadedComponent
from hubbub.flow.tracking import Token, Tracked
from hubbub.kernel import (
    BoxFullError,
    ComponentFailedError,
    Finished,
    GraphError,
    Stopped,
    SubscriberDroppedError,
    SubscriberTooSlowError,
)

__all__ = [
    "Background",
    "Backoff",
    "Backplane",
    "Box",
    "BoxFullError",
    "BoxState",
    "Bus",
    "Carousel",
    "Component",
    "ComponentFailedError",
    "Declared",
    "Duplex",
    "FanOut",
    "Finished",
    "Graph",
    "GraphError",
    "Graphline",
    "Join",
    "LocalBus",
    "Merge",
    "Parallel",
    "PassThrough",
    "Pipeline",
    "PresenceOf",
    "PublishSubscribeQueue",
    "PublishTo",
    "Published",
    "QueueSubscriber",
    "Restart",
    "Router",
    "Runner",
    "Running",
    "Sequence",
    "Share",
    "Stopped",
    "SubscribeTo",
    "Subscriber",
    "SubscriberChange",
    "SubscriberDroppedError",
    "SubscriberTooSlowError",
    "Subscription",
    "Threaded",
    "ThreadedComponent",
    "Token",
    "Tracked",
    "WhenFull",
    "activate",
    "as_component",
    "background",
    "box",
    "run",
]
