"""Where a host is when nobody says otherwise."""

from __future__ import annotations

import os

WEB = "127.0.0.1:8000"
LISTEN = "127.0.0.1:1975"
URL = f"hub://{LISTEN}"


def url_of(listen: str) -> str:
    """Return the URL of a host that listens there: ``HOST:PORT``, or the path of a Unix socket."""
    if "://" in listen:
        return listen
    return f"hub+unix://{listen}" if "/" in listen else f"hub://{listen}"


def tls_files(url: str) -> dict[str, str]:
    """Return what the environment says of TLS for ``url``: ``HUBBUB_CA``, ``HUBBUB_CERT``, ``HUBBUB_KEY``.

    Other addresses have no use for it: nothing then.
    """
    if not url.startswith("hubs://"):
        return {}
    names = {"ca": "HUBBUB_CA", "cert": "HUBBUB_CERT", "key": "HUBBUB_KEY"}
    return {
        name: os.environ[variable] for name, variable in names.items() if os.environ.get(variable)
    }
