"""The user's side: `login` from Python, over TCP, TLS or a Unix socket."""

from hubbub.perspective.client.connection import ClientState
from hubbub.perspective.client.feeds import Change
from hubbub.perspective.client.login import Client, Login, login
from hubbub.perspective.client.proxies import Changes, Member, Reference, Request, Stream, Watch

__all__ = [
    "Change",
    "Changes",
    "Client",
    "ClientState",
    "Login",
    "Member",
    "Reference",
    "Request",
    "Stream",
    "Watch",
    "login",
]
