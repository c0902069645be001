"""Stock parts: what many graphs need in the middle."""

from hubbub.flow.parts.batching import Batch
from hubbub.flow.parts.each import Filter, Map, TagWithSequenceNumber, UnseenOnly
from hubbub.flow.parts.ordering import RecoverOrder
from hubbub.flow.parts.rate import RateLimit
from hubbub.flow.parts.retry import Failed, Retry
from hubbub.flow.parts.tap import Tap

__all__ = [
    "Batch",
    "Failed",
    "Filter",
    "Map",
    "RateLimit",
    "RecoverOrder",
    "Retry",
    "TagWithSequenceNumber",
    "Tap",
    "UnseenOnly",
]
