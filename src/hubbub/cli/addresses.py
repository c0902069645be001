"""Where a host is when nobody says otherwise."""

from __future__ import annotations

import os
from typing import TypedDict

WEB = "127.0.0.1:8000"
LISTEN = "127.0.0.1:1975"
URL = f"hub://{LISTEN}"


def url_of(listen: str) -> str:
    """Return the URL of a host that listens there: ``HOST:PORT``, or the path of a Unix socket."""
    if "://" in listen:
        return listen
    return f"hub+unix://{listen}" if "/" in listen else f"hub://{listen}"


class TLSFiles(TypedDict, total=False):
    """The files of `hubbub.open` that are for TLS."""

    ca: str
    cert: str
    key: str


def tls_files(url: str) -> TLSFiles:
    """Return what the environment says of TLS for ``url``: ``HUBBUB_CA``, ``HUBBUB_CERT``, ``HUBBUB_KEY``.

    Other addresses have no use for it: nothing then.
    """
    found = TLSFiles()
    if url.startswith("hubs://"):
        if ca := os.environ.get("HUBBUB_CA"):
            found["ca"] = ca
        if cert := os.environ.get("HUBBUB_CERT"):
            found["cert"] = cert
        if key := os.environ.get("HUBBUB_KEY"):
            found["key"] = key
    return found
