"""Every Gymnasium space: its descriptor, its signature, and its values as Arrow columns. The door to
`space_*`."""

from __future__ import annotations

from .space_codec import SpaceCodec
from .space_descriptor import Descriptor, describe_space
from .space_node import Leaf
from .space_rebuild import space_from_descriptor
from .space_signature import canonical_json, space_signature
from .space_stand_in import substitute_space

__all__ = [
    "Descriptor",
    "Leaf",
    "SpaceCodec",
    "canonical_json",
    "describe_space",
    "space_from_descriptor",
    "space_signature",
    "substitute_space",
]
