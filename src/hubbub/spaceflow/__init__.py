"""Where flow and spaces meet: a space's feed as the beginning of a graph, a space as its end.

SpaceSource --commits, from a tid on--> ... --> SpaceSink    each item stored exactly once
"""

from hubbub.spaceflow.positions import handled_up_to
from hubbub.spaceflow.sink import SpaceSink
from hubbub.spaceflow.source import SpaceSource

__all__ = ["SpaceSink", "SpaceSource", "handled_up_to"]
