"""MiniGrid worlds, as grids: walls, doors, keys, lava, the agent and what it carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from rolltape.schema.render_payload import GridItem, GridPayload

from .adapter import EnvironmentAdapter, RenderDescription, StateField, derives_from

OBJECTS = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent")
"""MiniGrid's numbers of objects, which are part of its observations and do not change."""
COLORS = ("red", "green", "blue", "purple", "yellow", "grey")
DOORS = ("open", "closed", "locked")
FACINGS = ("right", "down", "left", "up")
_ON_FLOOR = {"key", "ball", "box"}
_EMPTY = "empty black"


class MiniGridAdapter(EnvironmentAdapter):
    """Everything that derives from MiniGridEnv, BabyAI's levels too."""

    name: ClassVar[str] = "minigrid"

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        """Learn the size of the world and the names of the actions."""
        super().__init__(env)
        base: Any = env.unwrapped
        self._shape = int(base.width), int(base.height)
        self._actions = tuple(action.name for action in base.actions)

    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        """Every such world."""
        return derives_from(env, "minigrid.minigrid_env:MiniGridEnv")

    def action_names(self) -> tuple[str, ...]:
        """What the agent may do."""
        return self._actions

    def state_fields(self) -> Mapping[str, StateField]:
        """The world as MiniGrid encodes it, the agent, and its mission."""
        width, height = self._shape
        return {
            "width": StateField("int64", "columns of the world", unit="cells"),
            "column": StateField("int64", "column of the agent, 0 at the left"),
            "row": StateField("int64", "row of the agent, 0 at the top"),
            "direction": StateField("int64", "where it looks: 0 right, 1 down, 2 left, 3 up"),
            "carrying": StateField("str", "what it carries, color first, or nothing"),
            "mission": StateField("str", "what it is to do"),
            "world": StateField(
                "uint8", "object, color and state of every cell, column by column", shape=(width * height * 3,)
            ),
        }

    def describe_render(self) -> RenderDescription:
        """A grid."""
        legend = {"door": "open, closed or locked", "lava": "ends the episode", "goal": "ends it with a reward"}
        return RenderDescription(("grid",), True, legend)

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        """The whole world, not only what the agent sees."""
        base: Any = env.unwrapped
        if base.agent_pos is None or base.agent_dir is None or base.agent_dir < 0:
            return {}
        carried = base.carrying
        column, row = base.agent_pos
        return {
            "width": int(base.grid.width),
            "column": int(column),
            "row": int(row),
            "direction": int(base.agent_dir),
            "carrying": f"{carried.color} {carried.type}" if carried is not None else "",
            "mission": str(base.mission),
            "world": np.asarray(base.grid.encode(), np.uint8).reshape(-1),
        }

    def render_payload(self, env: gym.Env[Any, Any]) -> GridPayload | None:
        """The world and the agent in it."""
        return self.payload_of_state(self.state(env))

    def payload_of_state(self, state: Mapping[str, Any]) -> GridPayload | None:
        """The world and the agent in it."""
        if not state:
            return None
        world = np.asarray(state["world"], np.uint8).reshape(state["width"], -1, 3)
        numbers = world.astype(np.int32) @ np.array([65536, 256, 1])
        kinds, places = np.unique(numbers, return_inverse=True)
        tiles, things = [], {}
        for place, kind in enumerate(kinds.tolist()):
            name, color = _named(kind)
            on_floor = name in _ON_FLOOR
            tiles.append(_EMPTY if on_floor or name == "empty" else f"{name} {color}")
            if on_floor:
                things[place] = name, color
        cells: Any = places.reshape(numbers.shape).T
        items = [
            GridItem(name=name, row=int(row), column=int(column), color=color)
            for place, (name, color) in things.items()
            for row, column in np.argwhere(cells == place)
        ]
        facing = FACINGS[state["direction"]]
        items.append(GridItem(name="agent", row=state["row"], column=state["column"], facing=facing, color="red"))
        facts = {"mission": state["mission"]}
        if state["carrying"]:
            facts["carrying"] = state["carrying"]
        return GridPayload(
            rows=cells.shape[0],
            columns=cells.shape[1],
            tiles=tuple(tiles),
            cells=tuple(map(tuple, cells.tolist())),
            items=tuple(items),
            facts=facts,
        )


def _named(kind: int) -> tuple[str, str]:
    """The name of an object, with the state of a door, and its color."""
    thing, color, state = kind >> 16, kind >> 8 & 255, kind & 255
    name = OBJECTS[thing] if thing < len(OBJECTS) else f"object-{thing}"
    if name == "door" and state < len(DOORS):
        name = f"{DOORS[state]}-door"
    return name, COLORS[color] if color < len(COLORS) else "white"
