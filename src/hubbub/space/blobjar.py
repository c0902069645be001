"""The part of a connection that is about blobs: where their files are, and what a transaction has written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubbub.kernel import NO_BLOBS, Record, UnstorableError
from hubbub.space.blob import Blob
from hubbub.space.blobfiles import BLOB_CLASS, BlobFiles, StagedBlobs


class BlobJar:
    """The base of a connection.

    Attributes:
        blobs: Where files are; None: there are none.
        staged: What the running transaction has written; None: nothing.
    """

    def __init__(self) -> None:
        self.blobs: BlobFiles | None = None
        self.staged: StagedBlobs | None = None

    def get(self, oid: int, class_name: str | None = None) -> Any:
        """See `hubbub.space.connection.Connection`."""
        raise NotImplementedError

    def _check_writable(self, obj: Any) -> None:
        raise NotImplementedError

    def check_writable(self, obj: Any) -> None:
        """Check that ``obj`` may be changed now. Raises as `register`."""
        self._check_writable(obj)

    def blob_files(self) -> BlobFiles:
        """Return where the files of blobs are.

        Raises:
            UnstorableError: If there are none here.
        """
        if self.blobs is None:
            raise UnstorableError("a blob", "can't be used here: this space has no files")
        return self.blobs

    def staged_blobs(self) -> StagedBlobs:
        """Return what this transaction has written into blobs."""
        if self.staged is None:
            self.staged = StagedBlobs(self.blob_files())
        return self.staged

    def _blobs_of(self, records: list[Record]) -> Mapping[int, str]:
        if self.staged is None:
            return NO_BLOBS
        return self.staged.name_files(
            [record for record in records if record.class_name == BLOB_CLASS],
            self._digest_of,
        )

    def _digest_of(self, record: Record) -> bytes:
        blob: Blob = self.get(record.oid, BLOB_CLASS)
        return blob._digest
