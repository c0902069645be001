"""A host in a process of its own, to be killed: ``python host_process.py FILE PORT``. Prints ``ready``."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).parents[3]
    sys.path[:0] = [str(root), str(root / "src")]
    from hubbub.store import open_store
    from tests.conformance.mount.serving import HostThread

    HostThread(open_store(sys.argv[1]), port=int(sys.argv[2]))
    print("ready", flush=True)
    threading.Event().wait()
