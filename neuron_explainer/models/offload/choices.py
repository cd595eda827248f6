"""The values of the argument `offload`. Nothing here imports torch, so that the command's help stays quick."""

from typing import Literal

Offload = Literal["disk"]
"""Where weights can stay that do not fit into the memory."""
