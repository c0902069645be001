"""Certificates for tests: of a host, of peers, good ones and bad ones."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import trustme

PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


class Certificates:
    """Write what the tests need to ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority, self.stranger = trustme.CA(), trustme.CA()
        self.ca = self._file("ca.pem")
        self.authority.cert_pem.write_to_path(self.ca)
        self.other_ca = self._file("other-ca.pem")
        self.stranger.cert_pem.write_to_path(self.other_ca)
        self.host = self._issue("host", self.authority, "127.0.0.1", "localhost")
        self.expired_host = self._issue("expired-host", self.authority, "127.0.0.1", expired=True)
        self.elsewhere = self._issue("elsewhere", self.authority, "elsewhere.example")
        self.worker = self._issue("worker", self.authority, "worker.example", name="worker")
        self.nobody = self._issue("nobody", self.authority, "nobody.example", name="nobody")
        self.expired = self._issue(
            "expired", self.authority, "worker.example", name="worker", expired=True
        )
        self.forged = self._issue("forged", self.stranger, "worker.example", name="worker")

    def _file(self, name: str) -> str:
        return str(self.directory / name)

    def _issue(
        self,
        file: str,
        authority: trustme.CA,
        *hosts: str,
        name: str | None = None,
        expired: bool = False,
    ) -> str:
        made = authority.issue_cert(
            *hosts,
            common_name=name,
            not_before=PAST if expired else None,
            not_after=PAST + dt.timedelta(days=1) if expired else None,
        )
        path = self._file(f"{file}.pem")
        made.private_key_and_cert_chain_pem.write_to_path(path)
        return path
