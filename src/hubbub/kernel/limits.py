"""How much an outsider may ask for (PE5, PE7). Every bound that a queue, table or message has is named here."""

from __future__ import annotations

import msgspec

from hubbub.kernel.errors import ConfigurationError


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The declared limits of a hub. Whoever passes one gets a clear error, and nobody else notices.

    Attributes:
        max_message_bytes: Bytes of one message from a user.
        nesting: Levels of lists and objects within the arguments of one call.
        max_calls: Calls of one session that run, or whose results it has not acknowledged.
        max_watches: Watches and streams of one session.
        max_mind_calls: Calls of one session's mind that wait for its answer.
        backlog_items: Deliveries of one session: sent and not acknowledged, or waiting.
        backlog_bytes: Bytes of the same; also the bytes of results that a session leaves unacknowledged.
        grace_s: Seconds that a session outlives its connection.
        heartbeat_s: Seconds between two signs of life, either way.
        max_connections: Connections to the host.
        max_connections_per_address: Connections to the host from one address.
        max_sessions: Sessions of the host, connected or in their grace time.
        max_live_queries: Different queries and views that are watched at the same time.
        kept_answer_bytes: Bytes of the newest answers of all watched queries and views.
        max_name_chars: Characters of a user's name.
        failed_logins: Failed logins from one address within ``failed_logins_s`` after which it has to wait.
        failed_logins_s: Seconds after which a failed login is forgotten.
        failed_login_addresses: Addresses whose failed logins are remembered at the same time.
        password_checks: Passwords that are hashed at the same time (each takes a thread and 64 MiB).
        password_checks_waiting: Logins that wait for such a thread.
    """

    max_message_bytes: int = 1 << 20
    nesting: int = 64
    max_calls: int = 1000
    max_watches: int = 200
    max_mind_calls: int = 100
    backlog_items: int = 1000
    backlog_bytes: int = 4 << 20
    grace_s: float = 60.0
    heartbeat_s: float = 15.0
    max_connections: int = 10_000
    max_connections_per_address: int = 200
    max_sessions: int = 20_000
    max_live_queries: int = 10_000
    kept_answer_bytes: int = 256 << 20
    max_name_chars: int = 40
    failed_logins: int = 10
    failed_logins_s: float = 60.0
    failed_login_addresses: int = 10_000
    password_checks: int = 2
    password_checks_waiting: int = 100

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not value > 0:
                raise ConfigurationError(f"limit {name} has to be more than 0, not {value!r}")
