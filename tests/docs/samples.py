"""Code samples of the documentation, found and run as a reader would run them.

A comment before a fenced block says what the block is. It is invisible to readers:

    <!-- test: GROUP ACTION -->

All samples of one group in one page share a directory and happen in the order of the page. Actions:

    file=NAME        append the block to NAME
    file=NAME new    write NAME afresh
    run              run the Python block; `await` may stand at its top level, and each `test_*` function
                     that it defines is called, too
    sh               run the shell block to its end; it must succeed
    output           the block is what the `run` or `sh` before it printed
    serve            start the block's one command, and wait until it takes connections
    background       start the block's one command
    saw              the block's lines appear, in order, in what the last `background` prints
    kill             SIGKILL the `serve` before it (the block itself is not run)
    use PAGE GROUP FILE   (no block follows) FILE as the blocks of that page's group write it
    compile REASON   check the syntax of a Python block that can't be run here

Every Python block needs such a comment. The addresses that the pages use are replaced by free ones.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMENT = re.compile(r"^\s*<!--\s*test:\s*(?P<group>\S+)\s+(?P<action>.*?)\s*-->\s*$")
FENCE = re.compile(r"^(?P<indent>\s*)(?P<fence>```+|~~~+)(?P<language>[\w+-]*)\s*$")
ADDRESSES = ("127.0.0.1:1975", "127.0.0.1:8000")
PORTS = ("1500",)  # of servers in flow graphs
PATIENCE_S = 30.0

# Runs a block with `await` at its top level and then its tests; line numbers are those of the page.
RUNNER = """
import ast, asyncio, inspect, sys, types
path, name = sys.argv[1:]
sys.path.insert(0, "")
module = types.ModuleType("sample")
code = compile(open(path).read(), name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

async def main():
    result = eval(code, vars(module))
    if inspect.iscoroutine(result):
        await result
    for key, test in list(vars(module).items()):
        if key.startswith("test_"):
            result = test()
            if inspect.iscoroutine(result):
                await result

asyncio.run(main())
"""


class SampleError(AssertionError):
    """A sample does not do what its page says."""


@dataclass(frozen=True)
class Sample:
    """One fenced block."""

    page: str
    line: int
    language: str
    text: str
    group: str = ""
    action: str = ""

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def samples(page: Path, root: Path = ROOT) -> list[Sample]:
    """Return all fenced blocks of ``page``, with what its comments say of them."""
    name = page.relative_to(root).as_posix()
    found: list[Sample] = []
    group = action = ""
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        comment = COMMENT.match(lines[number])
        fence = FENCE.match(lines[number])
        if comment:
            if action:
                raise SampleError(f"{name}:{number + 1}: the comment before this one has no block")
            group, action = comment["group"], comment["action"]
            if action.startswith("use "):
                found.append(Sample(name, number + 1, "", "", group, action))
                group = action = ""
        elif fence:
            start = number + 1
            number = start
            while number < len(lines) and lines[number].strip() != fence["fence"]:
                number += 1
            if number == len(lines):
                raise SampleError(f"{name}:{start}: this block has no end")
            cut = len(fence["indent"])
            text = "".join(line[cut:] + "\n" for line in lines[start:number])
            found.append(Sample(name, start + 1, fence["language"], text, group, action))
            group = action = ""
        elif lines[number].strip() and action:
            raise SampleError(f"{name}:{number + 1}: a block has to follow its comment")
        number += 1
    return found


def groups(page: Path, root: Path = ROOT) -> dict[str, list[Sample]]:
    """Return the samples of ``page`` by group, without those that need nothing but a look."""
    by_group: dict[str, list[Sample]] = {}
    for sample in samples(page, root):
        if sample.action.startswith("compile"):
            if not sample.action.removeprefix("compile").strip():
                raise SampleError(f"{sample.where}: say why this sample can only be compiled")
            compile(sample.text, sample.where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        elif sample.action:
            by_group.setdefault(sample.group, []).append(sample)
        elif sample.language == "python":
            raise SampleError(
                f"{sample.where}: a Python sample without a comment that says how to test it"
            )
    return by_group


@dataclass
class Stage:
    """Where the samples of one group happen."""

    directory: Path
    ports: dict[str, str] = field(default_factory=dict)
    printed: str = ""
    running: list[Background] = field(default_factory=list)
    served: Background | None = None
    watched: Background | None = None

    def __post_init__(self) -> None:
        self.ports = {address: f"127.0.0.1:{_free_port()}" for address in ADDRESSES}
        self.ports |= {port: str(_free_port()) for port in PORTS}

    def play(self, parts: list[Sample]) -> None:
        """Do what ``parts`` say, in order; whatever is left running is ended.

        Raises:
            SampleError: If one of them does not do what its page says.
        """
        try:
            for part in parts:
                self._play(part)
        finally:
            for process in reversed(self.running):
                process.end()
        for process in self.running:
            if process is self.served and process.exit_status != 0:
                raise SampleError(
                    f"{process.where}: ended with {process.exit_status} when asked to stop\n{process.printed()}"
                )

    def _play(self, part: Sample) -> None:
        text = part.text
        for address, replacement in self.ports.items():
            text = re.sub(rf"\b{re.escape(address)}\b", replacement, text)
        action, _, rest = part.action.partition(" ")
        if action.startswith("file="):
            self._write(action.removeprefix("file="), text, afresh=rest == "new")
        elif action == "use":
            self._use(part, *rest.split())
        elif action == "run":
            block = self.directory / f".block-{part.line}.py"
            block.write_text("\n" * (part.line - 1) + text)
            self._finish(part, [sys.executable, "-c", RUNNER, str(block), part.page])
        elif action == "sh":
            self._finish(part, ["bash", "-e", "-c", _FUNCTIONS + text])
        elif action == "output":
            # A help text names the addresses that are used when nobody says otherwise.
            if self.printed.strip() not in (text.strip(), part.text.strip()):
                raise SampleError(f"{part.where}: printed was\n{self.printed}")
        elif action == "serve":
            # A file says by itself where to listen.
            options = [] if "--config" in text else [*_serve_options(self.ports)]
            self.served = self._start(part, text, options)
            # Without an application there is no page: only peers are served.
            wanted = ADDRESSES if re.search(r"serve\s+[\w.]+:\w+", text) else ADDRESSES[:1]
            self.served.wait_for_ports([self.ports[address] for address in wanted])
        elif action == "background":
            self.watched = self._start(part, text, [])
        elif action == "saw":
            if self.watched is None:
                raise SampleError(f"{part.where}: nothing runs in the background")
            self.watched.wait_for_lines(
                [line for line in text.splitlines() if line.strip()], part.where
            )
        elif action == "kill":
            if self.served is None:
                raise SampleError(f"{part.where}: nothing is served")
            self.served.kill()
            self.running.remove(self.served)
            self.served = None
        else:
            raise SampleError(f"{part.where}: there is no action {action!r}")

    def _write(self, name: str, text: str, *, afresh: bool) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() if path.exists() and not afresh else ""
        path.write_text(before + ("\n" if before else "") + text)

    def _use(self, part: Sample, page: str, group: str, name: str) -> None:
        for other in groups(ROOT / page).get(group, []):
            action, _, rest = other.action.partition(" ")
            if action == f"file={name}":
                self._write(name, other.text, afresh=rest == "new")
        if not (self.directory / name).exists():
            raise SampleError(f"{part.where}: {page} writes no {name} in its group {group}")

    def _finish(self, part: Sample, command: list[str]) -> None:
        try:
            done = subprocess.run(
                command,
                cwd=self.directory,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PATIENCE_S * 2,
            )
        except subprocess.TimeoutExpired as error:
            raise SampleError(f"{part.where}: not done after {error.timeout} s") from None
        if done.returncode != 0:
            raise SampleError(
                f"{part.where}: ended with {done.returncode}\n{done.stdout}{done.stderr}{self._logs()}"
            )
        self.printed = done.stdout

    def _start(self, part: Sample, text: str, options: list[str]) -> Background:
        words = shlex.split(text, comments=True)
        if words[:1] == ["hubbub"]:
            words[:1] = [sys.executable, "-m", "hubbub"]
        elif words[:1] == ["python"]:
            words[:1] = [sys.executable]
        process = Background(part.where, [*words, *options], self.directory)
        self.running.append(process)
        return process

    def _logs(self) -> str:
        return "".join(
            f"\n--- {process.where} printed\n{process.printed()}" for process in self.running
        )


class Background:
    """A process that goes on beside the samples; what it prints is kept."""

    def __init__(self, where: str, command: list[str], directory: Path) -> None:
        self.where = where
        self._lines: list[str] = []
        self._process = subprocess.Popen(
            command,
            cwd=directory,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self._lines.append(line.rstrip("\n"))

    @property
    def exit_status(self) -> int | None:
        return self._process.poll()

    def printed(self) -> str:
        return "\n".join(self._lines)

    def wait_for_ports(self, addresses: list[str]) -> None:
        for address in addresses:
            host, port = address.split(":")
            self._wait(
                lambda host=host, port=port: _accepts(host, int(port)),
                f"nobody listens on {address}",
            )

    def wait_for_lines(self, wanted: list[str], where: str) -> None:
        def all_there() -> bool:
            left = iter(list(self._lines))
            return all(any(line == want for line in left) for want in wanted)

        self._wait(all_there, f"{where}: not seen")

    def _wait(self, condition, complaint: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if self.exit_status is not None or time.monotonic() > deadline:
                raise SampleError(f"{self.where}: {complaint}; it printed\n{self.printed()}")
            time.sleep(0.05)  # another process has no event for us

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def end(self) -> None:
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(PATIENCE_S)


# A reader has them on the path; here they are those of this interpreter.
_FUNCTIONS = "".join(
    f'{name}() {{ "{sys.executable}" {rest}"$@"; }}\n'
    for name, rest in (
        ("hubbub", "-m hubbub "),
        ("pytest", "-m pytest -p no:cacheprovider "),
        ("python", ""),
    )
)


def _serve_options(ports: dict[str, str]) -> list[str]:
    listen, web = (ports[address] for address in ADDRESSES)
    return ["--listen", listen, "--web", web]


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    kept.pop("CI", None)
    return kept | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
