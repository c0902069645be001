from __future__ import annotations

from pathlib import Path

import pytest
import transaction
import ZConfig
from ZODB.config import databaseFromString, storageFromString

from hubbub.kernel import ConfigurationError
from hubbub.zodb import HubbubStorage


def test_an_application_moves_by_its_configuration(tmp_path: Path) -> None:
    text = f"""
        %import hubbub.zodb
        <zodb main>
          <hubbub>
            url {tmp_path}/data.hub
            blob-dir {tmp_path}/blobs
          </hubbub>
        </zodb>
    """
    for count in (1, 2):
        database = databaseFromString(text)
        with database.transaction() as connection:
            connection.root()["count"] = connection.root().get("count", 0) + 1
        assert isinstance(database.storage, HubbubStorage)
        with database.transaction() as connection:
            assert connection.root()["count"] == count
        database.close()


def test_all_keys_reach_the_storage() -> None:
    storage = storageFromString("""
        %import hubbub.zodb
        <hubbub>
          url memory:
          read-only true
          pack-gc false
          name the data
          wait-timeout 5s
          cache-size 1MB
          server-sync true
        </hubbub>
    """)
    assert storage.getName() == "the data"
    assert storage.isReadOnly()
    storage.sync()
    storage.close()


def test_a_section_without_a_url_is_no_section() -> None:
    with pytest.raises(ZConfig.ConfigurationSyntaxError, match="url"):
        storageFromString("%import hubbub.zodb\n<hubbub>\n</hubbub>")


def test_a_url_that_names_nothing_says_what_would_do() -> None:
    with pytest.raises(ConfigurationError, match="hub://"):
        storageFromString("%import hubbub.zodb\n<hubbub>\nurl http://x\n</hubbub>")


def teardown_module() -> None:
    transaction.abort()
