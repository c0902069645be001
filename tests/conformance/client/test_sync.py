"""The client for scripts and windows, over real sockets."""

from __future__ import annotations

import queue
import signal
import threading
import time

import pytest

import hubbub
from hubbub.kernel import LocalProtocolError
from tests.conformance.client.application import Line, Me
from tests.conformance.client.serving import Serving


def test_without_await(serving: Serving) -> None:
    me = Me()
    with hubbub.sync.login(serving.url, name="ann", mind=me) as ann:
        assert ann.say("hello") == 1
        assert ann["say"](text="again") == 2
        room = ann.room()
        assert room.recent(limit=1) == [Line("ann", "again")]
        assert room == ann.room()
        with pytest.raises(hubbub.Refused):
            ann.say("")
        assert ann.ask(2) == [4]
        assert me.calls == ["hello", "again"]
        assert ann.wait_closed(timeout_s=0.01) is False
        for lines in ann.room().recent.watch():
            if len(lines) == 2:
                break
        with ann.said.stream() as said:
            ann.say("third")
            assert next(said) == "third"
    with pytest.raises(LocalProtocolError, match="closed"):
        ann.say("too late")
    ann.close()


def test_a_watch_ends_with_its_client(serving: Serving) -> None:
    ann = hubbub.sync.login(serving.url, name="ann")
    watch = ann.room().recent.watch()
    seen: list = []
    thread = threading.Thread(target=lambda: seen.extend(watch))
    thread.start()
    while not seen:
        time.sleep(0.001)
    ann.close()
    thread.join(5)
    assert not thread.is_alive()


def test_callbacks_in_the_client_s_thread(serving: Serving) -> None:
    with hubbub.sync.login(serving.url, name="ann") as ann:
        seen: queue.SimpleQueue = queue.SimpleQueue()
        errors: queue.SimpleQueue = queue.SimpleQueue()

        def callback(lines: list[Line]) -> None:
            try:
                ann.room()
            except LocalProtocolError as error:
                errors.put(error)
            seen.put((len(lines), threading.current_thread().name))

        watch = ann.room().recent.watch(callback, limit=10)
        assert seen.get(timeout=5) == (0, "hubbub-client")
        assert "call_in=" in str(errors.get(timeout=5))
        ann.say("x")
        assert seen.get(timeout=5)[0] == 1
        watch.close()
        ann.say("y")
        assert seen.empty()


def test_callbacks_where_they_are_wanted(serving: Serving) -> None:
    """As a Tk program has it: everything arrives in the window's thread."""
    window: queue.SimpleQueue = queue.SimpleQueue()

    class Face(hubbub.Mind):
        def heard(self, text: str) -> None:
            threads.append(threading.current_thread())

        def double(self, number: int) -> int:
            threads.append(threading.current_thread())
            return number * 2

    def run_window(done) -> None:
        until = time.monotonic() + 5
        while not done() and time.monotonic() < until:
            try:
                window.get(timeout=0.01)()
            except queue.Empty:
                pass
        assert done()

    threads: list = []
    answers: list = []
    with hubbub.sync.login(serving.url, name="ann", mind=Face(), call_in=window.put) as ann:
        ann.room().recent.watch(
            lambda lines: answers.append((len(lines), ann.room().recent(limit=1)))
        )
        ann.said.stream(lambda text: answers.append(text))
        run_window(lambda: (0, []) in answers)
        for number in range(3):
            ann.say(f"line {number}")
        run_window(lambda: (3, [Line("ann", "line 2")]) in answers and "line 2" in answers)
        assert [a for a in answers if isinstance(a, str)] == ["line 0", "line 1", "line 2"]
        asked: list = []
        thread = threading.Thread(target=lambda: asked.extend(ann.ask(5)))
        thread.start()
        run_window(lambda: bool(asked))
        thread.join()
        assert asked == [10]
    assert set(threads) == {threading.main_thread()}


@pytest.mark.rule("LV3")
def test_keyed_changes_of_a_container(serving: Serving) -> None:
    with hubbub.sync.login(serving.url, name="ann") as ann:
        room = ann.room()
        room.mark("a", 1)
        with room.all_marks.changes() as changes:
            first = next(changes)
            assert (first.value, first.set, first.whole) == ({"a": 1}, {"a": 1}, True)
            room.mark("b", 2)
            second = next(changes)
            assert (second.value, second.set, second.whole) == ({"a": 1, "b": 2}, {"b": 2}, False)
            room.unmark("a")
            assert next(changes).deleted == {"a"}


@pytest.mark.rule("PE6")
def test_a_watch_survives_the_host(serving: Serving) -> None:
    with hubbub.sync.login(serving.url, name="ann") as ann:
        watch = ann.room().recent.watch()
        assert next(watch) == []
        serving.restart()
        ann.say("after")
        for lines in watch:
            if lines:
                break
        assert lines == [Line("ann", "after")]


def test_ctrl_c_ends_waiting(serving: Serving) -> None:
    with hubbub.sync.login(serving.url, name="ann") as ann:
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            ann.wait_closed()
        assert ann.say("still here") == 1


def test_nobody_answers(unused_tcp_port: int) -> None:
    with pytest.raises(hubbub.BrokenError, match="nobody answers"):
        hubbub.sync.login(f"hub://127.0.0.1:{unused_tcp_port}")
    assert "hubbub-client" not in [thread.name for thread in threading.enumerate()]
