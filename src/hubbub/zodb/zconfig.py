"""The section ``<hubbub>`` of ZODB's configuration; ``component.xml`` beside this module describes its keys."""

from __future__ import annotations

from ZODB.config import BaseConfig

from hubbub.zodb.storage import HubbubStorage


class HubbubSection(BaseConfig):
    """What ``<hubbub>`` says; `open` makes the storage."""

    def open(self) -> HubbubStorage:
        """Open the storage.

        Raises:
            HubbubError: As `HubbubStorage`.
        """
        config = self.config
        return HubbubStorage(
            config.url,
            read_only=config.read_only,
            blob_dir=config.blob_dir or None,
            pack_gc=config.pack_gc,
            token=config.token,
            name=config.name,
            wait_timeout_s=config.wait_timeout,
            cache_bytes=config.cache_size,
            server_sync=config.server_sync,
            ca=config.ca,
            cert=config.cert,
            key=config.key,
        )
