from __future__ import annotations

from pathlib import Path

import pytest
import ZODB

import hubbub
from hubbub.kernel import ConfigurationError, SpaceInUseError, StoreError
from hubbub.zodb import HubbubStorage


def test_a_space_of_zodb_is_not_taken_for_one_of_hubbubs_own(tmp_path: Path) -> None:
    ZODB.DB(HubbubStorage(tmp_path / "data.hub")).close()
    with hubbub.open(tmp_path / "data.hub") as space:
        with pytest.raises(StoreError, match=r"hubbub\.zodb\.HubbubStorage") as caught:
            space.read(lambda root: dict(root))
        assert "import --native" in str(caught.value)
        with pytest.raises(StoreError, match=r"hubbub\.zodb\.HubbubStorage"):
            space.run(lambda root: root.update(a=1))
    ZODB.DB(HubbubStorage(tmp_path / "data.hub")).close()


def test_a_file_has_one_owner_and_its_name_is_told(tmp_path: Path) -> None:
    storage = HubbubStorage(tmp_path / "data.hub")
    with pytest.raises(SpaceInUseError):
        HubbubStorage(tmp_path / "data.hub")
    storage.close()
    storage.close()
    HubbubStorage(tmp_path / "data.hub").close()


def test_a_storage_that_only_reads_makes_no_space(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no space"):
        HubbubStorage(tmp_path / "data.hub", read_only=True)


def test_a_url_that_names_nothing_says_what_would_do() -> None:
    with pytest.raises(ConfigurationError, match="hub://host:port"):
        HubbubStorage("http://example.org")
