"""Part of the peer wire (`hubbub.wire.peer`): questions beside loads and commits, long jobs, and blobs in pieces."""

from __future__ import annotations

import msgspec

PIECE_BYTES = 1 << 20
"""Bytes of one piece of a blob, at most."""


class _Message(msgspec.Struct, array_like=True, gc=False):
    pass


# --- peer to host ---------------------------------------------------------------------------------------------------


class Ask(_Message, tag=12):
    """Call the method ``method`` of `hubbub.store.upkeep.Upkeep` with ``args``, all of them in order but a job.

    Answered by `Answer`; a long job tells how far it is by `Progress` before.
    """

    id: int
    method: str
    args: msgspec.Raw


class StopJob(_Message, tag=13):
    """Stop the job that `Ask` ``id`` has begun. Its answer still comes."""

    id: int


class PutPiece(_Message, tag=14):
    """Bytes from ``offset`` on of the blob that the peer calls ``name`` until a commit names it. Answered by `Put`."""

    id: int
    name: str
    offset: int
    data: bytes


class DropUpload(_Message, tag=15):
    """The blob that the peer calls ``name`` will not be committed. Not answered."""

    name: str


class GetPiece(_Message, tag=16):
    """Up to ``count`` bytes from ``offset`` on of the blob of ``oid`` in record ``tid``. Answered by `Piece`."""

    id: int
    oid: int
    tid: int
    offset: int
    count: int


class LoadMany(_Message, tag=17):
    """The records of ``oids`` at tid ``at``; answered by `Loaded`, without those that do not exist."""

    id: int
    oids: list[int]
    at: int


# --- host to peer ---------------------------------------------------------------------------------------------------


class Answer(_Message, tag=33):
    """Answer to `Ask`: what the method returned."""

    id: int
    value: msgspec.Raw


class Progress(_Message, tag=34):
    """How far the job of `Ask` ``id`` is; see `hubbub.kernel.Job.step`."""

    id: int
    what: str
    done: int
    total: int


class Put(_Message, tag=35):
    """Answer to `PutPiece`: the piece is kept."""

    id: int


class Piece(_Message, tag=36):
    """Answer to `GetPiece`. ``size`` is that of the whole blob; fewer bytes than asked for come at its end only."""

    id: int
    data: bytes
    size: int
