"""Where a host is when nobody says otherwise."""

WEB = "127.0.0.1:8000"
LISTEN = "127.0.0.1:1975"
URL = f"hub://{LISTEN}"


def url_of(listen: str) -> str:
    """Return the URL of a host that listens there: ``HOST:PORT``, or the path of a Unix socket."""
    if "://" in listen:
        return listen
    return f"hub+unix://{listen}" if "/" in listen else f"hub://{listen}"
