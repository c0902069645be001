"""Tokens: when has an item been handled?"""

from __future__ import annotations

from hubbub.flow.tracking import Hand, Position, Token, Tracked, copies, let_go


def token(done: list[object]) -> Token:
    return Token(lambda it: done.append(it.position), Position("a", 1, 1))


def test_an_item_is_handled_when_its_last_place_is_gone() -> None:
    done: list[object] = []
    it = token(done)
    tracked = Tracked("item", (it,))
    it.release()  # its source has let go
    assert not it.handled
    tracked.release()
    assert it.handled
    assert done == [Position("a", 1, 1)]


def test_a_copy_for_another_box_is_a_place_of_its_own() -> None:
    done: list[object] = []
    it = token(done)
    first = [Tracked("item", (it,)), "plain"]
    second = copies(first)
    it.release()
    let_go(first)
    assert not done
    let_go(second)
    assert len(done) == 1
    assert copies(["plain"]) == ["plain"]


def test_what_is_kept_is_not_let_go_of_with_the_hand() -> None:
    done: list[object] = []
    hand, it = Hand(), token(done)
    hand.tokens = (it,)
    kept = hand.keep()
    hand.release()
    assert not done
    hand.resume(kept)
    hand.release()
    assert len(done) == 1
