"""Rows of one environment: put into columns by `step`, taken out as a fragment by `seal`.

The life of an episode, which both this file and `vector_rows` keep:

1. `reset` opens an episode under the next index k; an episode that is still open is closed as `aborted`.
2. A row is a transition: the observation seen before the step, the action, and what the step returned.
3. A step that ends the episode closes it as `completed`; its last observation goes to the episode's row.
4. Steps after the end and before a reset are no transitions of an episode: they are counted, not recorded.
5. A fragment takes whole rows. The observation that waits for its action stays for the next fragment.
6. A step whose values do not fit raises SchemaMismatch and gives no row; its episode is closed as `aborted`, because
   what follows would have a hole. A reset whose observation does not fit opens nothing.
7. An interrupt (Ctrl-C) may come anywhere. A row is recorded by one assignment, that of `rows`; what an interrupt left
   behind of a row that is not recorded is taken back, and its episode is closed as `aborted`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pyarrow as pa

from rolltape.schema.config import FragmentConfig
from rolltape.schema.frame_layout import FrameLayout
from rolltape.schema.info_json import encode_info
from rolltape.schema.messages import ProducerKey
from rolltape.schema.run_schema import RunSchema

from .episode_rows import LARGEST_SEED, REPLAYS, STATUSES, EpisodeRows, Replay, Status, pack_ended
from .frame_rows import FrameRows
from .infos import Agree, InfoColumns, InfoTypes
from .misfit import refuse
from .open_rows import OpenRows, row_bytes
from .page import COUNTED, EPISODES, STEPS, STEPS_BEFORE, ProducerPage
from .single_columns import Columns, SealedRows, pack_segment
from .value_buffers import ObjectBuffer
from .wall_clock import WallClock

Render = Callable[[], Any]
PLACE_OF_STATUS = {status: place for place, status in enumerate(STATUSES)}
PLACE_OF_REPLAY = {replay: place for place, replay in enumerate(REPLAYS)}


class SingleRows(OpenRows):
    """The open fragment of a producer that steps one environment."""

    resets_itself = False
    """Whether episodes begin in steps as well."""

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
        self._words = page.words
        self._sub_env, self._stride = sub_env, stride
        self._clock = clock or WallClock()
        self._counter_ns = counter_ns
        super().__init__(config)
        self._index = page.episode_index[0] = first_index - 1
        self._episode = -1
        self._open = False
        self._ends: list[int] = []
        self._segments: list[bytes] = []
        self._info_types = InfoTypes(agree)
        self._begin_infos()
        self._frames: dict[str, FrameRows] = {}
        self._seed = 0
        self._seed_episode = -1
        self._replay: Replay = "none"
        self._options: str | None = None
        self._reset_info: str | None = None
        self._start_us = 0
        self._start_row = 0
        self._return = 0.0
        self._t_before = 0  # steps of the open episode before the open fragment
        self._frames_before = 0
        self.ignored_steps = 0
        codecs = [schema.action, *([schema.observation] if schema.has_observation_column else [])]
        self._row_bytes = row_bytes(codecs)
        self._room = self._limit = self._bar = max(1, min(config.max_rows, config.max_bytes // self._row_bytes))
        self._crowded = False
        """Whether the open fragment is full of parts of any size, and not of rows."""
        self._bulky = not all(codec.is_fixed for codec in codecs)
        """Whether rows have parts of any size, which have to be counted."""
        self._spare: list[Columns] = []
        self._use(Columns(schema, self._room))
        self._episodes = EpisodeRows(schema, self._final_column)

    def _use(self, columns: Columns) -> None:
        self._columns = columns
        self._observations = columns.observations
        self._put_action = columns.actions.put
        self._put_observation = None if columns.observations is None else columns.observations.put
        self._rewards: memoryview[Any] = columns.rewards.data
        self._times: memoryview[Any] = columns.times.data
        self._loose = [values for values in columns.values if isinstance(values, ObjectBuffer)]

    def _begin_infos(self) -> None:
        self._infos = InfoColumns(self._info_types)

    @property
    def episode(self) -> int:
        """The id of the newest episode, -1 before the first reset."""
        return self._episode

    @property
    def frames(self) -> int:
        """Pictures recorded since the start."""
        return self._frames_before + sum(frames.rows for frames in self._frames.values())

    @property
    def first_sub_env(self) -> int:
        """Number of its (first) sub-environment in the run."""
        return self._sub_env

    def stands(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """By sub-environment: whether an episode is open, its number, and its steps so far (-1: none is open)."""
        steps = self._t_before + self.rows if self._open else -1
        return np.array([self._open]), np.array([self._episode], np.int64), np.array([steps], np.int64)

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
        if self._open or self._loose:
            self.abort()
        index = self._index + 1
        try:
            self._episode = episode = self._sub_env + self._stride * index
            if self._put_observation is not None and render is None:
                self._put_observation(self.rows, observation)
            else:
                self._see(observation, self.rows, 0, render, False)
            self._options = encode_info(options) if options else None
            self._reset_info = encode_info(info) if info else None
            self._start_us = self._clock.now_us()
            if seed is not None:
                known = seed <= LARGEST_SEED
                self._seed, self._seed_episode = (int(seed), episode) if known else (0, -1)
                self._replay = "alone" if known else "none"
            elif self._seed_episode >= 0:
                self._replay = "forward"
            self._segments.append(pack_segment(self.rows, episode, 0))
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
        what = "action"
        try:
            if row == self._columns.capacity:
                self._grow()
            self._put_action(row, action)
            what = "reward"
            self._rewards[row] = float(reward)
            what = "observation or info"
            if self._put_observation is not None and render is None:
                self._put_observation(row + 1, observation)
            else:
                self._see(observation, row + 1, self._t_before + row + 1, render, ended)
            if info:
                self._infos.add(row, info)
                self._bulky = True
            self._times[row] = now
            if ended:
                self._ends.append(row << 2 | bool(terminated) << 1 | bool(truncated))
            self._words[STEPS] = self._before + row + 1
            self.rows = row + 1
        except BaseException as error:
            t = self._t_before + row
            self._withdraw(t)
            refuse(f"{what} of episode {self._episode}, t {t}", error)
        if ended:
            self._end("completed", bool(terminated), bool(truncated))
        if self.oldest_ns is None:
            self.oldest_ns = now
        return self.rows >= self._limit or (self._bulky and self._full())

    def _grow(self) -> None:
        """More room, where a full fragment could not be sent because the wait for it was interrupted."""
        self._columns.grow()
        self._use(self._columns)

    def _withdraw(self, t: int) -> None:
        """Take back what was noted of a row that is not recorded, or of a reset (t is -1), and close the episode."""
        self._page.words[STEPS] = self.steps
        for frames in self._frames.values():
            frames.drop(0, self._episode, t)
        self._infos.drop(self.rows)
        while self._ends and self._ends[-1] >> 2 >= self.rows:
            self._ends.pop()
        self.abort()
        self._trim()

    def _trim(self) -> None:
        """Forget what an interrupt left behind."""
        if self._open and self._episodes.newest == self._episode:
            self._open = False
        for values in self._loose:
            values.clear(self.rows + (self._open and values is self._observations))

    def abort(self) -> None:
        """Close the open episode, if there is one, as `aborted`."""
        self._trim()
        if self._open:
            self._end("aborted", False, False)

    @property
    def full(self) -> bool:
        """Whether the fragment should be closed now."""
        return self.rows >= self._bar or (self._bulky and self._full())

    def place(self, place: int) -> tuple[int, int, float]:
        """Episode, t and return so far; t is -1 between episodes."""
        return self._episode, self._t_before + self.rows if self._open else -1, self._total()

    def places(self) -> tuple[bytes, bytes, bytes]:
        """The same as int64, int32 and float64."""
        episode, t, returns = self.place(0)
        return tuple(np.array([n], kind).tobytes() for n, kind in ((episode, "i8"), (t, "i4"), (returns, "f8")))  # type: ignore[return-value]

    @property
    def nbytes(self) -> int:
        """Bytes of the open fragment, about."""
        return self.rows * self._row_bytes + self._loose_bytes() + sum(f.nbytes for f in self._frames.values())

    def seal(self) -> SealedRows | None:
        """The open fragment, and empty again; None where there is nothing in it."""
        self._trim()
        n, oldest_ns = self.rows, self.oldest_ns
        if oldest_ns is None:
            return None
        nbytes, columns = self.nbytes, self._columns
        self._frames_before = self.frames
        frames = [sealed for rows in self._frames.values() if (sealed := rows.seal()) is not None]
        sealed = SealedRows(
            self._schema,
            self._key,
            self._sub_env,
            self._clock.offset_ns,
            n,
            columns,
            self._ends,
            self._segments,
            self._infos,
            self._info_types,
            self._episodes,
            frames,
            nbytes,
            oldest_ns,
            self._spare,
        )
        self._return, self._start_row = self._total(), 0
        self._use(self._spare.pop() if self._spare else Columns(self._schema, self._room))
        if self._open and self._observations is not None:
            self._observations.carry(columns.observations, n)
        self._t_before += n
        self._ends = []
        self._segments = [pack_segment(0, self._episode, self._t_before)] if self._open else []
        self._begin_infos()
        self._episodes = EpisodeRows(self._schema, self._final_column)
        self._crowded = False
        self._emptied()
        return sealed

    def _see(self, observation: Any, row: int, t: int, render: Render | None, last: bool) -> None:
        pictures: list[tuple[FrameRows, np.ndarray]] = []
        if self._schema.layout is not None:
            pictures.append(self._picture("observation", observation))
        elif self._observations is not None:
            self._observations.put(row, observation)
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
        frames = any(rows.full for rows in self._frames.values())
        self._crowded = frames or self._loose_bytes() >= self._config.max_bytes
        return self._crowded

    def _loose_bytes(self) -> int:
        return self._infos.nbytes + self._episodes.nbytes + sum(values.nbytes for values in self._loose)

    def _total(self) -> float:
        """The return of the open episode so far: its rewards, added in their order."""
        return reduce(add, self._rewards[self._start_row : self.rows].tolist(), self._return) if self._open else 0.0

    def _final_column(self, items: Sequence[Any]) -> pa.Array:
        assert self._observations is not None
        return self._observations.column(items)

    def _end(self, status: Status, terminated: bool, truncated: bool) -> None:
        total = self._total()
        packed = pack_ended(
            self._sub_env,
            self._episode,
            PLACE_OF_STATUS[status],
            self._t_before + self.rows,
            total,
            terminated,
            truncated,
            self._seed,
            self._seed_episode,
            PLACE_OF_REPLAY[self._replay],
            self._start_us,
            self._clock.now_us(),
        )
        final = None if self._observations is None else self._observations.item(self.rows)
        self._episodes.add(packed, self._options, self._reset_info, final)
        self._open = False
        self.episodes += 1
        self._page.words[EPISODES] = self.episodes
        self._page.episode_steps[0] = -1
        if status == "completed":
            self.completed += 1
            self.return_sum += total
        if self.oldest_ns is None:
            self.oldest_ns = self._counter_ns()
