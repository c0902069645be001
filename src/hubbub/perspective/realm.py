"""The realm: gives each identity its avatar."""

from __future__ import annotations

from typing import Any

from hubbub.kernel import NotAllowedError
from hubbub.perspective.avatar import Avatar, refuse_coroutines
from hubbub.perspective.identity import Identity
from hubbub.space.root import Root


class Realm:
    """Decide which avatar a user gets. An application subclasses it and overrides `request_avatar`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        refuse_coroutines(cls, ("request_avatar",))

    def request_avatar(self, root: Root, who: Identity) -> Avatar:
        """Return the avatar of ``who``. It is itself a command: it runs in a transaction, once for each session.

        Raises:
            Refused: To turn the user away with the application's own words.
        """
        raise NotAllowedError("this realm has no avatars for users")
