from __future__ import annotations

import asyncio

from hubbub.perspective.deadlines import GRAIN_S, Deadlines


async def test_what_was_not_removed_expires_and_never_early():
    loop = asyncio.get_running_loop()
    over: asyncio.Future[float] = loop.create_future()
    deadlines: Deadlines[str] = Deadlines(lambda item: over.set_result(loop.time()))
    began = loop.time()
    kept = deadlines.add("removed", 0.0)
    deadlines.remove("removed", kept)
    deadlines.add("kept", GRAIN_S)
    assert await over >= began + GRAIN_S
    assert len(deadlines) == 0


async def test_removing_twice_or_late_does_nothing():
    over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    deadlines: Deadlines[str] = Deadlines(over.set_result)
    number = deadlines.add("one", 0.0)
    assert len(deadlines) == 1
    assert await over == "one"
    deadlines.remove("one", number)
    deadlines.remove("never there", number)
    assert len(deadlines) == 0


async def test_those_of_one_moment_expire_together_in_order():
    done = asyncio.Event()
    seen: list[int] = []

    def expired(item: int) -> None:
        seen.append(item)
        if len(seen) == 3:
            done.set()

    deadlines: Deadlines[int] = Deadlines(expired)
    assert len({deadlines.add(number, 10 * GRAIN_S) for number in range(3)}) <= 2
    await done.wait()
    assert seen == [0, 1, 2]
