"""What we hand to authors of applications for their tests."""

from hubbub.testing.hub import TestHub
from hubbub.testing.unit import UnitTransaction, transaction

__all__ = ["TestHub", "UnitTransaction", "transaction"]
