import sys; sys.path.insert(0,"/tmp")
import pytest
from app1 import Member, Room, hub
from hubbub import Refused
from hubbub.testing import TestHub
def test_unit():
    room = Room()
    Member("ann", room).say("hi")
    assert [m.text for m in room.recent()] == ["hi"]
async def test_live_and_restart():
    async with TestHub(hub) as t:
        ann, bob = await t.login("ann"), await t.login("bob")
        watch = bob.room().recent.watch()
        await ann.say("hi")
        assert (await anext(watch))[-1].text == "hi"
        await t.advance(3600)
        await t.kill_and_restart()
        assert (await anext(watch))[-1].text == "hi"
        with pytest.raises(Refused) as e:
            await ann.say("")
        assert e.value.code == "empty"
