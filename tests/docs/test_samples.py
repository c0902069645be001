"""The reader of samples itself, on pages of its own."""

import pytest

from tests.docs.samples import SampleError, Stage, groups, samples


def write(tmp_path, *blocks):
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n" + "\n".join(blocks))
    return page


def block(comment, language, text):
    return f"<!-- test: {comment} -->\n\n```{language}\n{text}\n```\n"


def play(tmp_path, *blocks):
    page = write(tmp_path, *blocks)
    (tmp_path / "stage").mkdir()
    for parts in groups(page, tmp_path).values():
        Stage(tmp_path / "stage").play(parts)


def test_blocks_of_one_file_follow_one_another_and_can_be_run(tmp_path):
    play(
        tmp_path,
        block("a file=it.py", "python", "x = 1"),
        block("a file=it.py", "python", "y = x + 1"),
        block("a run", "python", "import asyncio, it\nawait asyncio.sleep(0)\nprint(it.y)"),
        block("a output", "text", "2"),
    )


def test_a_file_can_be_written_afresh(tmp_path):
    play(
        tmp_path,
        block("a file=it.py", "python", "x = 1"),
        block("a file=it.py new", "python", "x = 2"),
        block("a sh", "sh", "python -c 'import it; print(it.x)'"),
        block("a output", "text", "2"),
    )


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_test_functions_of_a_block_are_called(tmp_path, kind):
    with pytest.raises(SampleError, match="no good"):
        play(tmp_path, block("a run", "python", f"{kind} test_it():\n    assert 0, 'no good'"))


def test_line_numbers_are_those_of_the_page(tmp_path):
    with pytest.raises(SampleError, match=r'"page.md", line 6'):
        play(tmp_path, block("a run", "python", "1 / 0"))


def test_other_output_fails(tmp_path):
    with pytest.raises(SampleError, match="printed was\n1"):
        play(tmp_path, block("a run", "python", "print(1)"), block("a output", "text", "2"))


def test_a_command_in_the_background_is_heard(tmp_path):
    play(
        tmp_path,
        block(
            "a file=talk.py", "python", "import time\nprint('one')\nprint('two')\ntime.sleep(60)"
        ),
        block("a background", "sh", "python talk.py   # a comment"),
        block("a saw", "text", "one\ntwo"),
    )


SERVER = """
import signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
listeners = []
for flag, address in zip(sys.argv[1::2], sys.argv[2::2]):
    host, port = address.split(":")
    listeners.append(socket.create_server((host, int(port))))
time.sleep(60)
"""


def test_a_server_can_be_killed_and_started_again(tmp_path):
    play(
        tmp_path,
        block("a file=server.py", "python", SERVER),
        block("a serve", "sh", "python server.py"),
        block("a kill", "sh", "kill -9 its-number"),
        block("a serve", "sh", "python server.py"),
        block(
            "a run",
            "python",
            "import socket\nsocket.create_connection('127.0.0.1:1975'.split(':')).close()",
        ),
    )


def test_a_server_that_does_not_come_up_is_told_with_what_it_said(tmp_path):
    with pytest.raises(SampleError, match="no luck"):
        play(
            tmp_path,
            block("a file=server.py", "python", "print('no luck')"),
            block("a serve", "sh", "python server.py"),
        )


def test_a_python_block_needs_a_comment(tmp_path):
    page = write(tmp_path, "```python\nx = 1\n```\n")
    with pytest.raises(SampleError, match=r"page.md:4: a Python sample without a comment"):
        groups(page, tmp_path)


def test_a_block_that_is_only_compiled_needs_a_reason(tmp_path):
    assert (
        groups(write(tmp_path, block("- compile needs a serial port", "python", "x = 1")), tmp_path)
        == {}
    )
    with pytest.raises(SampleError, match="say why"):
        groups(write(tmp_path, block("- compile", "python", "x = 1")), tmp_path)
    with pytest.raises(SyntaxError):
        groups(write(tmp_path, block("- compile a reason", "python", "x =")), tmp_path)


def test_a_comment_needs_its_block(tmp_path):
    page = write(tmp_path, "<!-- test: a run -->\n\nSome words.\n")
    with pytest.raises(SampleError, match="has to follow"):
        samples(page, tmp_path)


def test_an_unknown_action_is_told(tmp_path):
    with pytest.raises(SampleError, match="no action 'ru'"):
        play(tmp_path, block("a ru", "python", "x = 1"))


def test_blocks_in_lists_lose_their_indent(tmp_path):
    page = write(
        tmp_path, "1. a\n   <!-- test: a run -->\n   ```python\n   if True:\n       x = 1\n   ```\n"
    )
    (sample,) = samples(page, tmp_path)
    assert sample.text == "if True:\n    x = 1\n"
