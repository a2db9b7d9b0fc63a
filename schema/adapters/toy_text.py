"""Gymnasium's toy-text environments, as grids."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

import gymnasium as gym

from rolltape.schema.render_payload import GridItem, GridPayload

from .adapter import EnvironmentAdapter, RenderDescription, StateField, derives_from

_TOY = "gymnasium.envs.toy_text"
POSITION = {
    "row": StateField("int64", "row of the agent, 0 at the top"),
    "column": StateField("int64", "column of the agent, 0 at the left"),
}


class FrozenLakeAdapter(EnvironmentAdapter):
    """FrozenLake with any map: ice, holes, start, goal and the agent."""

    name: ClassVar[str] = "frozen_lake"

    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        """FrozenLake and what derives from it."""
        return derives_from(env, f"{_TOY}.frozen_lake:FrozenLakeEnv")

    def action_names(self) -> tuple[str, ...]:
        """The four directions."""
        return ("left", "down", "right", "up")

    def state_fields(self) -> Mapping[str, StateField]:
        """The agent's cell and the map, which may differ from one sub-environment to the next."""
        letters = "rows of the map, joined by /: S start, F ice, H hole, G goal"
        return {**POSITION, "map": StateField("str", letters)}

    def describe_render(self) -> RenderDescription:
        """A grid."""
        return RenderDescription(("grid",), True, {"ice": "safe", "hole": "ends the episode", "goal": "reward 1"})

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        """Row, column and map."""
        base: Any = env.unwrapped
        at = getattr(base, "s", None)
        if at is None:
            return {}
        row, column = divmod(int(at), int(base.ncol))
        return {"row": row, "column": column, "map": _letters(base.desc.tobytes(), base.desc.shape[1])}

    def render_payload(self, env: gym.Env[Any, Any]) -> GridPayload | None:
        """The map and the agent on it."""
        return self.payload_of_state(self.state(env))

    def payload_of_state(self, state: Mapping[str, Any]) -> GridPayload | None:
        """The map and the agent on it."""
        if not state:
            return None
        tiles, cells = _lake(state["map"])
        agent = GridItem(name="agent", row=state["row"], column=state["column"], color="#d33")
        return GridPayload(rows=len(cells), columns=len(cells[0]), tiles=tiles, cells=cells, items=(agent,))


@cache
def _letters(desc: bytes, columns: int) -> str:
    text = desc.decode("ascii")
    return "/".join(text[i : i + columns] for i in range(0, len(text), columns))


@cache
def _lake(letters: str) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    places = {"F": 0, "S": 1, "H": 2, "G": 3}
    cells = tuple(tuple(places.get(letter, 0) for letter in row) for row in letters.split("/"))
    return ("ice lightblue", "start lightblue", "hole navy", "goal gold"), cells


class CliffWalkingAdapter(EnvironmentAdapter):
    """CliffWalking: the path, the cliff below it, the goal and the agent."""

    name: ClassVar[str] = "cliff_walking"

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        """Learn where the cliff is: the cells from which the transitions send the agent back with -100."""
        super().__init__(env)
        base: Any = env.unwrapped
        rows, columns = (int(size) for size in base.shape)
        cliff = _cliff(base.P, rows, columns)
        goal = (rows - 1, columns - 1)
        self._cells = tuple(
            tuple(1 if (r, c) in cliff else 2 if (r, c) == goal else 0 for c in range(columns)) for r in range(rows)
        )

    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        """CliffWalking and what derives from it."""
        return derives_from(env, f"{_TOY}.cliffwalking:CliffWalkingEnv")

    def action_names(self) -> tuple[str, ...]:
        """The four directions."""
        return ("up", "right", "down", "left")

    def state_fields(self) -> Mapping[str, StateField]:
        """The agent's cell."""
        return POSITION

    def describe_render(self) -> RenderDescription:
        """A grid."""
        return RenderDescription(("grid",), True, {"cliff": "reward -100, and back to the start", "goal": "the end"})

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        """Row and column."""
        base: Any = env.unwrapped
        at = getattr(base, "s", None)
        if at is None:
            return {}
        row, column = divmod(int(at), len(self._cells[0]))
        return {"row": row, "column": column}

    def render_payload(self, env: gym.Env[Any, Any]) -> GridPayload | None:
        """The cliff and the agent."""
        return self.payload_of_state(self.state(env))

    def payload_of_state(self, state: Mapping[str, Any]) -> GridPayload | None:
        """The cliff and the agent."""
        if not state:
            return None
        agent = GridItem(name="agent", row=state["row"], column=state["column"], color="#d33")
        tiles = ("path tan", "cliff firebrick", "goal gold")
        cells = self._cells
        return GridPayload(rows=len(cells), columns=len(cells[0]), tiles=tiles, cells=cells, items=(agent,))


def _cliff(transitions: Any, rows: int, columns: int) -> set[tuple[int, int]]:
    """The cells that an agent falls from, by the public transitions: those aimed at by an outcome of -100.

    An action has one outcome, or where it is slippery three: the directions before it, its own, and the one after it.
    """
    moves = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left
    found = set()
    for state, actions in transitions.items():
        row, column = divmod(int(state), columns)
        for action, outcomes in actions.items():
            turns = (0,) if len(outcomes) == 1 else (-1, 0, 1)
            for turn, (_, _, reward, _) in zip(turns, outcomes, strict=True):
                down, right = moves[(action + turn) % 4]
                if reward == -100:
                    found.add((min(max(row + down, 0), rows - 1), min(max(column + right, 0), columns - 1)))
    return found


class TaxiAdapter(EnvironmentAdapter):
    """Taxi: streets, walls, the four stops, the taxi, its passenger and the destination."""

    name: ClassVar[str] = "taxi"

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        """Learn the streets from the map that the environment draws as text."""
        super().__init__(env)
        base: Any = env.unwrapped
        lines = base.desc.tolist()  # +---------+ and |R: | : :G|: cells between : for a way and | for a wall
        rows, columns = len(lines) - 2, (len(lines[0]) - 1) // 2
        self._stops = tuple((int(row), int(column)) for row, column in base.locs)
        self._letters = tuple(lines[row + 1][2 * column + 1].decode() for row, column in self._stops)
        self._colors = tuple(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in base.locs_colors)
        at = {stop: number + 1 for number, stop in enumerate(self._stops)}
        self._cells = tuple(tuple(at.get((row, column), 0) for column in range(columns)) for row in range(rows))
        self._walls = tuple(
            (row, column, "east")
            for row in range(rows)
            for column in range(columns - 1)
            if lines[row + 1][2 * column + 2] == b"|"
        )
        self._tiles = (
            "street lightgrey",
            *(f"stop-{letter} {color}" for letter, color in zip(self._letters, self._colors, strict=True)),
        )

    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        """Taxi and what derives from it."""
        return derives_from(env, f"{_TOY}.taxi:TaxiEnv")

    def action_names(self) -> tuple[str, ...]:
        """Directions, and what is done with the passenger."""
        return ("south", "north", "east", "west", "pick up", "drop off")

    def state_fields(self) -> Mapping[str, StateField]:
        """The taxi's cell, the passenger and the destination."""
        return {
            "row": StateField("int64", "row of the taxi, 0 at the top"),
            "column": StateField("int64", "column of the taxi, 0 at the left"),
            "passenger": StateField("int64", "where the passenger waits: 0 R, 1 G, 2 Y, 3 B; 4: in the taxi"),
            "destination": StateField("int64", "the stop to go to: 0 R, 1 G, 2 Y, 3 B"),
        }

    def describe_render(self) -> RenderDescription:
        """A grid."""
        return RenderDescription(("grid",), True, {"stop": "where passengers wait and want to go", "agent": "the taxi"})

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        """The four numbers that the environment's state is made of."""
        base: Any = env.unwrapped
        at = getattr(base, "s", None)
        if at is None:
            return {}
        row, column, passenger, destination = (int(part) for part in base.decode(int(at)))
        return {"row": row, "column": column, "passenger": passenger, "destination": destination}

    def render_payload(self, env: gym.Env[Any, Any]) -> GridPayload | None:
        """The town."""
        return self.payload_of_state(self.state(env))

    def payload_of_state(self, state: Mapping[str, Any]) -> GridPayload | None:
        """The town."""
        if not state:
            return None
        aboard = state["passenger"] == len(self._stops)
        goal = state["destination"]
        row, column = self._stops[goal]
        letter, color = self._letters[goal], self._colors[goal]
        items = [GridItem(name="destination", row=row, column=column, label=letter, color=color)]
        items.append(GridItem(name="agent", row=state["row"], column=state["column"], color="#e6b800"))
        row, column = (state["row"], state["column"]) if aboard else self._stops[state["passenger"]]
        items.append(GridItem(name="passenger", row=row, column=column, color="#333"))
        facts = {
            "passenger": "in the taxi" if aboard else f"waits at {self._letters[state['passenger']]}",
            "destination": self._letters[goal],
        }
        return GridPayload(
            rows=len(self._cells),
            columns=len(self._cells[0]),
            tiles=self._tiles,
            cells=self._cells,
            items=tuple(items),
            walls=self._walls,
            facts=facts,
        )


class BlackjackAdapter(EnvironmentAdapter):
    """Blackjack: the dealer's cards in the upper row, the player's in the lower one."""

    name: ClassVar[str] = "blackjack"

    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        """Blackjack and what derives from it."""
        return derives_from(env, f"{_TOY}.blackjack:BlackjackEnv")

    def observation_names(self) -> tuple[str, ...]:
        """The three parts of the observation."""
        return ("player's sum", "dealer's card", "usable ace")

    def action_names(self) -> tuple[str, ...]:
        """What a player may do."""
        return ("stick", "hit")

    def state_fields(self) -> Mapping[str, StateField]:
        """The cards on the table, the dealer's hidden one too."""
        return {
            "dealer": StateField("str", "the dealer's cards, joined by spaces; 1 is an ace, the second is hidden"),
            "player": StateField("str", "the player's cards, joined by spaces; 1 is an ace"),
        }

    def describe_render(self) -> RenderDescription:
        """A grid of two rows."""
        return RenderDescription(("grid",), True, {"card": "its value, A for an ace; ? is hidden from the player"})

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        """Both hands."""
        base: Any = env.unwrapped
        if getattr(base, "player", None) is None:
            return {}
        return {who: " ".join(str(int(card)) for card in getattr(base, who)) for who in ("dealer", "player")}

    def render_payload(self, env: gym.Env[Any, Any]) -> GridPayload | None:
        """The table, as the player sees it: a dealer who has drawn shows all cards."""
        return self.payload_of_state(self.state(env))

    def payload_of_state(self, state: Mapping[str, Any]) -> GridPayload | None:
        """The table, as the player sees it."""
        if not state:
            return None
        hands = [[int(card) for card in state[who].split()] for who in ("dealer", "player")]
        columns = max(map(len, hands))
        hidden = len(hands[0]) == 2
        items = []
        for row, hand in enumerate(hands):
            for column, card in enumerate(hand):
                label = "?" if hidden and (row, column) == (0, 1) else "A" if card == 1 else str(card)
                items.append(GridItem(name="card", row=row, column=column, label=label, color="#fff"))
        cells = (((0,) * columns),) * 2
        facts = {"player": _sum(hands[1]), "dealer": hands[0][0] if hidden else _sum(hands[0])}
        return GridPayload(
            rows=2, columns=columns, tiles=("table green",), cells=cells, items=tuple(items), facts=facts
        )


def _sum(hand: list[int]) -> int:
    total = sum(hand)
    return total + 10 if 1 in hand and total + 10 <= 21 else total
