"""Log lines that a person reads: time, level where it matters, what happened."""

from __future__ import annotations

import logging
import sys
from logging.handlers import WatchedFileHandler

from hubbub.cli.arguments import harmless
from hubbub.kernel import ConfigurationError


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = self.formatTime(record, "%H:%M:%S")
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        # Users' words get into messages. They can't begin a line that looks like ours, nor command the terminal.
        return f"{time}  {level}" + "\n    ".join(map(harmless, text.split("\n")))


def set_up_logs(verbose: bool = False, *, level: str = "info", file: str | None = None) -> None:
    """Write the log to standard error, or to the end of ``file``.

    Raises:
        ConfigurationError: If the file can't be written.
    """
    try:
        handler = logging.StreamHandler(sys.stderr) if file is None else WatchedFileHandler(file)
    except OSError as error:
        raise ConfigurationError(f"the log {file} can't be written: {error.strerror}") from error
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else level.upper())
    for name in ("uvicorn", "uvicorn.error", "websockets", "watchfiles", "asyncio", "httpx"):
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)
