"""Components joined by boxes. Knows no store and no wire protocol."""

from hubbub.flow.backplane import Backplane, Published, Subscription

__all__ = ["Backplane", "Published", "Subscription"]
