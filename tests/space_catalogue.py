"""Spaces by name: every kind, and every way in which one lies in Arrow. Their signatures are golden.

`python -m tests.space_catalogue` writes `tests/golden/space_signatures.json` anew; a signature that changes
makes recorded runs look as if they were of other spaces, so that is done for new names only.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces as gs

GOLDEN = Path(__file__).parent / "golden" / "space_signatures.json"

BOOL: Any = bool
"""Gymnasium takes it as the dtype of a Box, its annotations do not."""

_CARTPOLE = np.array([4.8, np.inf, 0.41887903, np.inf], np.float32)

_KEYS: Any = OrderedDict(
    [("a", gs.Discrete(2)), ("A", gs.Discrete(3)), (1, gs.Discrete(4)), ("1", gs.Discrete(5)), ("a.b\0", gs.Text(3))]
)

CATALOGUE: dict[str, gym.Space[Any]] = {
    "discrete": gs.Discrete(4),
    "discrete_uint64_large": gs.Discrete(2**63, start=2**63 - 1, dtype=np.uint64),
    "discrete_int8_start": gs.Discrete(5, start=-2, dtype=np.int8),
    "box_scalar": gs.Box(-1.0, 1.0, ()),
    "box_cartpole": gs.Box(-_CARTPOLE, _CARTPOLE),
    "box_float16": gs.Box(-2.0, 2.0, (2, 3), np.float16),
    "box_float64_bounds": gs.Box(np.linspace(-1, 0, 99), np.linspace(0, 1, 99), dtype=np.float64),
    "box_uint64": gs.Box(0, 2**64 - 1, (2,), np.uint64),
    "box_int64_infinite": gs.Box(-np.inf, np.inf, (2,), np.int64),
    "box_bool": gs.Box(0, 1, (3, 3), BOOL),
    "box_image": gs.Box(0, 255, (84, 84, 1), np.uint8),
    "box_long_double": gs.Box(-1.0, 1.0, (2,), np.longdouble),
    "box_big_endian": gs.Box(-1.0, 1.0, (3,), np.dtype(">f4")),
    "box_empty": gs.Box(0.0, 1.0, (3, 0)),
    "multi_binary": gs.MultiBinary(8),
    "multi_binary_axes": gs.MultiBinary([2, 3]),
    "multi_binary_large": gs.MultiBinary(5000),
    "multi_discrete": gs.MultiDiscrete([5, 2, 2], start=[0, -1, 7]),
    "multi_discrete_uint8": gs.MultiDiscrete(np.full((2, 2), 3), dtype=np.uint8),
    "text": gs.Text(9),
    "text_unicode": gs.Text(5, min_length=0, charset="aß雪🎲\0"),
    "text_surrogates": gs.Text(4, min_length=0, charset="a\ud800\udfff"),
    "dict": gs.Dict(position=gs.Box(-1.0, 1.0, (2,)), lives=gs.Discrete(4), inventory=gs.MultiBinary(3)),
    "dict_keys": gs.Dict(_KEYS),
    "dict_empty": gs.Dict(),
    "tuple": gs.Tuple([gs.Discrete(2), gs.Box(0, 255, (70, 70), np.uint8)]),
    "tuple_empty": gs.Tuple([]),
    "sequence": gs.Sequence(gs.Box(-1.0, 1.0, (2,))),
    "sequence_stacked": gs.Sequence(gs.Dict(at=gs.Box(-1.0, 1.0, (2,)), of=gs.Discrete(3)), stack=True),
    "sequence_of_sequences": gs.Sequence(gs.Sequence(gs.Text(4), stack=True)),
    "sequence_of_nothing": gs.Sequence(gs.Tuple([])),
    "graph": gs.Graph(gs.Box(-1.0, 1.0, (3,)), gs.Discrete(4)),
    "graph_without_edges": gs.Graph(gs.Discrete(5), None),
    "graph_of_dicts": gs.Graph(gs.Dict(kind=gs.Discrete(3), name=gs.Text(5)), gs.Box(0, 9, (), np.int32)),
    "one_of": gs.OneOf([gs.Discrete(3), gs.Box(-1.0, 1.0, (2,)), gs.Text(4), gs.Dict(x=gs.Sequence(gs.Discrete(2)))]),
    "nested": gs.Dict(
        units=gs.Sequence(gs.Dict(kind=gs.OneOf([gs.Discrete(2), gs.Tuple([gs.MultiBinary(2), gs.Text(3)])]))),
        map=gs.Tuple([gs.Box(0, 255, (65, 65), np.uint8), gs.Graph(gs.Discrete(9), gs.Tuple([]))]),
    ),
}  # fmt: skip


def main() -> None:
    """Write the golden file."""
    from rolltape.schema.spaces import space_signature

    GOLDEN.parent.mkdir(exist_ok=True)
    signatures = {name: space_signature(space) for name, space in CATALOGUE.items()}
    GOLDEN.write_text(json.dumps(signatures, indent=2) + "\n")


if __name__ == "__main__":
    main()
