"""Run one measure in this process, and print its values as the last line of JSON.

python -m bench.cell 'MODULE:FUNCTION [WORD ...]' '[SECONDS, ...]'

The function gets the words after the numbers: ``bench.rivals.loads:cold zeo`` is ``cold(seconds, "zeo")``.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
from typing import Any

from bench.harness import MissingError


def answer(measure: str, arguments: list[Any]) -> dict[str, Any]:
    """Return ``{"values": ...}`` or ``{"missing": reason}``."""
    name, *words = measure.split()
    module, _, function = name.partition(":")
    try:
        values = getattr(importlib.import_module(module), function)(*arguments, *words)
    except MissingError as error:
        return {"missing": str(error)}
    except ImportError as error:
        return {"missing": f"not installed: {error}"}
    return {"values": values}


def main() -> None:
    """Run what the command line names. SIGTERM, at the end of its time, lets it stop its servers."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print("\n" + json.dumps(answer(sys.argv[1], json.loads(sys.argv[2]))), flush=True)


if __name__ == "__main__":
    main()
