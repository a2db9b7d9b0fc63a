"""Rows of a vector environment: written slot by slot, one slot a step, taken out as a fragment by `seal`.

The life of an episode stands at the top of `single_rows`. What the three autoreset modes add to it:

* NEXT_STEP: the step after an end ignores its action and returns the reset; it is no transition and gives no row.
* SAME_STEP: the step that ends an episode returns the first observation of the next; its own is `infos["final_obs"]`
  (unknown where that is missing), its own info is `infos["final_info"]`, and what else is in the infos belongs to the
  reset. A render of the end can only be taken inside the sub-environment, before it resets.
* DISABLED: the caller resets, with `options={"reset_mask": …}`.

A step whose values do not fit raises SchemaMismatch and gives no row; all open episodes are closed as `aborted`. From
then on, as before the first reset, a sub-environment is out of sight until it is reset, by the caller or after an end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from rolltape.schema.config import FragmentConfig
from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.info_json import encode_info
from rolltape.schema.messages import ProducerKey
from rolltape.schema.run_schema import RunSchema

from .episode_rows import LARGEST_SEED, REPLAYS, STATUSES, EpisodeRows, Replay, Status, Values
from .infos import Agree, InfoColumns, InfoTypes
from .inside import Inside, Seeds
from .misfit import refuse
from .obituary import Obituary, add_lost_episodes
from .open_rows import OpenRows, row_bytes
from .page import EPISODES, STEPS, ProducerPage
from .vector_block import SealedBlock, VectorBlock
from .vector_infos import Reader, final_reader, info_reader, nothing
from .vector_pictures import Pictures, VectorPictures, once
from .wall_clock import WallClock

_NOWHERE = np.zeros(0, np.int64)
ALONE, FORWARD, NONE = map(REPLAYS.index, ("alone", "forward", "none"))


class VectorRows(OpenRows):
    """The open fragment of a producer that steps a vector environment of N sub-environments."""

    resets_itself = True
    """Whether episodes begin in steps as well."""

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
        super().__init__(config)
        self._schema, self._key, self._page = schema, key, page
        self._n, self._mode, self._offset, self._stride = num_envs, autoreset, sub_env_offset, stride
        self._clock = clock or WallClock()
        self._own_seed = REPLAYS.index(own_seed)
        page.episode_index[:] = np.asarray(first_index) - 1
        self._index, self._t = page.episode_index, page.episode_steps
        self._sub_env = np.arange(sub_env_offset, sub_env_offset + num_envs)
        self._episode = self._sub_env + stride * self._index
        self._open = np.zeros(num_envs, bool)
        self._unseen = np.ones(num_envs, bool)
        self._blind = True  # whether any is unseen
        self._return = np.zeros(num_envs)
        self._start_us = np.zeros(num_envs, np.int64)
        self._seed = np.zeros(num_envs, np.int64)
        self._seed_episode = np.full(num_envs, -1, np.int64)
        self._replay = np.full(num_envs, NONE, np.int8)
        self._options: np.ndarray | None = None
        self._reset_info: np.ndarray | None = None

        kept = [schema.action, *([schema.observation] if schema.has_observation_column else [])]
        self._row_bytes = row_bytes(kept)
        slots = max(1, min(config.max_rows // num_envs, config.max_bytes // (num_envs * self._row_bytes)))
        self._room = self._limit = self._bar = slots
        self._block = VectorBlock(schema, num_envs, slots)
        self._spare: list[VectorBlock] = []
        self._pictures = VectorPictures(schema, num_envs, config.max_bytes, self._episode, self._t)
        self._bulky = self._pictures.wanted or not all(codec.is_fixed for codec in kept)
        """Whether rows have parts of any size, which have to be counted."""
        self._info_types = InfoTypes(agree)
        self._infos = InfoColumns(self._info_types)
        self._obituary: Obituary | None = None
        self._episodes = EpisodeRows(schema)
        self._slot = 0
        self.ignored_steps = 0

    @property
    def frames(self) -> int:
        """Pictures recorded since the start."""
        return self._pictures.total

    @property
    def first_sub_env(self) -> int:
        """Number of its first sub-environment in the run."""
        return self._offset

    def stands(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """By sub-environment: whether an episode is open, its number, and its steps so far (-1: none is open).

        Arrays that the rows go on with: copy what is kept.
        """
        return self._open, self._episode, self._t

    def mourn(self, obituary: Obituary) -> None:
        """Take over from a producer that died: its losses are the first rows of this one."""
        add_lost_episodes(self._episodes, obituary)
        self.episodes = self._page.words[EPISODES] = len(self._episodes)
        self._obituary = obituary
        self._began(self._now_ns())

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
    ) -> bool:
        """Episodes begin in the sub-environments of `mask` (None: all). True when the fragment should be closed now.

        Args:
            observations: the batched observation after the reset; only the masked ones count.
            seeds: the seed of each sub-environment's reset, None where it was not given one.
            options: the reset's options without `reset_mask`.
            inside: says more than `seeds` and `infos`, for environments of our own.
        """
        places = np.flatnonzero(mask) if mask is not None else np.arange(self._n)
        self.abort(places)
        self._unseen[places] = True
        try:
            self._pictures.check(observations)
            if self._block.observations is not None:
                self._block.observations.put(self._slot, observations, mask)
            text = encode_info(options) if options else None
            reader = info_reader(infos)
            if inside is not None:
                self._begin(places, inside.reset_info, inside.seed, text)
            else:
                self._begin(places, reader, None if seeds is None else seeds.__getitem__, text)
            self._blind = bool(self._unseen.any())
            self._pictures.see(places, observations, pictures)
        except BaseException as error:
            self.lose_sight()
            refuse("observations of a reset", error)
        if self._pictures.begun:
            self._began(self._now_ns())
        return self._bulky and self._full()

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
        what = "actions"
        try:
            block = self._block
            if slot == block.slots:  # a full fragment could not be sent because the wait for it was interrupted
                block.grow()
            block.actions.put(slot, actions)
            what = "observations"
            self._pictures.check(observations)
            if block.observations is not None:
                block.observations.put(slot + 1, observations)
            what = "rewards, terminated or truncated"
            if np.size(rewards) != self._n or np.size(terminated) != self._n or np.size(truncated) != self._n:
                found = [np.shape(values) for values in (rewards, terminated, truncated)]
                raise SchemaMismatch(f"expected {self._n} of each, found the shapes {found}.")
            block.rewards[slot] = rewards
            block.terminated[slot] = terminated
            block.truncated[slot] = truncated
            ended = np.logical_or(terminated, truncated)
            rows = int(np.count_nonzero(valid))
            whole = rows == self._n
            done = ended if whole else ended & valid
            what = "infos"
            self._note_infos(slot, done, infos, inside)
            what = "final_obs"
            ends = np.flatnonzero(done)
            last = self._last_observations(slot, ends, infos)
            what = "pictures"
            self._count(slot, valid, rows, whole, now)
            if not whole:
                begins = self._beginnings(valid, ended)
            else:
                begins = ends if self._mode == AutoresetMode.SAME_STEP else _NOWHERE
            self._turn(slot, ends, begins, last, observations, infos, inside, pictures)
        except BaseException as error:
            if self._slot == slot:
                self._infos.drop(slot * self._n)
            self.lose_sight()
            refuse(what, error)
        return self._slot >= self._limit or (self._bulky and self._full())

    def abort(self, places: np.ndarray | None = None) -> None:
        """Close the open episodes of `places` (None: all) as `aborted`."""
        places = np.arange(self._n) if places is None else places
        places = places[self._open[places]]
        if len(places):
            self._end(places, "aborted", None, None, self._waiting(places, self._slot))

    @property
    def full(self) -> bool:
        """Whether the fragment should be closed now."""
        return self._slot >= self._bar or (self._bulky and self._full())

    def place(self, place: int) -> tuple[int, int, float]:
        """Episode, t and return so far of one sub-environment; t is -1 between episodes."""
        return int(self._episode[place]), int(self._t[place]), float(self._return[place])

    def places(self) -> tuple[bytes, bytes, bytes]:
        """The same of all: int64, int32 and float64."""
        return self._episode.astype(np.int64).tobytes(), self._t.astype(np.int32).tobytes(), self._return.tobytes()

    @property
    def nbytes(self) -> int:
        """Bytes of the open fragment, about."""
        return self.rows * self._row_bytes + self._loose_bytes() + self._pictures.nbytes

    def seal(self) -> SealedBlock | None:
        """The open fragment, and empty again; None where there is nothing in it."""
        if self.oldest_ns is None:
            return None
        block, nbytes = self._block, self.nbytes
        frames = self._pictures.seal()
        sealed = SealedBlock(
            self._schema,
            self._key,
            self._sub_env,
            self._slot,
            self.rows,
            block,
            self._infos,
            self._info_types,
            self._episodes,
            frames,
            self._obituary,
            nbytes,
            self.oldest_ns,
            self._spare,
        )
        self._block = self._spare.pop() if self._spare else VectorBlock(self._schema, self._n, self._room)
        if self._block.observations is not None:
            self._block.observations.carry(block.observations, self._slot)
        self._infos = InfoColumns(self._info_types)
        self._episodes = EpisodeRows(self._schema)
        self._obituary = None
        self._slot = 0
        self._emptied()
        return sealed

    def _count(self, slot: int, valid: np.ndarray, rows: int, whole: bool, now_us: int) -> None:
        """When this returns, the step is recorded."""
        block = self._block
        block.t[slot] = self._t
        block.episode[slot] = self._episode
        block.valid[slot] = valid
        block.times[slot] = now_us
        rewards = block.rewards[slot]
        if whole:
            returns = self._return + rewards
        else:
            returns = self._return.copy()
            np.add(returns, rewards, out=returns, where=valid)
        self._began(now_us * 1000 - self._clock.offset_ns)
        # From here to the end nothing is called: all of it happens, or nothing.
        self._return = returns
        self._t += valid
        self.rows += rows
        self._page.words[STEPS] = self._before + self.rows
        self._slot = slot + 1

    def _note_infos(self, slot: int, done: np.ndarray, infos: dict[str, Any], inside: Inside | None) -> None:
        if inside is not None:
            of_step = of_last = inside.step_info
        elif infos:
            of_step = of_last = info_reader(infos) or nothing
            if self._mode == AutoresetMode.SAME_STEP:
                of_last = final_reader(infos) or nothing
        else:
            return
        for place in np.flatnonzero(self._open).tolist():
            if info := (of_last if done[place] else of_step)(place):
                self._infos.add(slot * self._n + place, info)
                self._bulky = True

    def _last_observations(self, slot: int, places: np.ndarray, infos: dict[str, Any]) -> Values | None:
        """The observations after which the episodes of `places` have ended, where they are a column."""
        if not len(places):
            return None
        if self._mode != AutoresetMode.SAME_STEP:
            return self._waiting(places, slot + 1)
        final = infos.get("final_obs")
        values = [None if final is None else final[place] for place in places.tolist()]
        if self._schema.has_observation_column:
            return self._schema.observation.encode(values)
        for value in values:
            if value is not None:
                self._pictures.check_one(np.asarray(value))
        return None

    def _turn(
        self,
        slot: int,
        ends: np.ndarray,
        begins: np.ndarray,
        last: Values | None,
        observations: Any,
        infos: dict[str, Any],
        inside: Inside | None,
        pictures: Pictures | None,
    ) -> None:
        """Episodes end and begin, and what is seen now is kept; `ends` and `begins` are places."""
        if pictures is not None:
            pictures = once(pictures)
        if self._pictures.wanted:
            went_on = self._open.copy()
            went_on[ends] = False
            self._pictures.see(np.flatnonzero(went_on), observations, pictures)
            if self._mode == AutoresetMode.SAME_STEP:
                self._pictures.see_last(ends, infos, inside)
            else:
                self._pictures.see(ends, observations, pictures, last=True)
        if len(ends):
            self._end(ends, "completed", self._block.terminated[slot], self._block.truncated[slot], last)
        if len(begins):
            self._begin(begins, inside.reset_info if inside else info_reader(infos), inside and inside.seed, None)
            self._pictures.see(begins, observations, pictures)

    def _beginnings(self, valid: np.ndarray, ended: np.ndarray) -> np.ndarray:
        """Where the observation of this step is that of a reset; counts the steps that are nobody's."""
        if not self._blind:
            if self._mode == AutoresetMode.NEXT_STEP:
                return np.flatnonzero(~valid)
            self.ignored_steps += self._n - int(np.count_nonzero(valid))
            return np.flatnonzero(ended & valid) if self._mode == AutoresetMode.SAME_STEP else _NOWHERE
        if self._mode == AutoresetMode.SAME_STEP:
            begins = ended & (valid | self._unseen)
        elif self._mode == AutoresetMode.NEXT_STEP:
            begins = ~(valid | self._unseen)
            self._unseen &= ~ended
        else:
            begins = np.zeros(self._n, bool)
        self.ignored_steps += int(np.count_nonzero(~(valid | begins)))
        self._blind = bool((self._unseen & ~begins).any())
        return np.flatnonzero(begins)

    def lose_sight(self) -> None:
        """Close all open episodes as `aborted`; nothing is recorded until the next reset of each sub-environment."""
        newest = self._episodes.newest
        if newest is not None:  # an interrupt may have come between an episode's row and the note that it has ended
            ended = self._open & np.isin(self._episode, newest)
            self._t[ended] = -1
            self._open[ended] = False
        self.abort()
        self._unseen[:] = True
        self._blind = True

    def _full(self) -> bool:
        return self._pictures.full or self._loose_bytes() >= self._config.max_bytes

    def _loose_bytes(self) -> int:
        return self._block.nbytes + self._infos.nbytes + self._episodes.nbytes

    def _now_ns(self) -> int:
        return self._clock.now_us() * 1000 - self._clock.offset_ns

    def _waiting(self, places: np.ndarray, slot: int) -> Values | None:
        return None if self._block.observations is None else self._block.observations.pick(places, slot)

    def _begin(self, places: np.ndarray, reader: Reader | None, seeds: Seeds | None, options: str | None) -> None:
        now = self._clock.now_us()
        episode = self._episode[places] + self._stride
        replay = self._replay[places]
        replay[replay == ALONE] = FORWARD
        if seeds is not None:
            seed, seed_episode = self._seed[places], self._seed_episode[places]
            for i, place in enumerate(places.tolist()):
                if (own := seeds(place)) is not None:
                    known = own <= LARGEST_SEED
                    seed[i], seed_episode[i] = (own, episode[i]) if known else (0, -1)
                    replay[i] = self._own_seed if known else NONE
            self._seed[places], self._seed_episode[places] = seed, seed_episode
        if options is not None and self._options is None:
            self._options = np.full(self._n, None, object)
        if reader is not None:
            infos = np.full(len(places), None, object)
            for i, place in enumerate(places.tolist()):
                if info := reader(place):
                    infos[i] = encode_info(info)
            if self._reset_info is None:
                self._reset_info = np.full(self._n, None, object)
            self._reset_info[places] = infos
        elif self._reset_info is not None:
            self._reset_info[places] = None
        # From here to the end nothing is called: all of it happens, or nothing.
        if self._options is not None:
            self._options[places] = options
        self._replay[places] = replay
        self._return[places] = 0.0
        self._start_us[places] = now
        self._index[places] += 1
        self._episode[places] = episode
        self._t[places] = 0
        self._unseen[places] = False
        self._open[places] = True

    def _end(
        self,
        places: np.ndarray,
        status: Status,
        terminated: np.ndarray | None,
        truncated: np.ndarray | None,
        final: Values | None,
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
            options=None if self._options is None else self._options[places].tolist(),
            reset_info=None if self._reset_info is None else self._reset_info[places].tolist(),
            start_us=self._start_us[places],
            end_us=np.full(n, self._clock.now_us()),
            final_observation=final,
        )
        self._t[places] = -1
        self._open[places] = False
        self.episodes += n
        self._page.words[EPISODES] = self.episodes
        if status == "completed":
            self.completed += n
            self.return_sum += float(returns.sum())
        self._began(self._now_ns())
