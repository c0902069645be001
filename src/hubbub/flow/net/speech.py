"""How a component's connections speak: which framing, numbered or not; and what of it outlives a connection."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from hubbub.flow.net.acked import Acked, numbered_framing
from hubbub.flow.net.framing import Framing, framing_of, fresh
from hubbub.flow.net.numbering import MOST_WINDOW, WINDOW, Numbering, Origins
from hubbub.flow.net.wires import Encode, Plain, TrackedPlain, Wire
from hubbub.kernel import ConfigurationError


class Speech:
    """Make the wires of one component.

    Args:
        framing: See `hubbub.flow.net.framing`.
        acked: Whether items are numbered, and sent again until they are handled.
        origin: Who numbers; a random name if it is left out.
        first_number: The first number.
        window: So many items may be on their way.
        encode: Makes something of what makes bytes of an item, such as `EncodeOnce`.

    Raises:
        ConfigurationError: If an argument makes no sense.
    """

    def __init__(
        self,
        framing: str | Framing,
        *,
        acked: bool = False,
        origin: str | None = None,
        first_number: int = 1,
        window: int = WINDOW,
        encode: Callable[[Encode], Encode] | None = None,
    ) -> None:
        if not acked and (origin is not None or first_number != 1 or window != WINDOW):
            raise ConfigurationError("origin, first_number and window are for acked=True")
        if origin is not None and not 0 < len(origin) <= 200:
            raise ConfigurationError("an origin is a text of 1 to 200 characters")
        if first_number < 1 or not 1 <= window <= MOST_WINDOW:
            raise ConfigurationError(
                f"first_number has to be at least 1, and window 1 to {MOST_WINDOW}"
            )
        self.acked = acked
        self._framing = framing_of(framing)
        if acked:
            self._framing = numbered_framing(self._framing)
        self._encode = self._framing.encode if encode is None else encode(self._framing.encode)
        self._window = window
        self._origins = Origins()
        self._numbering = Numbering(
            origin or secrets.token_urlsafe(12), first=first_number, items=window
        )

    @property
    def settled(self) -> bool:
        """Whether all that was sent is handled, as far as that is asked for."""
        return not len(self._numbering)

    def wire(self, *, tracked: bool = False, met: Callable[[], None] | None = None) -> Wire:
        """Return what a new connection of this component speaks, which goes on where the last one ended.

        Args:
            tracked: Whether it has to be known when all that came has been handled.
            met: Called when the other side has said who it is, if it does.
        """
        if self.acked:
            return self._acked(self._numbering, met)
        kind = TrackedPlain if tracked else Plain
        return kind(self._encode, fresh(self._framing))

    def wire_of_its_own(self) -> Wire:
        """Return what a new connection speaks that has nothing to do with others."""
        if self.acked:
            return self._acked(Numbering(secrets.token_urlsafe(12), items=self._window), None)
        return Plain(self._encode, fresh(self._framing))

    def _acked(self, numbering: Numbering, met: Callable[[], None] | None) -> Wire:
        return Acked(numbering, self._origins, self._encode, fresh(self._framing), met)
