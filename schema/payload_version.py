"""The version of what a step's row means, in a module of its own: settings name it, and must not load Arrow."""

from typing import Final

PAYLOAD_VERSION: Final = 1
