"""Rows of steps of payload version 0: each is checked, upgraded to version 1, and counted.

Rules:
1. An episode of v0 is (episode_id, agent_id). It gets its number with its first line, and a row when it ends.
2. A v0 line has what its step *returned* (`observation="after"`): it waits for the step after, which it was seen by, or
   becomes the final observation. The first observation is that of a reset line (action null), otherwise unknown: null.
   With `observation="before"` a line has what was seen before its action; then the final one is unknown.
3. A line that is refused is counted, and declared in the ledger; the episode goes on. A step_index that jumps ahead
   is counted (`step_gap`), its row keeps its index: the episode has a hole, and `length` says how long it was.
4. What has no column goes to info: unknown keys, `render_payload`. Of a reset line it goes to `reset_info`, with the
   episode's v0 name.
5. Memory is bounded: at most `MOST_OPEN` episodes are open; one more closes the one that waited longest as `aborted`.
   An id that comes again after its end begins a new episode.
"""

from __future__ import annotations

import copy
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import gymnasium as gym
import numpy as np
import pyarrow as pa

from rolltape.schema.columns import CONSTANT, TIME
from rolltape.schema.config import FragmentConfig, Validation
from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.info_json import encode_info
from rolltape.schema.messages import ProducerKey
from rolltape.schema.mismatches import (
    ACTION_OUTSIDE,
    KEY_TYPE,
    KEY_UNKNOWN,
    OBSERVATION_OUTSIDE,
    REWARD_INFINITE,
    REWARD_NAN,
    STEP_GAP,
    STEP_ORDER,
    VALUE_UNFIT,
    MismatchCounts,
)
from rolltape.schema.payload_v0 import KEYS_V0, Problem, check_step, microseconds
from rolltape.schema.run_schema import RunSchema
from rolltape.storage.ledger import Loss, ledger_batch

from .infos import Agree, InfoColumns, InfoTypes
from .open_rows import OpenRows
from .page import EPISODES, STEPS, ProducerPage
from .sealed import SealedCopy

Meaning = Literal["after", "before"]
"""When a v0 line's observation was seen: after its step, or before its action."""

MOST_OPEN: Final = 4096
MOST_AGENTS: Final = 127
"""What the column of agents can tell apart in a part."""
ROW_BYTES: Final = 160


@dataclass(slots=True)
class _Open:
    """An open episode: its number, the index of its first step, and what is known so far.

    Not `begun` is one of which there was only the reset: its first step may have the same index, or the next.
    """

    number: int
    agent: str
    first: int
    begun: bool = True
    next_t: int = 0
    total: float = 0.0
    waiting: Any = None
    reset_info: str | None = None
    start_us: int | None = None
    last_us: int | None = None


@dataclass(slots=True)
class _Ended:
    episode: _Open
    status: str
    terminated: bool
    truncated: bool


class LegacyRows(OpenRows):
    """The open fragment of a producer that speaks version 0.

    Args:
        schema: the run's contract.
        key: whose rows these are.
        config: when a fragment is full.
        agree: settles the typed infos of the run.
        values: turns the JSON values of `observation` and `action` into values of their spaces; raises SchemaMismatch.
        sub_env, stride: as everywhere: episode k is number `sub_env + stride * k`.
        observation: what a line's observation is (rule 2).
        spaces: the spaces by `observation` and `action`; values outside them are counted. None: nothing is outside.
        validation: `enforce` refuses values outside their spaces and rewards that are not finite, `off` does not look.

    Attributes:
        mismatches: what was counted since the start.
        refused: lines that gave no row.
    """

    def __init__(
        self,
        schema: RunSchema,
        key: ProducerKey,
        config: FragmentConfig,
        *,
        agree: Agree,
        values: Callable[[str, Any], Any],
        page: ProducerPage | None = None,
        sub_env: int = 0,
        stride: int = 1,
        observation: Meaning = "after",
        spaces: Mapping[str, gym.Space[Any]] | None = None,
        validation: Validation = "warn",
        counter_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        super().__init__(config)
        self._schema, self._key, self._page = schema, key, page
        self._values, self._counter_ns, self._spaces = values, counter_ns, spaces or {}
        self._validation = validation
        self._sub_env, self._stride, self._after = sub_env, stride, observation == "after"
        self._info_types = InfoTypes(agree)
        self._open: OrderedDict[tuple[str, str], _Open] = OrderedDict()
        self._known_agents: set[str] = set()
        self._numbered = 0
        self._limit = config.max_rows
        self.mismatches = MismatchCounts()
        self.refused = self.resets = 0
        self._declared = self._undeclared = 0
        self._closing = False
        self.frames = 0
        self._clear()

    def _clear(self) -> None:
        self._infos = InfoColumns(self._info_types)
        self._ended: list[_Ended] = []
        self._numbers: list[tuple[int, int, int | None, float, bool, bool]] = []
        self._agents: list[str] = []
        self._observations: list[Any] = []
        self._actions: list[Any] = []
        self._bytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the open fragment, about."""
        return self.rows * ROW_BYTES + self._bytes + self._infos.nbytes

    @property
    def full(self) -> bool:
        """Whether the fragment should be closed now."""
        return self.rows >= self._limit or self.nbytes >= self._config.max_bytes

    def append(self, step: dict[str, Any], nbytes: int = 0) -> Problem | None:
        """Take one step of version 0.

        Args:
            step: the JSON object.
            nbytes: how long its text was, for the bound of the fragment.

        Returns:
            Why it was refused, with the path to the field; None when it is recorded. Either way it is counted.
        """
        problem = check_step(step) or self._upgrade(step, nbytes)
        if problem is not None:
            self.refuse(problem)
        return problem

    def refuse(self, problem: Problem) -> None:
        """Count a line that gives no row."""
        self.refused += 1
        self.mismatches.add(problem.kind, problem.field)
        self._count()

    def _count(self) -> None:
        if self._page is not None:
            self._page.words[STEPS] = self.steps + self.refused

    def _upgrade(self, step: dict[str, Any], nbytes: int) -> Problem | None:
        agent = step.get("agent_id")
        agent = "agent_0" if agent is None else str(agent)
        name = str(int(step["episode_id"]) if isinstance(step["episode_id"], float) else step["episode_id"])
        index = int(step["step_index"])
        episode = self._open.get((name, agent))
        is_reset = step["action"] is None
        if is_reset and (episode is not None or not self._after):
            why = "null in the middle of an episode" if episode else "null is a reset, whose observation is seen after"
            return Problem(KEY_TYPE, "action", f"action: expected a value of the action space, got {why}")
        if episode is None:
            if len(self._known_agents | {agent}) > MOST_AGENTS:
                return Problem(KEY_TYPE, "agent_id", f"agent_id: a run has at most {MOST_AGENTS}, got {agent!r} too")
            first = index + 1 if is_reset else min(index, 1)
        else:
            first = episode.first if episode.begun or index != episode.first - 1 else index
        t = index - first
        if episode is not None and t < episode.next_t:
            said = f"step_index: expected {episode.next_t + first} of episode {name!r}, got {index}"
            return Problem(STEP_ORDER, "step_index", said)
        try:
            observation = self._value("observation", step["observation"])
            action = None if is_reset else self._value("action", step["action"])
        except _Unfit as unfit:
            return unfit.problem
        reward = 0.0 if step["reward"] is None else float(step["reward"])
        if not math.isfinite(reward) and self._validation != "off":
            kind = REWARD_NAN if math.isnan(reward) else REWARD_INFINITE
            if self._validation == "enforce":
                return Problem(kind, "reward", f"reward: expected a finite number, got {reward}")
            self.mismatches.add(kind, "reward")
        info = dict(step.get("info") or {})
        for key in step.keys() - KEYS_V0.keys():
            self.mismatches.add(KEY_UNKNOWN, key)
            info[key if key not in info else f"v0.{key}"] = step[key]
        if step.get("render_payload") is not None:
            info["render_payload" if "render_payload" not in info else "v0.render_payload"] = step["render_payload"]
        when = step.get("timestamp")
        us = None if when is None else microseconds(when)
        if episode is None:
            episode = self._begin(name, agent, first, us)
        if is_reset:
            self.resets += 1
            episode.begun = False
            episode.reset_info = encode_info({"episode_id": name, **info})
            episode.waiting = observation
            return None
        if t > episode.next_t:
            self.mismatches.add(STEP_GAP, "step_index", t - episode.next_t)
        episode.first, episode.begun = first, True
        row = self.rows
        if info:
            self._infos.add(row, info)
        seen = episode.waiting if self._after else observation
        if self._after and t > episode.next_t:
            seen = None  # it was the observation of a step that is missing
        terminated, truncated = step["terminated"], step["truncated"]
        self._numbers.append((episode.number, t, us, reward, terminated, truncated))
        self._agents.append(agent)
        self._observations.append(seen)
        self._actions.append(action)
        self._bytes += nbytes
        self.rows = row + 1
        episode.next_t, episode.total, episode.last_us = t + 1, episode.total + reward, us
        episode.waiting = observation if self._after else None
        self._open.move_to_end((name, agent))
        self._began(self._counter_ns())
        self._count()
        if terminated or truncated:
            self._end((name, agent), "completed", terminated, truncated)
        return None

    def _value(self, field: str, given: Any) -> Any:
        if given is None:
            return None
        codec = self._schema.observation if field == "observation" else self._schema.action
        try:
            value = self._values(field, given)
            codec.check(value)
        except SchemaMismatch as error:
            said = str(error).removeprefix("value")
            path = said.partition(":")[0]
            raise _Unfit(Problem(VALUE_UNFIT, field + path, f"{field}{said}")) from error
        space = None if self._validation == "off" else self._spaces.get(field)
        if space is not None and not space.contains(value):
            kind = OBSERVATION_OUTSIDE if field == "observation" else ACTION_OUTSIDE
            if self._validation == "enforce":
                raise _Unfit(Problem(kind, field, f"{field}: outside {space}: {value}"))
            self.mismatches.add(kind, field)
        return value

    def _begin(self, name: str, agent: str, first: int, us: int | None) -> _Open:
        if len(self._open) >= MOST_OPEN:
            self._end(next(iter(self._open)), "aborted", False, False)
        number = self._sub_env + self._stride * self._numbered
        self._numbered += 1
        episode = _Open(number, agent, first, start_us=us, last_us=us)
        episode.reset_info = encode_info({"episode_id": name})
        self._known_agents.add(agent)
        self._open[name, agent] = episode
        return episode

    def _end(self, key: tuple[str, str], status: str, terminated: bool, truncated: bool) -> None:
        episode = self._open.pop(key)
        self._ended.append(_Ended(episode, status, terminated, truncated))
        self.episodes += 1
        self._bytes += ROW_BYTES + len(episode.reset_info or "")
        if status == "completed":
            self.completed += 1
            self.return_sum += episode.total
        if self._page is not None:
            self._page.words[EPISODES] = self.episodes
        self._began(self._counter_ns())

    # ---- what every open fragment does ------------------------------------------------------------------------

    def hasten(self) -> None:
        """From now on every step asks for its fragment to be closed."""
        self._limit = 0

    def relax(self) -> None:
        """Fragments are closed when they are full again."""
        self._limit = self._config.max_rows

    def abort(self) -> None:
        """Close the open episodes as `aborted`. The next fragment declares what was refused."""
        self._closing = True
        for key in list(self._open):
            self._end(key, "aborted", False, False)

    def seal(self) -> SealedCopy | None:
        """The open fragment, and empty again; None where there is nothing in it."""
        self._undeclared = self.refused - self._declared if self._closing else 0
        if self.oldest_ns is None and not self._undeclared:
            return None
        self._declared += self._undeclared
        sealed = SealedCopy(copy.copy(self)._batches, self.nbytes, self.oldest_ns or self._counter_ns())
        self._emptied()
        self._clear()
        return sealed

    def _batches(self, fragment: int) -> dict[str, pa.RecordBatch]:
        batches: dict[str, pa.RecordBatch] = {}
        if self.rows:
            batches["steps"] = self._steps_batch(fragment)
        if self._undeclared:
            now_us = time.time_ns() // 1000
            loss = Loss("steps", "refused", self._key, self._undeclared, last_time_us=now_us, declared_us=now_us)
            batches["ledger"] = ledger_batch([loss], self._schema.run_id, self._key, fragment)
        if self._ended:
            batches["episodes"] = self._episodes_batch(fragment)
        return batches

    def _steps_batch(self, fragment: int) -> pa.RecordBatch:
        n = self.rows
        episode, t, us, reward, terminated, truncated = zip(*self._numbers, strict=True)
        info, info_json = self._infos.close(n)
        schema = self._schema.arrow("steps", self._info_types.struct)
        columns = self._keys(fragment, episode, self._agents)
        columns |= {
            "t": pa.array(t, pa.int32()),
            "time": pa.array(us, pa.int64()).cast(TIME),
            "observation": self._schema.observation.encode(self._observations),
            "action": self._schema.action.encode(self._actions),
            "reward": pa.array(reward, pa.float64()),
            "terminated": pa.array(terminated, pa.bool_()),
            "truncated": pa.array(truncated, pa.bool_()),
            "info": info,
            "info_json": info_json,
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    def _episodes_batch(self, fragment: int) -> pa.RecordBatch:
        ended, n = self._ended, len(self._ended)
        schema = self._schema.arrow("episodes")
        columns = self._keys(fragment, [e.episode.number for e in ended], [e.episode.agent for e in ended])
        columns |= {
            "env_id": _words([self._schema.env_id] * n),
            "status": _words([e.status for e in ended]),
            "length": pa.array([e.episode.next_t for e in ended], pa.int32()),
            "return": pa.array([e.episode.total for e in ended], pa.float64()),
            "terminated": pa.array([e.terminated for e in ended], pa.bool_()),
            "truncated": pa.array([e.truncated for e in ended], pa.bool_()),
            "replay": _words(["none"] * n),
            "reset_info": pa.array([e.episode.reset_info for e in ended], pa.string()),
            "final_observation": self._schema.observation.encode([e.episode.waiting for e in ended]),
            "start_time": pa.array([e.episode.start_us for e in ended], pa.int64()).cast(TIME),
            "end_time": pa.array([e.episode.last_us for e in ended], pa.int64()).cast(TIME),
        }
        arrays = [columns[field.name] if field.name in columns else pa.nulls(n, field.type) for field in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _keys(self, fragment: int, episodes: Any, agents: list[str]) -> dict[str, Any]:
        n = len(agents)
        return {
            "run_id": _words([self._schema.run_id] * n),
            "agent_id": _words(agents),
            "worker": pa.array(np.full(n, self._key.producer, np.int32)),
            "incarnation": pa.array(np.full(n, self._key.incarnation, np.int32)),
            "fragment": pa.array(np.full(n, fragment, np.int64)),
            "sub_env": pa.array(np.full(n, self._sub_env, np.int32)),
            "episode": pa.array(episodes, pa.int64()),
        }


class _Unfit(Exception):
    def __init__(self, problem: Problem) -> None:
        self.problem = problem


def _words(words: list[str]) -> pa.Array:
    return pa.array(words, CONSTANT)
