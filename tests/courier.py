"""A graph environment: a courier walks through a small town whose streets are closed behind it.

Observed is the town as a Graph: a node a place (here, parcel, depot: float32), an edge a street that is open (its number
and its length). Nodes and edges get fewer from step to step; the last observations have no edge at all. Everything
follows from the seed and the actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.spaces import GraphInstance

from rolltape.schema.adapters.adapter import EnvironmentAdapter, RenderDescription, StateField, derives_from
from rolltape.schema.render_payload import GraphEdge, GraphNode, GraphPayload

DEGREE = 4


class Courier(gym.Env[Any, Any]):
    """Reward is minus the length of the street; 5 for a parcel brought to the depot. Ends there, or in a dead end."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = spaces.Graph(
        node_space=spaces.Box(0.0, 1.0, (3,), np.float32), edge_space=spaces.Box(0.0, np.inf, (2,), np.float64)
    )
    action_space = spaces.Discrete(DEGREE)

    def __init__(self, places: int = 8, render_mode: str | None = None) -> None:
        self.places = places
        self.render_mode = render_mode
        self.here = -1
        self.parcel = 0
        self.carries = False
        self.streets: dict[tuple[int, int], float] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        n = self.places
        lengths = self.np_random.random((n, n))
        chosen = self.np_random.random((n, n)) < 0.5
        self.streets = {(a, b): float(lengths[a, b]) for a in range(n) for b in range(a + 1, n) if chosen[a, b]}
        self.here, self.parcel = 0, int(self.np_random.integers(1, n - 1))
        self.carries = False
        return self._observation(), {"action_mask": self._mask()}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        ways = self.ways()
        reward, done = -1.0, not ways
        if ways:
            street = ways[int(action) % len(ways)]
            reward = -self.streets.pop(street)
            self.here = street[0] if street[1] == self.here else street[1]
            self.carries = self.carries or self.here == self.parcel
            if self.here == self.places - 1:
                done, reward = True, reward + 5.0 * self.carries
        return self._observation(), reward, done, False, {"action_mask": self._mask(), "carries": self.carries}

    def ways(self) -> list[tuple[int, int]]:
        """The open streets from here, at most `DEGREE`."""
        return [street for street in self.streets if self.here in street][:DEGREE]

    def _mask(self) -> np.ndarray:
        return (np.arange(DEGREE) < len(self.ways())).astype(np.int8)

    def _observation(self) -> GraphInstance:
        nodes = np.zeros((self.places, 3), np.float32)
        nodes[self.here, 0] = 1
        if not self.carries:
            nodes[self.parcel, 1] = 1
        nodes[-1, 2] = 1
        if not self.streets:
            return GraphInstance(nodes=nodes, edges=None, edge_links=None)
        links = np.array(list(self.streets), np.int32)
        edges = np.array([[i, length] for i, length in enumerate(self.streets.values())], np.float64)
        return GraphInstance(nodes=nodes, edges=edges, edge_links=links)


def make_courier(**kwargs: Any) -> gym.Env[Any, Any]:
    """An entry point: `tests.courier:make_courier`."""
    return Courier(**kwargs)


class CourierAdapter(EnvironmentAdapter):
    """The town as a graph payload, also from recorded state."""

    name = "courier"

    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        return derives_from(env, f"{__name__}:Courier")

    def action_names(self) -> tuple[str, ...]:
        return tuple(f"way {number}" for number in range(DEGREE))

    def state_fields(self) -> Mapping[str, StateField]:
        return {
            "here": StateField("int64", "the place where the courier is"),
            "parcel": StateField("int64", "the place where the parcel waits"),
            "carries": StateField("bool", "the courier has the parcel"),
            "places": StateField("int64", "places of the town; the last is the depot"),
            "streets": StateField("str", "open streets as a-b, joined by spaces"),
        }

    def describe_render(self) -> RenderDescription:
        return RenderDescription(("graph",), True, {"depot": "where parcels go", "parcel": "waits there"})

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        base: Any = env.unwrapped
        if base.here < 0:
            return {}
        return {
            "here": base.here,
            "parcel": base.parcel,
            "carries": base.carries,
            "places": base.places,
            "streets": " ".join(f"{a}-{b}" for a, b in base.streets),
        }

    def render_payload(self, env: gym.Env[Any, Any]) -> GraphPayload | None:
        return self.payload_of_state(self.state(env))

    def payload_of_state(self, state: Mapping[str, Any]) -> GraphPayload | None:
        if not state:
            return None
        roles = {state["places"] - 1: "depot"}
        if not state["carries"]:
            roles[state["parcel"]] = "parcel"
        roles[state["here"]] = "agent"
        nodes = tuple(GraphNode(id=str(i), label=str(i), role=roles.get(i, "")) for i in range(state["places"]))
        streets = [street.split("-") for street in state["streets"].split()]
        edges = tuple(GraphEdge(source=a, target=b) for a, b in streets)
        return GraphPayload(nodes=nodes, edges=edges, facts={"carries": state["carries"]})
