"""Hosts and clients in processes of their own: started, awaited, killed by their process number."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
START_S = 20.0
STOP_S = 15.0


def environment(**extra: str) -> dict[str, str]:
    """Return the environment of a child: this source tree, nothing of ours in the way."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HUBBUB_", "PYTEST_"))}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1", **extra}


def until(condition: Callable[[], T], what: str, timeout_s: float = 10.0) -> T:
    """Return the first true value of ``condition``; for what tells nobody when it happens, such as a file."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.01)


class Program:
    """One process, whose output goes to files and is shown when something fails."""

    def __init__(
        self,
        arguments: Sequence[str],
        directory: Path,
        output: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.output = output
        self.errors = output.with_suffix(".err")
        with output.open("ab") as out, self.errors.open("ab") as err:
            self._from = err.tell()
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=directory,
                env=dict(env or environment()),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.pid = self.process.pid

    @property
    def printed(self) -> str:
        return self.output.read_text(errors="replace")

    @property
    def logged(self) -> str:
        """What this process, not an earlier one with the same file, wrote to standard error."""
        return self.errors.read_bytes()[self._from :].decode(errors="replace")

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def until_logged(self, pattern: str, timeout_s: float = START_S) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.logged)
            if match is None and not self.is_running:
                match = re.search(pattern, self.logged)
                assert match is not None, f"it ended with {self.process.returncode}"
            return match

        try:
            match = until(found, f"log line {pattern!r}", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logged}") from None
        assert match is not None
        return match

    def until_printed(self, pattern: str, timeout_s: float = 10.0) -> re.Match[str]:
        try:
            match = until(
                lambda: re.search(pattern, self.printed), f"output {pattern!r}", timeout_s
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.printed}\n{self.logged}") from None
        assert match is not None
        return match

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = STOP_S) -> int:
        try:
            status = self.process.wait(timeout_s)
            self._close()
            return status
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s:g} s:\n{self.logged}") from None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.is_running:
            self.process.kill()
        self.process.wait()
        self._close()

    def terminate(self) -> int:
        """SIGTERM; return its exit status."""
        self.send(signal.SIGTERM)
        return self.wait()

    def _close(self) -> None:
        if self.process.stdin is not None:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass


class Host:
    """``hubbub serve`` in a process of its own. The first start takes free ports, later ones the same."""

    def __init__(
        self,
        application: str | None,
        directory: Path,
        data: Path,
        output: Path,
        *options: str,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.application = application
        self.directory = directory
        self.data = data
        self.output = output
        self.options = options
        self.env = env
        self.web_address = "127.0.0.1:0"
        self.listen_address = "127.0.0.1:0"
        self.program: Program | None = None

    @property
    def web(self) -> str:
        return f"http://{self.web_address}/"

    @property
    def hub(self) -> str:
        return f"hub://{self.listen_address}"

    @property
    def running(self) -> Program:
        assert self.program is not None, "the host was not started"
        return self.program

    @property
    def logged(self) -> str:
        return self.running.logged

    @property
    def command(self) -> list[str]:
        application = [self.application] if self.application else []
        return [
            "-m", "hubbub", "serve", *application, "--data", str(self.data),
            "--web", self.web_address, "--listen", self.listen_address, *self.options,
        ]  # fmt: skip

    def launch(self) -> Program:
        """Start it without waiting."""
        self.program = Program(self.command, self.directory, self.output, self.env)
        return self.program

    def start(self) -> Host:
        """Start it, and wait until it listens."""
        program = self.launch()
        program.until_logged("Ctrl-C stops it")
        found = re.search(r"users and peers: hub://(\S+)", program.logged)
        if found:
            self.listen_address = found[1]
        found = re.search(r"web page: http://([^/\s]+)/", program.logged)
        if found:
            self.web_address = found[1]
        return self

    def kill(self) -> None:
        self.running.kill()

    def terminate(self) -> int:
        return self.running.terminate()


class Hosts:
    """Makes hosts and programs, and ends all of them at the end of a test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._hosts: list[Host] = []
        self._programs: list[Program] = []

    def host(
        self,
        application: str | None = "chat:hub",
        example: str | Path = "chat",
        *options: str,
        data: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Host:
        """Return a host that was not started yet."""
        number = len(self._hosts)
        host = Host(
            application,
            EXAMPLES / example if isinstance(example, str) else example,
            data or self.directory / f"space{number}.hub",
            self.directory / f"host{number}.out",
            *options,
            env=env,
        )
        self._hosts.append(host)
        return host

    def serve(
        self, application: str | None = "chat:hub", example: str | Path = "chat", *options: str
    ) -> Host:
        """Return a host that listens."""
        return self.host(application, example, *options).start()

    def run(
        self, *arguments: str, directory: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Program:
        """Start a Python program."""
        output = self.directory / f"program{len(self._programs)}.out"
        program = Program(arguments, directory or self.directory, output, env)
        self._programs.append(program)
        return program

    def hubbub(
        self, *arguments: str, typed: str = "", directory: Path | None = None
    ) -> tuple[int, str, str]:
        """Run ``python -m hubbub`` to its end; return exit status, output and errors."""
        done = subprocess.run(
            [sys.executable, "-m", "hubbub", *arguments],
            cwd=directory or self.directory,
            env=environment(),
            input=typed,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def close(self) -> None:
        running = [h.program for h in self._hosts if h.program is not None] + self._programs
        for program in running:
            program.kill()


async def eventually(condition: Callable[[], Any], what: str, timeout_s: float = 10.0) -> Any:
    """Wait for what can only be looked at, such as a screen."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s:g} s")
        await asyncio.sleep(0.01)
