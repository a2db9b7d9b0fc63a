"""A native vector environment's recorded batch: its rows as they were stepped, and the ways through them.

Rules:
1. The rows of a producer are laid out again as the batch that they were: step k of the batch holds one row of each
   sub-environment, except where that one was being reset (NEXT_STEP autoreset ignores an action and gives no row).
2. Under SAME_STEP the step that ends an episode gives the first observation and info of the next; its own are in
   `infos["final_obs"]` and `infos["final_info"]`.
3. Resets by the caller in between are laid out as well (`batch_layout`) and made again. Of one with a mask only what
   the masked sub-environments observe counts, as it did for the recorder.
4. The swift way says only whether all is the same, the careful one what differs first.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import gymnasium as gym
import numpy as np
import pyarrow as pa
from gymnasium.vector.utils import batch_space

from rolltape.schema.info_json import decode_info, encode_info
from rolltape.schema.picture_digest import picture_digest, picture_digests
from rolltape.schema.run_schema import DIGEST, STORING
from rolltape.schema.space_codec import SpaceCodec

from .batch_layout import MISSING, BatchReset, Layout, began_before, is_usual, lacks_steps, lay_out, slots_of
from .compared_infos import InfoRows, unlike_key, unlike_row
from .differences import ANOTHER, magnitude
from .films import Films
from .infos import InfoColumns
from .recorded_rows import STEP_COLUMNS, steps_of_producer
from .recorded_steps import leaves
from .remaking import native_again
from .replayed import Divergence
from .stepping import EnvRecipe
from .tapes import batch_tape
from .vector_infos import Reader, final_reader, info_reader, nothing

if TYPE_CHECKING:
    from rolltape.storage.runs import Run

    from ._tape import Tape

STEPS_AT_ONCE: Final = 256
Found = dict[int, tuple[int, Divergence]]
"""By place in the batch: the episode that differs first, and how."""


class RecordedBatch:
    """The recorded rows of one producer, and the ways through them.

    Args:
        rows: its episodes, but for lost ones.
        ignored: info keys that are not compared; more may be added.

    Attributes:
        reason: why it cannot be laid out again; empty where it is.
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
        self._run, self._info, self._recipe, self._ignored = run, run.info, recipe, ignored
        self._rows = rows
        self._observation, self._action = run.codec("observation"), run.codec("action")
        mine = f"worker = {worker} and incarnation = {incarnation}"
        self.offset, last = _sub_envs_of(run, mine, rows)
        self._mode = run.info["env"]["autoreset"]
        self._same_step = self._mode == "same_step"
        usual = is_usual(rows, self._mode)
        self._mine = worker, incarnation, (self.offset, last)
        table = steps_of_producer(run, *self._mine, STEP_COLUMNS if usual else (*STEP_COLUMNS, "time"))
        if not usual:
            earlier = began_before(table["sub_env"].to_numpy(), table["episode"].to_numpy(), rows)
            table = table.filter(pa.array(~earlier)).combine_chunks() if earlier.any() else table
        sub_env = table["sub_env"].to_numpy()
        self.n = last - self.offset + 1
        self._digests = "observation_digest" in table.column_names
        if self._digests:
            self._observation = SpaceCodec(DIGEST)
        parts = self._observation.leaves
        self._one_array = (parts[0].dtype, (self.n, *parts[0].shape)) if len(parts) == 1 else None
        self._place = sub_env - self.offset
        self._episode = table["episode"].to_numpy()
        self._t = table["t"].to_numpy()
        self.reason = ""
        self._slot, self._order, self._resets = self._place, self._place, {}
        if lacks_steps(self._episode, self._t, rows):
            self.reason = MISSING
        elif usual:
            slots = slots_of(self._place, self._episode, 0 if self._same_step else 1)
            first = BatchReset(rows[0]["seed"], decode_info(rows[0]["options"]) or None)
            self._take(Layout(slots, {0: [first]}))
        else:
            self._take(self._lay_out(table["time"].to_numpy(), by_caller=False))
        self._actions = leaves(self._action.decode_batch(table["action"]))
        self._rewards = table["reward"].to_numpy()
        self._ends = {name: table[name].to_numpy(zero_copy_only=False) for name in ("terminated", "truncated")}
        self._infos = InfoRows.of(table)
        self._reset_infos = {row["episode"]: row["reset_info"] for row in rows}
        self._seen_pictures = False
        self._observations: list[np.ndarray] = []
        self._finals: list[np.ndarray] = []
        self._final_of: dict[int, int] = {}
        name = "observation_digest" if self._digests else "observation"
        if name in table.column_names:
            self._observations = self._decoded(table[name])
            ended = run.episodes(f"{mine} and status = 'completed'").select("episode", f"final_{name}").to_arrow()
            ended = ended.filter(ended[f"final_{name}"].is_valid())
            self._finals = self._decoded(ended[f"final_{name}"]) if len(ended) else []
            self._final_of = {episode: i for i, episode in enumerate(ended["episode"].to_pylist())}
        else:
            self._seen_pictures = run.info["frames"]["policy"] in STORING

    def _decoded(self, column: Any) -> list[np.ndarray]:
        return [column.to_numpy()] if self._digests else leaves(self._observation.decode_batch(column))

    def _lay_out(self, times: np.ndarray, *, by_caller: bool) -> Layout | str:
        micros = times.astype("datetime64[us]").astype(np.int64)
        rows = self._place, self._episode, self._t, micros
        return lay_out(*rows, self._rows, self._mode, self.n, by_caller=by_caller, offset=self.offset)

    def _take(self, layout: Layout | str) -> None:
        if isinstance(layout, str):
            self.reason = layout
            return
        self._slot, self._resets = layout.slots, layout.resets
        self._order = np.lexsort((self._place, self._slot))

    def believe_the_caller(self) -> bool:
        """Whether it is the same with resets by the caller where all episodes ended in one step; laid out so then."""
        if self._mode != "next_step" or not len(self._slot) or len(np.unique(self._slot)) == self._slot.max() + 1:
            return False
        times = steps_of_producer(self._run, *self._mine, ("time",))
        if len(times) != len(self._slot) or any(row["began"] is None for row in self._rows):
            return False
        before = Layout(self._slot, self._resets)
        layout = self._lay_out(times["time"].to_numpy(), by_caller=True)
        if isinstance(layout, str):
            return False
        self._take(layout)
        if self.is_same():
            return True
        self._take(before)
        return False

    def _make(self) -> gym.vector.VectorEnv[Any, Any, Any]:
        return native_again(self._recipe, self.n, self._info["space_signature"])

    def _split(self, observations: Any) -> list[np.ndarray]:
        """The arrays of batched observations in the order of the recorded ones; a dict may have its own order."""
        if self._digests:
            return [picture_digests(observations)]
        if type(observations) is np.ndarray and (observations.dtype, observations.shape) == self._one_array:
            return [observations]
        return self._observation.split_batch(observations, self.n)

    def _split_one(self, observation: Any) -> list[np.ndarray]:
        return [np.asarray(picture_digest(observation))] if self._digests else self._observation.split(observation)

    def _reset(
        self, env: gym.vector.VectorEnv[Any, Any, Any], slot: int, observations: Any, given: Reader | None
    ) -> tuple[Any, Reader | None]:
        """What the caller reset before a step; what is observed now, and the reader of the infos that came with it."""
        for reset in self._resets.get(slot, ()):
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

    # ---- swift --------------------------------------------------------------------------------------------------

    def is_same(self) -> bool:
        """Whether a replay gives the same; where it does not, or cannot be told, `step_through` says what differs."""
        taped = [partial(self._is_as_taped, dtype) for dtype in (np.float64, np.float32)]
        return any(self._goes_through(way) for way in (*taped, self._is_same))

    def _goes_through(self, way: Callable[[gym.vector.VectorEnv[Any, Any, Any]], bool]) -> bool:
        env = self._make()
        try:
            return way(env)
        except Exception:  # whatever it is, `step_through` meets it again
            return False
        finally:
            env.close()

    def _is_as_taped(self, dtype: type[np.floating[Any]], env: gym.vector.VectorEnv[Any, Any, Any]) -> bool:
        """By tapes, where nothing is unusual: observations are one array, and there are no infos.

        `dtype`: of the rewards that the environment gives.
        """
        unusual = self._same_step or self._digests or self._seen_pictures or len(self._observations) != 1
        if unusual or not len(self._order) or not self._infos.is_empty:
            return False
        row_of = self._row_of()
        observations: Any = None
        for start, stop in self._stretches(len(row_of)):
            observations, given = self._reset(env, start, observations, None)
            rows = row_of[start:stop]
            after = row_of[start + 1 : stop + (stop not in self._resets)]
            following = np.concatenate([after, np.full((len(rows) - len(after), self.n), -1)])
            first = rows[0]
            there = first >= 0
            seen = self._split(observations)[0][there]
            if self._observations[0][first[there]].tobytes() != seen.tobytes():
                return False
            if not self._begins_same(first.tolist(), given):
                return False
            taped = self._tape(rows, following, dtype)
            actions = self._batched_actions(rows, env)
            if taped is None:
                return False
            done, last = taped.play(env.step, actions, 0)
            if done != len(actions):
                return False
            observations = last[0]
        return True

    def _tape(self, rows: np.ndarray, following: np.ndarray, dtype: type[np.floating[Any]]) -> Tape | None:
        """The tape of some calls.

        Args:
            rows: by call and place, which recorded row it is, -1: none.
            following: the same of the calls after each, -1 also where there is a reset in between.
            dtype: of the rewards.
        """
        there = rows >= 0
        which = np.maximum(rows, 0)
        terminated, truncated = (self._ends[name][which] & there for name in ("terminated", "truncated"))
        afters, known = self._observations[0][np.maximum(following, 0)], following >= 0
        done = terminated | truncated
        final = np.array([self._final_of.get(episode, -1) for episode in self._episode[rows[done]].tolist()], np.int64)
        known[done] = final >= 0
        if self._finals and len(final):
            afters[done] = self._finals[0][np.maximum(final, 0)]
        rewards = self._rewards[which].astype(dtype)
        if rewards.astype(np.float64)[there].tobytes() != self._rewards[rows[there]].tobytes():
            return None
        return batch_tape(afters, known, rewards, (terminated, truncated), there)

    def _row_of(self) -> np.ndarray:
        """By slot and place, which recorded row it is, -1: none."""
        row_of = np.full((int(self._slot.max()) + 1, self.n), -1, np.int64)
        row_of[self._slot, self._place] = np.arange(len(self._slot))
        return row_of

    def _stretches(self, slots: int) -> Iterator[tuple[int, int]]:
        """Slots that are stepped without a reset by the caller, some at a time."""
        edges = {*range(0, slots, STEPS_AT_ONCE), *(slot for slot in self._resets if slot < slots), slots}
        return pairwise(sorted(edges))

    def _batched_actions(self, rows: np.ndarray, env: gym.vector.VectorEnv[Any, Any, Any]) -> list[Any]:
        """What `step` takes; while a sub-environment is being reset, its action counts for nothing."""
        some = np.where(rows >= 0, rows, self._order[0])
        actions = [leaf[some] for leaf in self._actions]
        batched = batch_space(env.single_action_space, self.n)
        if not isinstance(batched, gym.spaces.Dict | gym.spaces.Tuple):
            return list(actions[0])
        return [_shaped(batched, [leaf[k] for leaf in actions]) for k in range(len(rows))]

    def _is_same(self, env: gym.vector.VectorEnv[Any, Any, Any]) -> bool:
        """Steps some hundred times, then compares all of it at once; pictures and infos of resets at once."""
        if not len(self._order):
            return True
        row_of = self._row_of()
        films = self._films()
        observations, given = None, None
        for start, stop in self._stretches(len(row_of)):
            observations, given = self._reset(env, start, observations, given)
            rows = row_of[start:stop]
            actions = self._batched_actions(rows, env)
            kept = self._split(observations) if self._observations else []
            seen = [np.empty((len(rows) + 1, *leaf.shape), leaf.dtype) for leaf in kept]
            rewards = np.empty(rows.shape, np.float64)
            terminated, truncated = np.empty(rows.shape, bool), np.empty(rows.shape, bool)
            ends = terminated, truncated
            noted, places_of = self._infos.like(), rows.tolist()
            finals: dict[int, Any] = {}
            for k, taken in enumerate(actions):
                if seen:
                    for whole, leaf in zip(seen, self._split(observations), strict=True):
                        whole[k] = leaf
                if (given or self._has_reset_infos) and not self._begins_same(places_of[k], given):
                    return False
                if films is not None and any(films.unlike(places_of[k], observations)):
                    return False
                observations, rewards[k], terminated[k], truncated[k], infos = env.step(taken)
                given = info_reader(infos) if infos else None
                if infos or films is not None:
                    done = np.logical_or(terminated[k], truncated[k])
                    self._note_infos(noted, k * self.n, places_of[k], done, infos)
                    last = self._last_observations(places_of[k], done, observations, infos)
                    if films is not None and any(films.unlike_last(last)):
                        return False
                    if self._same_step:
                        finals |= {places_of[k][place]: value for place, value in last.items()}
            for whole, leaf in zip(seen, self._split(observations) if seen else (), strict=True):
                whole[-1] = leaf
            if not self._are_same(rows, seen, rewards, ends, finals) or not self._same_infos(noted, rows):
                return False
        return True

    def _begins_same(self, rows: list[int], given: Reader | None) -> bool:
        return next(self._unlike_resets(rows, given), None) is None

    def _unlike_resets(self, rows: list[int], given: Reader | None) -> Iterator[tuple[int, Divergence]]:
        """Places in which the info of a reset differs; `given` reads those that came with the observations."""
        if given is None and not self._has_reset_infos:
            return
        for place, row in enumerate(rows):
            if row < 0 or self._t[row] != 0:
                continue
            info = given(place) if given is not None else {}
            recorded, text = self._reset_infos.get(int(self._episode[row])), encode_info(info) if info else None
            if text == recorded:
                continue
            was, now = decode_info(recorded), decode_info(text)
            if (key := unlike_key(was, now, self._ignored)) is not None:
                found = was.get(key), now.get(key)
                yield place, Divergence(0, f"reset_info.{key}", *found, magnitude(*found))

    @cached_property
    def _has_reset_infos(self) -> bool:
        return any(self._reset_infos.values())

    def _note_infos(
        self, noted: InfoColumns, first: int, rows: list[int], done: np.ndarray, infos: dict[str, Any]
    ) -> None:
        of_step = of_last = info_reader(infos) or nothing
        if self._same_step:
            of_last = final_reader(infos) or nothing
        for place, row in enumerate(rows):
            if row >= 0 and (info := (of_last if done[place] else of_step)(place)):
                noted.add(first + place, info)

    def _last_observations(
        self, rows: list[int], done: np.ndarray, observations: Any, infos: dict[str, Any]
    ) -> dict[int, Any]:
        """By place: what was observed after the last step of an episode that ends, where it is known."""
        places = [place for place, row in enumerate(rows) if row >= 0 and done[place]]
        if not self._same_step:
            return {place: observations[place] for place in places} if self._seen_pictures else {}
        final = infos.get("final_obs")
        return {} if final is None else {place: final[place] for place in places if final[place] is not None}

    def _same_infos(self, noted: InfoColumns, rows: np.ndarray) -> bool:
        where = np.flatnonzero(rows.ravel() >= 0)
        recorded = self._infos.take(rows.ravel()[where])
        if not noted.nbytes and recorded.is_empty:
            return True
        to_row = np.full(rows.size, -1, np.int64)
        to_row[where] = np.arange(len(where))
        replayed = InfoRows(*noted.close(len(where), lambda at: to_row[np.asarray(at, np.int64)]))
        return unlike_row(recorded, replayed, self._ignored) is None

    def _are_same(
        self,
        rows: np.ndarray,
        seen: list[np.ndarray],
        rewards: np.ndarray,
        ends: tuple[np.ndarray, np.ndarray],
        finals: dict[int, Any],
    ) -> bool:
        """Whether what some steps gave is as recorded.

        Args:
            rows: by step and place, which recorded row it is, -1: none.
            seen: observations before each step, and one more.
            finals: under SAME_STEP the last observations of episodes, by their last row.
        """
        there = rows >= 0
        which = rows[there]
        pairs = [(was[which], kept[:-1][there]) for was, kept in zip(self._observations, seen, strict=True)]
        pairs.append((self._rewards[which], rewards[there]))
        pairs += [(self._ends[name][which], ends[i][there]) for i, name in enumerate(("terminated", "truncated"))]
        done = there & (ends[0] | ends[1])
        if self._same_step:
            for row in rows[done].tolist():
                if (at := self._final_of.get(int(self._episode[row]))) is not None:
                    if row not in finals:
                        return False
                    now = self._split_one(finals[row])
                    pairs += [(was[at], value) for was, value in zip(self._finals, now, strict=True)]
        else:
            episodes = self._episode[rows[done]].tolist()
            known = np.array([episode in self._final_of for episode in episodes], bool)
            at = [self._final_of[episode] for episode in episodes if episode in self._final_of]
            pairs += [(was[at], kept[1:][done][known]) for was, kept in zip(self._finals, seen, strict=False) if at]
        return all(was.dtype == now.dtype and was.tobytes() == now.tobytes() for was, now in pairs)

    # ---- careful ------------------------------------------------------------------------------------------------

    def step_through(self) -> Found:
        """The first difference of each sub-environment that has one: its episode and what differs."""
        env = self._make()
        try:
            return self._step_through(env)
        finally:
            env.close()

    def _step_through(self, env: gym.vector.VectorEnv[Any, Any, Any]) -> Found:
        bad: Found = {}
        if not len(self._order):
            return bad
        films = self._films()
        observations, given = None, None
        slots = self._slot[self._order]
        edges = np.flatnonzero(np.diff(slots, prepend=-1, append=slots[-1] + 1))
        batched = batch_space(env.single_action_space, self.n)
        actions = [np.repeat(leaf[self._order[:1]], self.n, axis=0) for leaf in self._actions]
        expected = 0
        for first, last in pairwise(edges):
            rows = self._order[first:last]
            slot = int(slots[first])
            observations, given = self._reset(env, expected, observations, given)
            while expected < slot:  # every sub-environment was being reset at once
                observations, *_, infos = env.step(_shaped(batched, actions))
                expected += 1
                observations, given = self._reset(env, expected, observations, info_reader(infos))
            places = self._place[rows]
            by_place = [-1] * self.n
            for place, row in zip(places.tolist(), rows.tolist(), strict=True):
                by_place[place] = row
            for whole, leaf in zip(actions, self._actions, strict=True):
                whole[places] = leaf[rows]
            for place, divergence in self._unlike_resets(by_place, given):
                self._note_one(bad, by_place[place], divergence)
            before = self._split(observations) if self._observations else ()
            for was, now in zip(self._observations, before, strict=True):
                self._note(bad, rows, places, "observation", was[rows], now[places])
            if films is not None:
                for place, divergence in films.unlike(by_place, observations):
                    self._note_one(bad, by_place[place], divergence)
            observations, rewards, terminated, truncated, infos = env.step(_shaped(batched, actions))
            expected += 1
            given = info_reader(infos)
            self._note(bad, rows, places, "reward", self._rewards[rows], rewards[places].astype(np.float64))
            ends = self._ends["terminated"][rows] | self._ends["truncated"][rows]
            for name, flags in (("terminated", terminated), ("truncated", truncated)):
                self._note(bad, rows, places, name, self._ends[name][rows], np.asarray(flags, bool)[places])
            done = np.zeros(self.n, bool)
            done[places] = ends
            self._note_unlike_infos(bad, by_place, done, infos)
            last_seen = self._last_observations(by_place, done, observations, infos)
            if films is not None:
                for place, divergence in films.unlike_last(last_seen):
                    self._note_one(bad, by_place[place], divergence)
            if ends.any() and self._observations:
                self._note_finals(bad, rows[ends], observations, last_seen)
        return bad

    def _note_unlike_infos(self, bad: Found, by_place: list[int], done: np.ndarray, infos: dict[str, Any]) -> None:
        for place, row in enumerate(by_place):
            if row < 0 or place in bad or ((recorded := self._infos.slice(row, 1)).is_empty and not infos):
                continue
            noted = self._infos.like()
            alone = [row if at == place else -1 for at in range(self.n)]
            self._note_infos(noted, -place, alone, done, infos)
            unlike = unlike_row(recorded, InfoRows(*noted.close(1)), self._ignored)
            if unlike is not None:
                _, key, was, now = unlike
                divergence = Divergence(int(self._t[row]), f"info.{key}", was, now, magnitude(was, now))
                self._note_one(bad, row, divergence)

    def _note_finals(self, bad: Found, rows: np.ndarray, observations: Any, last: dict[int, Any]) -> None:
        """The observation after an episode's last step, where its row is durable."""
        rows = np.array([row for row in rows.tolist() if int(self._episode[row]) in self._final_of], np.int64)
        at = [self._final_of[int(self._episode[row])] for row in rows]
        places = self._place[rows]
        if not self._same_step:
            for was, now in zip(self._finals, self._split(observations), strict=True):
                self._note(bad, rows, places, "observation", was[at], now[places], after=1)
            return
        for row, place, known in zip(rows.tolist(), places.tolist(), at, strict=True):
            if place not in last:
                was = self._finals[0][known].tolist()
                self._note_one(bad, row, Divergence(int(self._t[row]) + 1, "observation", was, None, None))
                continue
            one = np.array([row]), np.array([place])
            for was, now in zip(self._finals, self._split_one(last[place]), strict=True):
                self._note(bad, *one, "observation", was[known : known + 1], now[None], after=1)

    def _note_one(self, bad: Found, row: int, divergence: Divergence) -> None:
        bad.setdefault(int(self._place[row]), (int(self._episode[row]), divergence))

    def _note(
        self, bad: Found, rows: np.ndarray, places: np.ndarray, field: str, was: Any, now: Any, after: int = 0
    ) -> None:
        if was.tobytes() == np.ascontiguousarray(now).tobytes():
            return
        for i, row in enumerate(rows.tolist()):
            if was[i].tobytes() == np.ascontiguousarray(now[i]).tobytes():
                continue
            t = int(self._t[row]) + after
            if self._digests and field == "observation":
                found = Divergence(t, field, *ANOTHER, None)
            else:
                found = Divergence(t, field, was[i].tolist(), now[i].tolist(), magnitude(was[i], now[i]))
            self._note_one(bad, row, found)

    def _films(self) -> Films | None:
        return Films(self._run, self._episode, self._t) if self._seen_pictures else None


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
    (stepped,) = run.steps(where=mine).select("min(sub_env) AS first", "max(sub_env) AS last").to_dicts()
    found = [row["sub_env"] for row in rows] + [place for place in stepped.values() if place is not None]
    return min(found), max(found)


def _shaped(space: gym.Space[Any], arrays: list[np.ndarray]) -> Any:
    """Arrays in the order of `leaves` as a batched action; copies, for whoever keeps them."""
    rest = iter(arrays)

    def build(part: gym.Space[Any]) -> Any:
        if isinstance(part, gym.spaces.Dict):
            return {name: build(inner) for name, inner in part.items()}
        if isinstance(part, gym.spaces.Tuple):
            return tuple(build(inner) for inner in part)
        return next(rest).copy()

    return build(space)
