"""The truth about recordings: plain loops over single environments, and the rows that they should give."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np

from rolltape.schema.run_schema import RunSchema

from .recorded import Episode, Picture, Step, Tape, assert_rows, plain


class PlainLoop:
    """One environment in a loop of its own. Everything it returns is written down at once, as it should be recorded."""

    def __init__(self, env: gym.Env[Any, Any], schema: RunSchema, *, sub_env: int = 0, stride: int = 1) -> None:
        self.env, self.schema, self.sub_env, self.stride = env, schema, sub_env, stride
        self.steps: list[Step] = []
        self.episodes: list[Episode] = []
        self.pictures: list[Picture] = []
        self.open = False
        self.last_render = True
        self._index = -1
        self._seed: int | None = None
        self._seed_episode: int | None = None
        self._replay = "none"

    @property
    def episode(self) -> int:
        return self.sub_env + self.stride * self._index

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None, *, replay: str = "alone") -> Any:
        """The user's reset, or an autoreset. `replay` is what a seed of its own allows."""
        self.abort()
        observation, info = self.env.reset(seed=seed, options=copy.deepcopy(options))
        self._index += 1
        if seed is not None:
            self._seed, self._seed_episode, self._replay = seed, self.episode, replay
        elif self._replay == "alone":
            self._replay = "forward"
        self._options, self._reset_info = plain(copy.deepcopy(options or {})), plain(copy.deepcopy(info))
        self._t, self._total = 0, 0.0
        self._see(observation)
        self.open = True
        return observation

    def step(self, action: Any) -> bool:
        """True where the episode has ended."""
        given = self._canonical(self.schema.action, action)
        seen = self._observation
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.steps.append(
            Step(
                self.sub_env,
                self.episode,
                self._t,
                seen,
                given,
                np.float64(reward),
                bool(terminated),
                bool(truncated),
                plain(copy.deepcopy(info)),
            )
        )
        self._t += 1
        self._total += float(reward)
        ended = bool(terminated or truncated)
        self._see(observation, last=ended)
        if ended:
            self._end("completed", bool(terminated), bool(truncated))
        return ended

    def abort(self) -> None:
        if self.open:
            self._end("aborted", False, False)

    def _see(self, observation: Any, last: bool = False) -> None:
        schema = self.schema
        if schema.has_observation_column:
            self._observation = self._canonical(schema.observation, observation)
        else:
            self._observation = None
        if schema.layout is not None:
            self._picture("observation", np.array(observation))
        if schema.renders and ((last and self.last_render) or (not last and self._t % schema.every == 0)):
            self._picture("render", np.array(self.env.render()))

    def _picture(self, kind: str, picture: np.ndarray) -> None:
        self.pictures.append(Picture(self.sub_env, self.episode, kind, self._t, picture))

    def _end(self, status: str, terminated: bool, truncated: bool) -> None:
        self.open = False
        self.episodes.append(
            Episode(
                self.sub_env,
                self.episode,
                status,
                self._t,
                np.float64(self._total),
                terminated,
                truncated,
                self._seed,
                self._seed_episode,
                self._replay,
                self._options,
                self._reset_info,
                self._observation,
            )
        )

    @staticmethod
    def _canonical(codec: Any, value: Any) -> Any:
        """The value with the types that its space samples, copied."""
        return codec.decode(codec.encode([value]))[0]


def assert_recorded(tape: Tape, loops: list[PlainLoop], rows: Any) -> None:
    """The tape holds what the loops did, and the rows counted it."""
    assert_rows(tape.steps(), [step for loop in loops for step in loop.steps])
    assert_rows(tape.episodes(), [episode for loop in loops for episode in loop.episodes])
    pictures = [picture for loop in loops for picture in loop.pictures]
    pictures.sort(key=lambda p: (p.sub_env, p.episode, p.kind, p.t))
    assert_rows(tape.pictures(), pictures)
    episodes = [episode for loop in loops for episode in loop.episodes]
    completed = [episode for episode in episodes if episode.status == "completed"]
    assert rows.steps == sum(len(loop.steps) for loop in loops)
    assert (rows.episodes, rows.completed) == (len(episodes), len(completed))
    assert rows.frames == len(pictures)
    assert np.isclose(rows.return_sum, sum(episode.total for episode in completed if episode.total is not None))
