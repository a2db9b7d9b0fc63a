"""Rows of a vector environment: written into `[sub-environment, step]` arrays, closed into record batches.

The life of an episode stands at the top of `single_rows`. What the three autoreset modes add to it:

* NEXT_STEP: the step after an end ignores its action and returns the reset; it is no transition and gives no row.
* SAME_STEP: the step that ends an episode returns the first observation of the next; its own is `infos["final_obs"]`, its own
  info is `infos["final_info"]`, and what else is in the infos belongs to the reset. A render of the end can only be taken
  inside the sub-environment, before it resets.
* DISABLED: the caller resets, with `options={"reset_mask": …}`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from gymnasium.vector import AutoresetMode

from rolltape.schema.config import FragmentConfig
from rolltape.schema.frame_layout import picture_layout
from rolltape.schema.info_json import encode_info
from rolltape.schema.messages import ProducerKey
from rolltape.schema.run_schema import RunSchema

from .episode_rows import REPLAYS, STATUSES, EpisodeRows, Replay, Status, key_columns
from .frame_rows import FrameRows
from .grids import grid
from .infos import Agree, InfoColumns
from .obituary import Obituary, add_lost_episodes, ledger_batch
from .page import EPISODES, STEPS, ProducerPage
from .single_rows import ROW_OVERHEAD_BYTES, Batches, WallClock
from .vector_infos import Reader, final_reader, info_reader, nothing

Seeds = Callable[[int], int | None]
"""The seed with which a sub-environment was last reset, by its place; None: it was not seeded at that reset."""
Pictures = Callable[[], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Inside:
    """What whoever owns the sub-environments knows of each by its place, and the batch does not say.

    A vector environment's infos are arrays of the first value's type: an int there turns a later 0.33 into 0. Read
    inside, they are what the environment gave.

    Attributes:
        seed: of its last reset; None where that was not seeded.
        step_info: info of its last step.
        reset_info: info of its last reset.
        last_picture: under SAME_STEP the picture of its last episode's end, where renders are recorded.
    """

    seed: Seeds
    step_info: Reader
    reset_info: Reader
    last_picture: Callable[[int], Any]

ALONE, FORWARD = REPLAYS.index("alone"), REPLAYS.index("forward")

BYTES_PER_OBJECT = 512
"""Assumed size of a value whose space has no fixed size."""


class VectorRows:
    """The open fragment of a producer that steps a vector environment of N sub-environments."""

    def __init__(
        self,
        schema: RunSchema,
        key: ProducerKey,
        page: ProducerPage,
        config: FragmentConfig,
        *,
        num_envs: int,
        autoreset: AutoresetMode,
        sub_env_offset: int,
        stride: int,
        agree: Agree,
        first_index: Sequence[int] | int = 0,
        own_seed: Replay = "alone",
        clock: WallClock | None = None,
    ) -> None:
        self._schema, self._key, self._page, self._config = schema, key, page, config
        self._n, self._mode, self._offset, self._stride = num_envs, autoreset, sub_env_offset, stride
        self._clock = clock or WallClock()
        self._own_seed = REPLAYS.index(own_seed)
        page.episode_index[:] = np.asarray(first_index) - 1
        self._index, self._t = page.episode_index, page.episode_steps
        self._sub_env = np.arange(sub_env_offset, sub_env_offset + num_envs)
        self._episode = self._sub_env + stride * self._index
        self._open = np.zeros(num_envs, bool)
        self._return = np.zeros(num_envs)
        self._start_us = np.zeros(num_envs, np.int64)
        self._length = np.zeros(num_envs, np.int64)
        self._seed = np.zeros(num_envs, np.int64)
        self._seed_episode = np.full(num_envs, -1, np.int64)
        self._replay = np.full(num_envs, REPLAYS.index("none"), np.int8)
        self._options: list[str | None] | None = None
        self._reset_info: list[str | None] | None = None

        row_bytes = ROW_OVERHEAD_BYTES
        for codec in (schema.action, *((schema.observation,) if schema.has_observation_column else ())):
            row_bytes += sum(a.dtype.itemsize * int(np.prod(a.shape)) for a in codec.leaves) or BYTES_PER_OBJECT
        self._row_bytes = row_bytes
        slots = max(1, min(config.max_rows // num_envs, config.max_bytes // (num_envs * row_bytes)))
        self._slots = slots
        self._observations = grid(schema.observation, num_envs, slots + 1) if schema.has_observation_column else None
        self._actions = grid(schema.action, num_envs, slots)
        self._rewards = np.empty((num_envs, slots), np.float64)
        self._terminated = np.empty((num_envs, slots), bool)
        self._truncated = np.empty((num_envs, slots), bool)
        self._row_t = np.empty((num_envs, slots), np.int32)
        self._row_episode = np.empty((num_envs, slots), np.int64)
        self._valid = np.empty((num_envs, slots), bool)
        self._times = np.empty(slots, np.int64)
        self._infos = InfoColumns(agree)
        self._obituary: Obituary | None = None
        self._episodes = EpisodeRows(schema)
        self._frames: dict[str, FrameRows] = {}
        self._slot = 0
        self.rows = 0
        self.steps = 0
        self.episodes = 0
        self.completed = 0
        self.frames = 0
        self.return_sum = 0.0
        self.ignored_steps = 0
        self.oldest_ns: int | None = None

    def mourn(self, obituary: Obituary) -> None:
        """Take over from a producer that died: its losses are the first rows of this one."""
        add_lost_episodes(self._episodes, obituary)
        self.episodes = self._page.words[EPISODES] = len(self._episodes)
        self._obituary = obituary
        self.oldest_ns = self._clock.now_us() * 1000 - self._clock.offset_ns

    def reset(
        self,
        observations: Any,
        infos: dict[str, Any],
        *,
        mask: np.ndarray | None = None,
        seeds: Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
        inside: Inside | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        """Episodes begin in the sub-environments of `mask` (None: all).

        Args:
            observations: the batched observation after the reset; only the masked ones count.
            seeds: the seed of each sub-environment's reset, None where it was not given one.
            options: the reset's options without `reset_mask`.
            inside: says more than `seeds` and `infos`, for environments of our own.
        """
        places = np.flatnonzero(mask) if mask is not None else np.arange(self._n)
        self.abort(places)
        if self._observations is not None:
            self._observations.put(self._slot, observations, mask)
        text = encode_info(options) if options else None
        reader = info_reader(infos)
        if inside is not None:
            self._begin(places, reader and inside.reset_info, inside.seed, text)
        else:
            self._begin(places, reader, None if seeds is None else seeds.__getitem__, text)
        self._see(places, observations, pictures)

    def step(
        self,
        actions: Any,
        observations: Any,
        rewards: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        infos: dict[str, Any],
        *,
        inside: Inside | None = None,
        pictures: Pictures | None = None,
    ) -> bool:
        """One step of all sub-environments. True when the fragment should be closed now.

        Args:
            inside: what the batch does not say, for environments of our own.
            pictures: called for the renders of all sub-environments, where they are recorded.
        """
        slot, valid = self._slot, self._open
        now = self._clock.now_us()
        self._actions.put(slot, actions)
        self._rewards[:, slot] = rewards
        self._terminated[:, slot] = terminated
        self._truncated[:, slot] = truncated
        self._row_t[:, slot] = self._t
        self._row_episode[:, slot] = self._episode
        self._valid[:, slot] = valid
        self._times[slot] = now
        rows = int(np.count_nonzero(valid))
        whole = rows == self._n
        if whole:
            self._t += 1
            self._return += rewards
        else:
            self._t += valid
            np.add(self._return, rewards, out=self._return, where=valid)
        done = np.logical_or(terminated, truncated)
        if not whole:
            done &= valid
        self.rows += rows
        self.steps = self._page.words[STEPS] = self.steps + rows
        if self._mode == AutoresetMode.SAME_STEP:
            self._same_step(slot, done, observations, infos, terminated, truncated, inside, pictures)
        else:
            self._next_step(slot, done, observations, infos, terminated, truncated, inside, pictures)
        self._slot = slot + 1
        if self.oldest_ns is None:
            self.oldest_ns = now * 1000 - self._clock.offset_ns
        return self._slot >= self._slots or any(f.full for f in self._frames.values())

    def abort(self, places: np.ndarray | None = None) -> None:
        """Close the open episodes of `places` (None: all) as `aborted`."""
        places = np.arange(self._n) if places is None else places
        places = places[self._open[places]]
        if len(places):
            self._end(places, "aborted", None, None, self._waiting(places, self._slot))

    def due(self, now_ns: int) -> bool:
        """True when the oldest row of the open fragment is older than `fragment.max_age_s`."""
        return self.oldest_ns is not None and now_ns - self.oldest_ns >= self._config.max_age_s * 1e9

    @property
    def nbytes(self) -> int:
        """Bytes of the open fragment, about."""
        return self.rows * self._row_bytes + self._episodes.nbytes + sum(f.nbytes for f in self._frames.values())

    def close(self, fragment: int) -> Batches:
        """The open fragment as record batches by table, without the tables that have no rows; empty again."""
        batches: Batches = {}
        frames = [b for f in self._frames.values() if (b := f.close(self._key, fragment, self._offset)) is not None]
        if frames:
            batches["frames"] = frames[0] if len(frames) == 1 else pa.concat_batches(frames)
        if self.rows:
            batches["steps"] = self._steps_batch(fragment)
        if self._obituary is not None:
            if (ledger := ledger_batch(self._schema, self._obituary, self._key, fragment)) is not None:
                batches["ledger"] = ledger
            self._obituary = None
        if (episodes := self._episodes.close(self._key, fragment)) is not None:
            batches["episodes"] = episodes
        if self._slot and self._observations is not None:
            self._observations.carry(self._slot)
        self._slot = 0
        self.rows = 0
        self.oldest_ns = None
        return batches

    def _steps_batch(self, fragment: int) -> pa.RecordBatch:
        n, slots = self.rows, self._slot
        valid = self._valid[:, :slots]
        whole = n == self._n * slots

        def flat(array: np.ndarray) -> np.ndarray:
            cut = array[:, :slots]
            return cut.reshape(-1) if whole else cut[valid]

        counts = np.full(self._n, slots) if whole else np.count_nonzero(valid, axis=1)
        times = np.broadcast_to(self._times[:slots], (self._n, slots))
        columns = key_columns(self._schema, self._key, fragment, np.repeat(self._sub_env, counts), flat(self._row_episode))
        columns += [pa.array(flat(self._row_t)), pa.array(flat(times)).cast(pa.timestamp("us", tz="UTC"))]
        if self._observations is not None:
            columns.append(self._observations.take(valid))
        columns += [
            self._actions.take(valid),
            pa.array(flat(self._rewards)),
            pa.array(flat(self._terminated)),
            pa.array(flat(self._truncated)),
        ]

        def place(noted: list[int]) -> np.ndarray:
            """From slot * N + place to the row of the batch, -1 where that was no transition."""
            row = np.where(valid, np.cumsum(valid).reshape(valid.shape) - 1, -1)
            slot, sub_env = np.divmod(np.asarray(noted), self._n)
            return row[sub_env, slot]

        info, info_json = self._infos.close(n, place)
        columns += [info_json] if info is None else [info, info_json]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema.arrow("steps", self._infos.struct))

    def _next_step(
        self,
        slot: int,
        done: np.ndarray,
        observations: Any,
        infos: dict[str, Any],
        terminated: np.ndarray,
        truncated: np.ndarray,
        inside: Inside | None,
        pictures: Pictures | None,
    ) -> None:
        step_info = reset_info = info_reader(infos) if infos else None
        if inside is not None and infos:
            step_info, reset_info = inside.step_info, inside.reset_info
        if step_info is not None:
            for place in np.flatnonzero(self._open).tolist():
                self._infos.add(slot * self._n + place, step_info(place))
        if self._observations is not None:
            self._observations.put(slot + 1, observations)
        stepped = self._open.copy() if self._frames_wanted else None
        began = np.flatnonzero(~self._open) if self._mode == AutoresetMode.NEXT_STEP and not self._open.all() else ()
        places = np.flatnonzero(done)
        if len(places):
            self._end(places, "completed", terminated, truncated, self._waiting(places, slot + 1))
        if stepped is not None:
            self._see(np.flatnonzero(stepped), observations, pictures, done)
        if len(began):
            self._begin(began, reset_info, inside and inside.seed, None)
            self._see(began, observations, pictures)

    def _same_step(
        self,
        slot: int,
        done: np.ndarray,
        observations: Any,
        infos: dict[str, Any],
        terminated: np.ndarray,
        truncated: np.ndarray,
        inside: Inside | None,
        pictures: Pictures | None,
    ) -> None:
        places = np.flatnonzero(done)
        final = infos.get("final_obs")
        reset_info = info_reader(infos)
        step_info, last_info = reset_info or nothing, final_reader(infos) or nothing
        if inside is not None and infos:
            step_info = last_info = inside.step_info
            reset_info = inside.reset_info
        if infos:
            for place in np.flatnonzero(self._open).tolist():
                info = last_info(place) if done[place] else step_info(place)
                if info:
                    self._infos.add(slot * self._n + place, info)
        if self._observations is not None:
            self._observations.put(slot + 1, observations)
        if self._frames_wanted:
            self._see(np.flatnonzero(self._open & ~done), observations, pictures)
        if len(places):
            if self._schema.layout is not None:
                for place in places.tolist():
                    self._picture("observation", place, np.asarray(final[place]))
            if self._schema.renders and inside is not None:
                for place in places.tolist():
                    self._picture("render", place, np.asarray(inside.last_picture(place)))
            last = None if self._observations is None else self._schema.observation.encode([final[i] for i in places])
            self._end(places, "completed", terminated, truncated, last)
            self._begin(places, reset_info, inside and inside.seed, None)
            self._see(places, observations, pictures)

    @property
    def _frames_wanted(self) -> bool:
        return self._schema.layout is not None or self._schema.renders

    def _see(self, places: np.ndarray, observations: Any, pictures: Pictures | None, last: np.ndarray | None = None) -> None:
        if self._schema.layout is not None:
            for place in places.tolist():
                self._picture("observation", place, np.asarray(observations[place]))
        if pictures is None:
            return
        wanted = self._t[places] % self._schema.every == 0
        if last is not None:
            wanted |= last[places]
        if wanted.any():
            rendered = pictures()
            for place in places[wanted].tolist():
                self._picture("render", place, np.asarray(rendered[place]))

    def _picture(self, kind: str, place: int, picture: np.ndarray) -> None:
        rows = self._frames.get(kind)
        if rows is None:
            layout = self._schema.layout if kind == "observation" and self._schema.layout else picture_layout(str(picture.dtype), picture.shape)
            rows = self._frames[kind] = FrameRows(self._schema, kind, layout, self._n, self._config.max_bytes)
        rows.add(place, int(self._episode[place]), self._picture_t(place), picture)
        self.frames += 1

    def _picture_t(self, place: int) -> int:
        """The t of what is seen now: the length of the episode where it has just ended."""
        t = int(self._t[place])
        return t if t >= 0 else int(self._length[place])

    def _waiting(self, places: np.ndarray, slot: int) -> pa.Array | None:
        return None if self._observations is None else self._observations.pick(places, slot)

    def _begin(self, places: np.ndarray, reader: Reader | None, seeds: Seeds | None, options: str | None) -> None:
        self._index[places] += 1
        self._episode[places] += self._stride
        self._t[places] = 0
        self._return[places] = 0.0
        self._start_us[places] = self._clock.now_us()
        self._open[places] = True
        index = places.tolist() if seeds is not None or reader is not None or options or self._options else ()
        if seeds is None:
            replay = self._replay[places]
            self._replay[places] = np.where(replay == ALONE, FORWARD, replay)
        else:
            for place in index:
                if (seed := seeds(place)) is not None:
                    self._seed[place], self._seed_episode[place] = seed, self._episode[place]
                    self._replay[place] = self._own_seed
                elif self._replay[place] == ALONE:
                    self._replay[place] = FORWARD
        if options is not None or self._options is not None:
            self._options = self._options or [None] * self._n
            for place in index:
                self._options[place] = options
        if reader is not None:
            self._reset_info = self._reset_info or [None] * self._n
            for place in index:
                info = reader(place)
                self._reset_info[place] = encode_info(info) if info else None
        elif self._reset_info is not None:
            for place in places.tolist():
                self._reset_info[place] = None

    def _end(
        self,
        places: np.ndarray,
        status: Status,
        terminated: np.ndarray | None,
        truncated: np.ndarray | None,
        final: pa.Array | None,
    ) -> None:
        n = len(places)
        returns = self._return[places]
        length = self._t[places]
        never = np.zeros(n, bool)
        self._episodes.extend(
            n,
            sub_env=self._sub_env[places],
            episode=self._episode[places],
            status=np.full(n, STATUSES.index(status), np.int8),
            length=length,
            episode_return=returns,
            terminated=never if terminated is None else terminated[places],
            truncated=never if truncated is None else truncated[places],
            seed=self._seed[places],
            seed_episode=self._seed_episode[places],
            replay=self._replay[places],
            options=None if self._options is None else [self._options[i] for i in places.tolist()],
            reset_info=None if self._reset_info is None else [self._reset_info[i] for i in places.tolist()],
            start_us=self._start_us[places],
            end_us=np.full(n, self._clock.now_us()),
            final_observation=final,
        )
        self._length[places] = length
        self._t[places] = -1
        self._open[places] = False
        self.episodes += n
        self._page.words[EPISODES] = self.episodes
        if status == "completed":
            self.completed += n
            self.return_sum += float(returns.sum())
        if self.oldest_ns is None:
            self.oldest_ns = self._clock.now_us() * 1000 - self._clock.offset_ns
