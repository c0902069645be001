"""The remote clock: the host calls its users; a timer ends with its session."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

import hubbub
from hubbub import InvalidArgumentsError
from tests.e2e.conftest import Login
from tests.e2e.hosts import EXAMPLES, ROOT, Host, Hosts, environment

# The clock as it is, and a way to see from outside which of its timers still fire.
PROBE = """
from collections import Counter
import clock
from clock import hub
from hubbub import query

fired = Counter()


class Probe(clock.ClockUser):
    def __init__(self, name):
        self.name = name

    def tell(self):
        fired[self.name] += 1
        super().tell()

    @query
    def fired(self, name: str) -> int:
        return fired[name]


hub.realm.request_avatar = lambda root, who: Probe(who.name)
"""


class Watch(hubbub.Mind):
    """Notes when it was told the time."""

    def __init__(self) -> None:
        self.told: list[float] = []
        self.heard = asyncio.Event()

    def notify_time(self, t: float) -> None:
        self.told.append(t)
        self.heard.set()

    async def times(self, count: int, timeout_s: float = 10.0) -> list[float]:
        """Wait for that many more calls; return when the host sent them."""
        begin = len(self.told)
        async with asyncio.timeout(timeout_s):
            while len(self.told) < begin + count:
                self.heard.clear()
                await self.heard.wait()
        return self.told[begin : begin + count]


@pytest.fixture
def clock(hosts: Hosts, tmp_path: Path) -> Host:
    (tmp_path / "probe.py").write_text(PROBE)
    env = environment(
        PYTHONPATH=os.pathsep.join(map(str, (ROOT / "src", EXAMPLES / "clock", tmp_path)))
    )
    return hosts.host("probe:hub", tmp_path, env=env).start()


@pytest.mark.rule("PE3")
async def test_set_period_works(clock: Host, login: Login) -> None:
    mind = Watch()
    me = await login(clock, "ann", mind=mind)
    (first,) = await mind.times(1)
    assert abs(first - time.time()) < 5
    await me.set_period(0.05)
    await mind.times(1)  # the first one of the new period
    times = await mind.times(10)
    assert 0.3 < times[-1] - times[0] < 2.0
    await me.set_period(3600)
    told = len(mind.told)
    await asyncio.sleep(0.3)
    assert len(mind.told) <= told + 1
    for period in (0, 1e9, "soon"):
        with pytest.raises(InvalidArgumentsError) as caught:
            await me.set_period(period)
        assert caught.value.code == "invalid"


@pytest.mark.rule("PE6")
async def test_log_out_stops_the_timer(clock: Host, login: Login) -> None:
    mind = Watch()
    ann = await login(clock, "ann", mind=mind)
    bob = await login(clock, "bob")
    await ann.set_period(0.05)
    await mind.times(3)
    await ann.close()
    told = len(mind.told)
    fired = await bob.fired("ann")
    await asyncio.sleep(0.4)
    assert await bob.fired("ann") == fired, "the host's timer is gone"
    assert len(mind.told) == told


async def test_a_user_without_a_mind_harms_nothing(clock: Host, login: Login) -> None:
    mind = Watch()
    await login(clock, "ann", mind=mind)
    bob = await login(clock, "bob")
    await bob.set_period(0.05)
    await mind.times(1)
    assert await bob.fired("bob") > 3
    assert "incident" not in clock.logged
    assert "Traceback" not in clock.logged


async def test_the_example_prints_the_time_and_ctrl_c_logs_out(hosts: Hosts) -> None:
    import signal

    host = hosts.serve("clock:hub", "clock")
    client = hosts.run(str(EXAMPLES / "clock" / "clock.py"), "0.1", host.hub)
    client.until_printed(r"(\d\d:\d\d:\d\d\.\d\d\d\s+){3}")
    client.send(signal.SIGINT)
    assert client.wait() == 0, client.logged
