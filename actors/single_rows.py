"""Rows of one environment: appended to lists by `step`, stacked into record batches by `close`.

The life of an episode, which both this file and `vector_rows` keep:

1. `reset` opens an episode under the next index k; an episode that is still open is closed as `aborted`.
2. A row is a transition: the observation seen before the step, the action, and what the step returned.
3. A step that ends the episode closes it as `completed`; its last observation goes to the episode's row.
4. Steps after the end and before a reset are no transitions of an episode: they are counted, not recorded.
5. A fragment takes whole rows. The observation that waits for its action stays for the next fragment.
6. A step whose values do not fit raises SchemaMismatch and gives no row; its episode is closed as `aborted`, because
   what follows would have a hole. A reset whose observation does not fit opens nothing.
7. An interrupt (Ctrl-C) may come anywhere. A row is recorded by assignments between which nothing is called; what an
   interrupt left behind of a row that is not recorded is taken back, and its episode is closed as `aborted`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from rolltape.schema.config import FragmentConfig
from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.frame_layout import FrameLayout
from rolltape.schema.info_json import encode_info
from rolltape.schema.messages import ProducerKey
from rolltape.schema.run_schema import RunSchema

from .episode_rows import REPLAYS, STATUSES, EpisodeRows, Replay, Status, key_columns
from .frame_rows import FrameRows
from .infos import Agree, InfoColumns
from .page import COUNTED, EPISODES, STEPS, STEPS_BEFORE, ProducerPage
from .value_lists import value_list

Batches = dict[str, pa.RecordBatch]
Render = Callable[[], Any]

LARGEST_SEED = (1 << 63) - 1
"""A seed beyond it has no column; its episodes are not replayable."""

ROW_OVERHEAD_BYTES = 64
"""Arrow bytes of the key, time, reward and flag columns of one steps row."""


class WallClock:
    """UTC in nanoseconds that never steps back: the wall clock at the start plus a monotonic counter."""

    def __init__(self) -> None:
        self.offset_ns = time.time_ns() - time.perf_counter_ns()

    def now_us(self) -> int:
        """UTC in microseconds."""
        return (time.perf_counter_ns() + self.offset_ns) // 1000


class SingleRows:
    """The open fragment of a producer that steps one environment."""

    def __init__(
        self,
        schema: RunSchema,
        key: ProducerKey,
        page: ProducerPage,
        config: FragmentConfig,
        *,
        sub_env: int,
        stride: int,
        agree: Agree,
        first_index: int = 0,
        clock: WallClock | None = None,
        counter_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._schema, self._key, self._page = schema, key, page
        self._sub_env, self._stride = sub_env, stride
        self._clock = clock or WallClock()
        self._counter_ns = counter_ns
        self._config = config
        self._index = first_index - 1
        self._episode = -1
        self._open = False
        self._observations = value_list(schema.observation) if schema.has_observation_column else None
        self._actions = value_list(schema.action)
        self._rewards: list[Any] = []
        self._times: list[int] = []
        self._ends: list[tuple[int, bool, bool]] = []
        self._segments: list[tuple[int, int, int]] = []
        self._infos = InfoColumns(agree)
        self._episodes = EpisodeRows(schema)
        self._frames: dict[str, FrameRows] = {}
        self._seed = 0
        self._seed_episode = -1
        self._replay: Replay = "none"
        self._options: str | None = None
        self._reset_info: str | None = None
        self._start_us = 0
        self._start_row = 0
        self._return = 0.0
        self._before = 0  # steps before the open fragment, and of the open episode before the open fragment
        self._t_before = 0
        self._frames_before = 0
        self.rows = 0
        self.episodes = 0
        self.completed = 0
        self.return_sum = 0.0
        self.ignored_steps = 0
        self.oldest_ns: int | None = None
        kept = [(schema.action, self._actions)]
        if self._observations is not None:
            kept.append((schema.observation, self._observations))
        leaves = [leaf for codec, _ in kept for leaf in codec.leaves]
        self._row_bytes = ROW_OVERHEAD_BYTES + sum(x.dtype.itemsize * math.prod(x.shape) for x in leaves)
        self._limit = max(1, min(config.max_rows, config.max_bytes // self._row_bytes))
        self._loose = [values for codec, values in kept if not codec.is_fixed]
        self._bulky = bool(self._loose)
        """Whether rows have parts of any size, which have to be counted."""

    @property
    def episode(self) -> int:
        """The id of the newest episode, -1 before the first reset."""
        return self._episode

    @property
    def steps(self) -> int:
        """Steps recorded since the start."""
        return self._before + self.rows

    @property
    def frames(self) -> int:
        """Pictures recorded since the start."""
        return self._frames_before + sum(frames.rows for frames in self._frames.values())

    def reset(
        self,
        observation: Any,
        info: dict[str, Any],
        seed: int | None = None,
        options: dict[str, Any] | None = None,
        render: Render | None = None,
    ) -> bool:
        """An episode begins with `observation`; `seed` is what the reset was given, None where it was not.

        True when the fragment should be closed now.
        """
        self.abort()
        index = self._index + 1
        try:
            self._episode = episode = self._sub_env + self._stride * index
            self._see(observation, 0, render, False)
            self._options = encode_info(options) if options else None
            self._reset_info = encode_info(info) if info else None
            self._start_us = self._clock.now_us()
            if seed is not None:
                known = seed <= LARGEST_SEED
                self._seed, self._seed_episode = (int(seed), episode) if known else (0, -1)
                self._replay = "alone" if known else "none"
            elif self._seed_episode >= 0:
                self._replay = "forward"
            self._segments.append((self.rows, episode, 0))
            self._page.episode_index[0] = index
            self._page.words[STEPS_BEFORE] = self.steps
            self._page.episode_steps[0] = COUNTED
            self._start_row, self._t_before, self._return = self.rows, -self.rows, 0.0
            self._index, self._open = index, True
        except BaseException as error:
            self._withdraw(-1)
            self._episode = self._sub_env + self._stride * self._index if self._index >= 0 else -1
            self._page.episode_index[0] = self._index
            self._page.episode_steps[0] = -1
            refuse(f"observation of reset {index}", error)
        if self.oldest_ns is None and self._frames:
            self.oldest_ns = self._counter_ns()
        return self._bulky and self._full()

    def step(
        self,
        action: Any,
        observation: Any,
        reward: Any,
        terminated: Any,
        truncated: Any,
        info: dict[str, Any],
        render: Render | None = None,
    ) -> bool:
        """One transition. True when the fragment should be closed now. Raises SchemaMismatch (rule 6)."""
        if not self._open:
            self.ignored_steps += 1
            return False
        now = self._counter_ns()
        row = self.rows
        ended = terminated or truncated
        try:
            self._actions.append(action)
            self._rewards.append(float(reward))
            if self._observations is not None and render is None:
                self._observations.append(observation)
            else:
                self._see(observation, self._t_before + row + 1, render, ended)
            if info:
                self._infos.add(row, info)
                self._bulky = True
            self._times.append(now)
            if ended:
                self._ends.append((row, bool(terminated), bool(truncated)))
            self._page.words[STEPS] = self._before + row + 1
            self.rows = row + 1
        except BaseException as error:
            t = self._t_before + row
            what = self._misfit()
            self._withdraw(t)
            refuse(f"{what} of episode {self._episode}, t {t}", error)
        if ended:
            self._end("completed", bool(terminated), bool(truncated))
        if self.oldest_ns is None:
            self.oldest_ns = now
        return self.rows >= self._limit or (self._bulky and self._full())

    def _misfit(self) -> str:
        """What of the row that was begun did not fit: the first that is missing."""
        if len(self._rewards) == self.rows:
            return "action" if len(self._actions) == self.rows else "reward"
        return "observation or info"

    def _withdraw(self, t: int) -> None:
        """Take back what was noted of a row that is not recorded, or of a reset (t is -1), and close the episode."""
        self._page.words[STEPS] = self.steps
        for frames in self._frames.values():
            frames.drop(0, self._episode, t)
        self._infos.drop(self.rows)
        while self._ends and self._ends[-1][0] >= self.rows:
            self._ends.pop()
        self.abort()
        self._trim()

    def _trim(self) -> None:
        """The lists hold what is recorded, and the observation that waits for its action."""
        if self._open and self._episodes.newest == self._episode:
            self._open = False
        self._actions.trim(self.rows)
        del self._rewards[self.rows :], self._times[self.rows :]
        if self._observations is not None:
            self._observations.trim(self.rows + self._open)

    def abort(self) -> None:
        """Close the open episode, if there is one, as `aborted`."""
        self._trim()
        if self._open:
            self._end("aborted", False, False)

    def hasten(self) -> None:
        """From now on every step asks for its fragment to be closed."""
        self._limit = 0

    def due(self, now_ns: int) -> bool:
        """True when the oldest row of the open fragment is older than `fragment.max_age_s`."""
        return self.oldest_ns is not None and now_ns - self.oldest_ns >= self._config.max_age_s * 1e9

    @property
    def nbytes(self) -> int:
        """Bytes of the open fragment, about."""
        return self.rows * self._row_bytes + self._loose_bytes() + sum(f.nbytes for f in self._frames.values())

    def close(self, fragment: int) -> Batches:
        """The open fragment as record batches by table, without the tables that have no rows; empty again."""
        self._trim()
        n, batches = self.rows, {}
        self._frames_before = self.frames
        frames = [b for f in self._frames.values() if (b := f.close(self._key, fragment, self._sub_env)) is not None]
        if frames:
            batches["frames"] = frames[0] if len(frames) == 1 else pa.concat_batches(frames)
        if n:
            batches["steps"] = self._steps_batch(n, fragment)
        if (episodes := self._episodes.close(self._key, fragment)) is not None:
            batches["episodes"] = episodes
        self._before, self.rows = self._before + n, 0
        self.oldest_ns = None
        return batches

    def _steps_batch(self, n: int, fragment: int) -> pa.RecordBatch:
        starts = np.array([s[0] for s in self._segments] + [n])
        lengths = np.diff(starts)
        episode = np.repeat(np.array([s[1] for s in self._segments]), lengths)
        first_t = np.repeat(np.array([s[2] for s in self._segments]) - starts[:-1], lengths)
        t = (np.arange(n) + first_t).astype(np.int32)
        terminated, truncated = np.zeros(n, bool), np.zeros(n, bool)
        for row, ended, cut in self._ends:
            terminated[row], truncated[row] = ended, cut
        times = (np.array(self._times, np.int64) + self._clock.offset_ns) // 1000
        info, info_json = self._infos.close(n)
        columns = key_columns(self._schema, self._key, fragment, np.full(n, self._sub_env, np.int32), episode)
        columns += [pa.array(t), pa.array(times).cast(pa.timestamp("us", tz="UTC"))]
        if self._observations is not None:
            columns.append(self._observations.take(n))
        columns += [
            self._actions.take(n),
            pa.array(np.array(self._rewards, np.float64)),
            pa.array(terminated),
            pa.array(truncated),
        ]
        columns += [info_json] if info is None else [info, info_json]
        schema = self._schema.arrow("steps", self._infos.struct)
        self._return, self._start_row = self._total(), 0
        self._t_before += n
        self._rewards.clear()
        self._times.clear()
        self._ends.clear()
        self._segments = [(0, self._episode, self._t_before)] if self._open else []
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def _see(self, observation: Any, t: int, render: Render | None, last: bool) -> None:
        pictures: list[tuple[FrameRows, np.ndarray]] = []
        if self._schema.layout is not None:
            pictures.append(self._picture("observation", observation))
        elif self._observations is not None:
            self._observations.append(observation)
        if render is not None and (last or t % self._schema.every == 0):
            pictures.append(self._picture("render", render()))
        for rows, picture in pictures:
            rows.check(self._episode, t, picture)
        for rows, picture in pictures:
            rows.add(0, self._episode, t, picture)

    def _picture(self, kind: str, picture: Any) -> tuple[FrameRows, np.ndarray]:
        picture = np.asarray(picture)
        rows = self._frames.get(kind)
        if rows is None:
            layout = self._schema.layout if kind == "observation" else None
            layout = layout or FrameLayout(str(picture.dtype), picture.shape)
            rows = self._frames[kind] = FrameRows(self._schema, kind, layout, 1, self._config.max_bytes)
            self._bulky = True
        return rows, picture

    def _full(self) -> bool:
        for rows in self._frames.values():
            if rows.full:
                return True
        return self._loose_bytes() >= self._config.max_bytes

    def _loose_bytes(self) -> int:
        return self._infos.nbytes + self._episodes.nbytes + sum(values.nbytes for values in self._loose)

    def _total(self) -> float:
        """The return of the open episode so far: its rewards, added in their order."""
        return reduce(add, self._rewards[self._start_row :], self._return) if self._open else 0.0

    def _end(self, status: Status, terminated: bool, truncated: bool) -> None:
        total = self._total()
        self._episodes.add(
            sub_env=self._sub_env,
            episode=self._episode,
            status=STATUSES.index(status),
            length=self._t_before + self.rows,
            episode_return=total,
            terminated=terminated,
            truncated=truncated,
            seed=self._seed,
            seed_episode=self._seed_episode,
            replay=REPLAYS.index(self._replay),
            options=self._options,
            reset_info=self._reset_info,
            start_us=self._start_us,
            end_us=self._clock.now_us(),
            final_item=None if self._observations is None else self._observations.newest_item(),
        )
        self._open = False
        if self._observations is not None:
            self._observations.trim(self.rows)
        self.episodes += 1
        self._page.words[EPISODES] = self.episodes
        self._page.episode_steps[0] = -1
        if status == "completed":
            self.completed += 1
            self.return_sum += total
        if self.oldest_ns is None:
            self.oldest_ns = self._counter_ns()


def refuse(what: str, error: BaseException) -> NoReturn:
    """Raise the error of a value that does not fit with the name of the value, any other error as it is."""
    if isinstance(error, SchemaMismatch):
        raise SchemaMismatch(f"{what}: {error}") from error
    if isinstance(error, TypeError | ValueError | OverflowError) and what.startswith("reward"):
        raise SchemaMismatch(f"{what}: expected a number: {error}.") from error
    raise error
