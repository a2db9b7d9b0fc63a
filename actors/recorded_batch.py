"""A native vector environment's recorded batch: its rows as they were stepped.

Rules:
1. The rows of a producer are laid out again as the batch that they were: step k of the batch holds one row of each
   sub-environment, except where that one was being reset (NEXT_STEP autoreset ignores an action and gives no row).
2. Under SAME_STEP the step that ends an episode gives the first observation and info of the next; its own are in
   `infos["final_obs"]` and `infos["final_info"]`.
3. Resets by the caller in between are laid out as well (`batch_layout`) and made again. Of one with a mask only what
   the masked sub-environments observe counts, as it did for the recorder.
4. The swift way (swift_batch.py) says only whether all is the same, the careful one (careful_batch.py) what differs
   first.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import pyarrow as pa

from rolltape.schema.info_json import decode_info, encode_info
from rolltape.schema.picture_digest import picture_digest, picture_digests
from rolltape.schema.run_schema import DIGEST, STORING
from rolltape.schema.space_codec import SpaceCodec

from .batch_layout import MISSING, BatchReset, Layout, began_before, is_usual, lacks_steps, lay_out, slots_of
from .compared_infos import InfoRows, unlike_key
from .differences import magnitude
from .films import Films
from .infos import InfoColumns
from .recorded_rows import STEP_COLUMNS, steps_of_producer
from .recorded_steps import finals_of, leaves
from .remaking import native_again
from .replayed import Divergence
from .stepping import EnvRecipe
from .vector_infos import Reader, final_reader, info_reader, nothing

if TYPE_CHECKING:
    from rolltape.storage.runs import Run



class RecordedBatch:
    """The recorded rows of one producer, laid out as a batch, and what both ways through it need.

    Args:
        rows: its episodes, but for lost ones.
        ignored: info keys that are not compared; more may be added.

    Attributes:
        reason: why it cannot be laid out again; empty where it is.
        offset, n: its first sub-environment and how many there are.
        place, episode, t, slot: by row: its sub-environment from 0, its episode and step, and the call of `step` that
            gave it.
        resets: by slot, what the caller reset before it.
        actions, observations, finals: arrays of the leaves of their spaces, by row; of last observations by `final_of`,
            which has an episode's place.
        rewards, ends, infos: by row; `ends` by the names of the flags.
        same_step, digests, seen_pictures: how episodes end, and whether observations are digests or pictures.
    """

    def __init__(
        self,
        run: Run,
        worker: int,
        incarnation: int,
        rows: list[dict[str, Any]],
        recipe: EnvRecipe,
        ignored: set[str],
    ) -> None:
        self._run, self._info, self._recipe, self.ignored = run, run.info, recipe, ignored
        self._rows = rows
        self._observation, self._action = run.codec("observation"), run.codec("action")
        mine = f"worker = {worker} and incarnation = {incarnation}"
        self.offset, last = _sub_envs_of(run, mine, rows)
        self._mode = run.info["env"]["autoreset"]
        self.same_step = self._mode == "same_step"
        usual = is_usual(rows, self._mode)
        self._mine = worker, incarnation, (self.offset, last)
        table = steps_of_producer(run, *self._mine, STEP_COLUMNS if usual else (*STEP_COLUMNS, "time"))
        if not usual:
            earlier = began_before(table["sub_env"].to_numpy(), table["episode"].to_numpy(), rows)
            table = table.filter(pa.array(~earlier)).combine_chunks() if earlier.any() else table
        sub_env = table["sub_env"].to_numpy()
        self.n = last - self.offset + 1
        self.digests = "observation_digest" in table.column_names
        if self.digests:
            self._observation = SpaceCodec(DIGEST)
        parts = self._observation.leaves
        self._one_array = (parts[0].dtype, (self.n, *parts[0].shape)) if len(parts) == 1 else None
        self.place = sub_env - self.offset
        self.episode = table["episode"].to_numpy()
        self.t = table["t"].to_numpy()
        self.reason = ""
        self.slot, self.resets = self.place, {}
        if lacks_steps(self.episode, self.t, rows):
            self.reason = MISSING
        elif usual:
            slots = slots_of(self.place, self.episode, 0 if self.same_step else 1)
            first = BatchReset(rows[0]["seed"], decode_info(rows[0]["options"]) or None)
            self.take(Layout(slots, {0: [first]}))
        elif isinstance(layout := self._lay_out(table["time"].to_numpy(), by_caller=False), str):
            self.reason = layout
        else:
            self.take(layout)
        self.actions = leaves(self._action.decode_batch(table["action"]))
        self.rewards = table["reward"].to_numpy()
        self.ends = {name: table[name].to_numpy(zero_copy_only=False) for name in ("terminated", "truncated")}
        self.infos = InfoRows.of(table)
        self._reset_infos = {row["episode"]: row["reset_info"] for row in rows}
        self.seen_pictures = False
        self.observations: list[np.ndarray] = []
        self.finals: list[np.ndarray] = []
        self.final_of: dict[int, int] = {}
        name = "observation_digest" if self.digests else "observation"
        if name in table.column_names:
            self.observations = self._decoded(table[name])
            ended = [row for row in rows if row["status"] == "completed"]
            finals = finals_of(run, ended, f"final_{name}")
            known = [] if finals is None else np.flatnonzero(finals.is_valid()).tolist()
            self.finals = self._decoded(finals.drop_null()) if finals is not None and known else []
            self.final_of = {ended[at]["episode"]: i for i, at in enumerate(known)}
        else:
            self.seen_pictures = run.info["frames"]["policy"] in STORING

    def _decoded(self, column: Any) -> list[np.ndarray]:
        return [column.to_numpy()] if self.digests else leaves(self._observation.decode_batch(column))

    def _lay_out(self, times: np.ndarray, *, by_caller: bool) -> Layout | str:
        micros = times.astype("datetime64[us]").astype(np.int64)
        rows = self.place, self.episode, self.t, micros
        return lay_out(*rows, self._rows, self._mode, self.n, by_caller=by_caller, offset=self.offset)

    def laid_out_by_the_caller(self) -> Layout | None:
        """How it is laid out where all episodes that ended in one step were reset by the caller; None where that is the
        same, or cannot be."""
        if self._mode != "next_step" or not len(self.slot) or len(np.unique(self.slot)) == self.slot.max() + 1:
            return None
        times = steps_of_producer(self._run, *self._mine, ("time",))
        if len(times) != len(self.slot) or any(row["began"] is None for row in self._rows):
            return None
        layout = self._lay_out(times["time"].to_numpy(), by_caller=True)
        return None if isinstance(layout, str) else layout

    @property
    def layout(self) -> Layout:
        """How it is laid out now."""
        return Layout(self.slot, self.resets)

    def take(self, layout: Layout) -> None:
        """Lay it out so."""
        self.slot, self.resets = layout.slots, layout.resets

    def make(self) -> gym.vector.VectorEnv[Any, Any, Any]:
        """The environment again, as many sub-environments."""
        return native_again(self._recipe, self.n, self._info["space_signature"])

    def split(self, observations: Any) -> list[np.ndarray]:
        """The arrays of batched observations in the order of the recorded ones; a dict may have its own order."""
        if self.digests:
            return [picture_digests(observations)]
        if type(observations) is np.ndarray and (observations.dtype, observations.shape) == self._one_array:
            return [observations]
        return self._observation.split_batch(observations, self.n)

    def split_one(self, observation: Any) -> list[np.ndarray]:
        """The arrays of one sub-environment's observation."""
        return [np.asarray(picture_digest(observation))] if self.digests else self._observation.split(observation)

    def reset(
        self, env: gym.vector.VectorEnv[Any, Any, Any], slot: int, observations: Any, given: Reader | None
    ) -> tuple[Any, Reader | None]:
        """What the caller reset before a step; what is observed now, and the reader of the infos that came with it."""
        for reset in self.resets.get(slot, ()):
            if reset.mask is None:
                observations, infos = env.reset(seed=reset.seed, options=copy.deepcopy(reset.options))
                given = info_reader(infos)
                continue
            before = copy.deepcopy(observations)
            options = {**copy.deepcopy(reset.options or {}), "reset_mask": reset.mask.copy()}
            fresh, infos = env.reset(seed=reset.seed, options=options)
            observations = _masked(reset.mask, fresh, before)
            given = _either(reset.mask, info_reader(infos), given)
        return observations, given

    def unlike_resets(self, rows: list[int], given: Reader | None) -> Iterator[tuple[int, Divergence]]:
        """Places in which the info of a reset differs; `given` reads those that came with the observations."""
        if given is None and not self.has_reset_infos:
            return
        for place, row in enumerate(rows):
            if row < 0 or self.t[row] != 0:
                continue
            info = given(place) if given is not None else {}
            recorded, text = self._reset_infos.get(int(self.episode[row])), encode_info(info) if info else None
            if text == recorded:
                continue
            was, now = decode_info(recorded), decode_info(text)
            if (key := unlike_key(was, now, self.ignored)) is not None:
                found = was.get(key), now.get(key)
                yield place, Divergence(0, f"reset_info.{key}", *found, magnitude(*found))

    def has_reset_infos(self) -> bool:
        """Whether a reset gave any info."""
        return any(self._reset_infos.values())

    def note_infos(
        self, noted: InfoColumns, first: int, rows: list[int], done: np.ndarray, infos: dict[str, Any]
    ) -> None:
        """Note the infos of recorded rows, numbered from `first` by place; of an episode's end its own ones."""
        of_step = of_last = info_reader(infos) or nothing
        if self.same_step:
            of_last = final_reader(infos) or nothing
        for place, row in enumerate(rows):
            if row >= 0 and (info := (of_last if done[place] else of_step)(place)):
                noted.add(first + place, info)

    def last_observations(
        self, rows: list[int], done: np.ndarray, observations: Any, infos: dict[str, Any]
    ) -> dict[int, Any]:
        """By place: what was observed after the last step of an episode that ends, where it is known."""
        places = [place for place, row in enumerate(rows) if row >= 0 and done[place]]
        if not self.same_step:
            return {place: observations[place] for place in places} if self.seen_pictures else {}
        final = infos.get("final_obs")
        return {} if final is None else {place: final[place] for place in places if final[place] is not None}

    def films(self) -> Films | None:
        """The recorded pictures, where they are the observations."""
        return Films(self._run, self.episode, self.t) if self.seen_pictures else None


def _masked(mask: np.ndarray, fresh: Any, before: Any) -> Any:
    """Batched observations of a reset: those of the masked sub-environments, of the others what they were before."""
    if isinstance(fresh, dict):
        return {name: _masked(mask, value, before[name]) for name, value in fresh.items()}
    if isinstance(fresh, tuple):
        return tuple(_masked(mask, *pair) for pair in zip(fresh, before, strict=True))
    before[mask] = fresh[mask]
    return before


def _either(mask: np.ndarray, fresh: Reader | None, before: Reader | None) -> Reader:
    """A reader of what a reset gave to the masked sub-environments, and of what the others had before."""
    new, old = fresh or nothing, before or nothing
    return lambda place: (new if mask[place] else old)(place)


def _sub_envs_of(run: Run, mine: str, rows: list[dict[str, Any]]) -> tuple[int, int]:
    """The first and the last sub-environment of a batch: of one that was killed some may have no episode that ended."""
    ended = {row["sub_env"] for row in rows}
    if len(ended) == run.info["env"]["num_envs"]:
        return min(ended), max(ended)
    (stepped,) = run.steps(where=mine).select("min(sub_env) AS first", "max(sub_env) AS last").to_dicts()
    found = ended.union(place for place in stepped.values() if place is not None)
    return min(found), max(found)


def shaped(space: gym.Space[Any], arrays: list[np.ndarray]) -> Any:
    """Arrays in the order of `leaves` as a batched action; copies, for whoever keeps them."""
    rest = iter(arrays)

    def build(part: gym.Space[Any]) -> Any:
        if isinstance(part, gym.spaces.Dict):
            return {name: build(inner) for name, inner in part.items()}
        if isinstance(part, gym.spaces.Tuple):
            return tuple(build(inner) for inner in part)
        return next(rest).copy()

    return build(space)
