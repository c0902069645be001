"""A new answer of a live query, as all sessions get it that watch under the same id in the same form (LV2).

What many sessions get is put together once, so a session only looks which of the two forms it needs: the patch, if it
has the answer that this builds on, or the whole.
"""

from __future__ import annotations

from msgspec import Raw

from hubbub.wire.deliveries import Encoded, encoded
from hubbub.wire.session import Answer


class NewAnswer:
    """The newest answer of a watch, whole and as a patch.

    Args:
        watch_id: The number that the sessions have for the watch.
        form: ``json`` or ``msgpack``.
        tid: Of the answer, as text.
        value: The whole answer, its bytes shared by all who watch; None if only a patch is at hand.
        patch: What makes it of the answer as of ``base_tid``; None if there is none.
        base_tid: As text; empty where ``patch`` does not count.

    Attributes:
        patch: The delivery that has the patch, or None.
    """

    __slots__ = ("_form", "_whole", "base_tid", "patch", "tid", "value", "watch_id")

    def __init__(
        self,
        watch_id: int,
        form: str,
        tid: str,
        value: bytes | None,
        patch: bytes | None = None,
        base_tid: str = "",
    ) -> None:
        self.watch_id = watch_id
        self._form = form
        self._whole: Encoded | None = None
        self.tid = tid
        self.base_tid = base_tid
        self.value = value
        self.patch: Encoded | None = None
        if patch is not None and base_tid:
            delivery = Answer(0, watch_id, tid, patch=Raw(patch))
            self.patch = encoded(delivery, form, kept=True)

    def whole(self) -> Encoded | None:
        """Return the delivery that has the whole answer; None if only a patch is at hand."""
        if self._whole is None and self.value is not None:
            delivery = Answer(0, self.watch_id, self.tid, value=Raw(self.value))
            self._whole = encoded(delivery, self._form, kept=True)
        return self._whole
