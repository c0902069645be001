"""What a process serves: spaces with their hubs, on the addresses, with the rights, that a command or a file declares.

command line --.
+--> Plan --> Serving: hubs started, doors open
hub.toml ------'
"""

from hubbub.serving.configuration import Configuration, read_configuration
from hubbub.serving.doors import Serving
from hubbub.serving.plan import ListenPlan, Plan, Public, SpacePlan, TLSPlan

__all__ = [
    "Configuration",
    "ListenPlan",
    "Plan",
    "Public",
    "Serving",
    "SpacePlan",
    "TLSPlan",
    "read_configuration",
]
