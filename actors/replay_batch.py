"""Replay of native vector environments: one random state for all sub-environments, so that only whole batches replay.

The rows of a producer are laid out again as the batch that they were: step k of the batch holds one row of each
sub-environment, except where that one was being reset (NEXT_STEP autoreset ignores an action and gives no row).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space

from rolltape.schema.errors import EnvError, ReplayFailed
from rolltape.schema.space_codec import SpaceCodec
from rolltape.storage.run_info import leaves_out

from .blame import said
from .recorded_steps import leaves, magnitude
from .remaking import HOW
from .replayed import Divergence, Replayed
from .stepping import EnvRecipe, import_namespace

if TYPE_CHECKING:
    from rolltape.storage.runs import Run

COLUMNS: Final = ("sub_env", "episode", "length", "status", "seed", "seed_episode")
STEPS_AT_ONCE: Final = 256
Found = dict[int, tuple[int, Divergence]]
"""By place in the batch: the episode that differs first, and how."""


def replay_batches(run: Run, wanted: list[dict[str, Any]], recipe: EnvRecipe) -> Iterator[list[Replayed]]:
    """Replay the batches to which the wanted episodes belong; the verdicts on the wanted ones."""
    for worker, incarnation in dict.fromkeys((row["worker"], row["incarnation"]) for row in wanted):
        mine = {r["episode"] for r in wanted if (r["worker"], r["incarnation"]) == (worker, incarnation)}
        where = f"worker = {worker} and incarnation = {incarnation} and status <> 'lost'"
        rows = run.episodes(where).order("sub_env", "episode").select(*COLUMNS).to_dicts()
        yield [result for result in _replay(run, worker, incarnation, rows, recipe) if result.episode in mine]


def _replay(
    run: Run, worker: int, incarnation: int, rows: list[dict[str, Any]], recipe: EnvRecipe
) -> Iterator[Replayed]:
    reason = _unreplayable(run, rows)
    if reason:
        for row in rows:
            yield Replayed(row["episode"], "not replayable", row["status"], reason=reason)
        return
    batch = _Batch(run, worker, incarnation, rows[0]["seed"], recipe)
    bad = {} if batch.is_same() else batch.step_through()
    steady = not bad or _first(batch.step_through()) == _first(bad)
    for row in rows:
        episode, status, length = row["episode"], row["status"], row["length"]
        first = bad.get(row["sub_env"] - batch.offset)
        if first is None or episode < first[0]:
            yield Replayed(episode, "exact", status, length)
        elif episode > first[0]:
            yield Replayed(episode, "not replayable", status, reason="an episode before it in its batch differs")
        elif steady:
            yield Replayed(episode, "diverged", status, first[1].t + 1, "", first[1])
        else:
            reason = "two replays with the same seed and actions differ: the environment is not deterministic"
            yield Replayed(episode, "nondeterministic", status, first[1].t + 1, reason, first[1])


def _first(bad: Found) -> list[tuple[int, int, str]]:
    return [(place, episode, str(divergence)) for place, (episode, divergence) in sorted(bad.items())]


def _unreplayable(run: Run, rows: list[dict[str, Any]]) -> str:
    last = {row["sub_env"]: row["episode"] for row in rows}
    resets = {(row["sub_env"], row["seed_episode"]) for row in rows}
    if len({row["seed"] for row in rows}) != 1 or len(resets) != len(last):
        return "its batch was reset with a seed more than once"
    if any(row["status"] == "aborted" and row["episode"] != last[row["sub_env"]] for row in rows):
        return "its batch was reset in between"
    if leaves_out(run.info):
        return "steps of its batch were left out on purpose when it was recorded (keep_last or sample)"
    if run.info["env"]["autoreset"] != "next_step":
        return "a batch that does not reset in the next step is not laid out again"
    if not all(SpaceCodec(space).is_fixed for space in run.info["spaces"].values()):
        return "its batch has spaces of no fixed size"
    if "observation" not in run.steps().columns:
        return "pictures that a native vector environment observes are not compared"
    return ""


class _Batch:
    def __init__(self, run: Run, worker: int, incarnation: int, seed: int, recipe: EnvRecipe) -> None:
        self._info, self._recipe, self._seed = run.info, recipe, seed
        self._observation, self._action = run.codec("observation"), run.codec("action")
        mine = f"worker = {worker} and incarnation = {incarnation}"
        table = run.steps(where=mine).order("sub_env", "episode", "t").to_arrow().combine_chunks()
        sub_env = table["sub_env"].to_numpy()
        known = run.episodes(f"{mine} and status <> 'lost'")
        self.offset, last = known.select("min(sub_env) as a", "max(sub_env) as b").fetchall()[0]
        self.n = last - self.offset + 1
        self._place = sub_env - self.offset
        self._episode = table["episode"].to_numpy()
        self._t = table["t"].to_numpy()
        self._slot = _slots(self._place, self._episode)
        self._order = np.lexsort((self._place, self._slot))
        self._actions = leaves(self._action.decode_batch(table["action"]))
        self._observations = leaves(self._observation.decode_batch(table["observation"]))
        self._rewards = table["reward"].to_numpy()
        self._ends = {name: table[name].to_numpy(zero_copy_only=False) for name in ("terminated", "truncated")}
        ended = run.episodes(f"{mine} and status = 'completed'").to_arrow()
        self._finals = leaves(self._observation.decode_batch(ended["final_observation"])) if len(ended) else []
        self._final_of = {episode: i for i, episode in enumerate(ended["episode"].to_pylist())}

    def _make(self) -> gym.vector.VectorEnv[Any, Any, Any]:
        recipe = self._recipe
        source: Any = recipe.source
        import_namespace(recipe.env_id)
        try:
            env = gym.make_vec(source, num_envs=self.n, vectorization_mode="vector_entry_point", **recipe.kwargs)
        except Exception as error:
            what = f"The native {recipe.env_id} cannot be made again. It raised {said(error)}. {HOW}"
            raise EnvError(what) from error
        for name, space in (("observation", env.single_observation_space), ("action", env.single_action_space)):
            if SpaceCodec(space).signature != self._info["space_signature"][name]:
                env.close()
                raise ReplayFailed(f"Made again, {recipe.env_id} has the {name} space {space}, not the recorded one.")
        return env

    def is_same(self) -> bool:
        """Whether a replay gives the same; where it does not, or cannot be told, `step_through` says what differs."""
        env = self._make()
        try:
            return self._is_same(env)
        except Exception:  # whatever it is, `step_through` meets it again
            return False
        finally:
            env.close()

    def _is_same(self, env: gym.vector.VectorEnv[Any, Any, Any]) -> bool:
        """Steps some hundred times, then compares all of it at once."""
        if not len(self._order):
            return True
        slots = int(self._slot.max()) + 1
        row_of = np.full((slots, self.n), -1, np.int64)
        row_of[self._slot, self._place] = np.arange(len(self._slot))
        batched = batch_space(env.single_action_space, self.n)
        observations, _ = env.reset(seed=self._seed)
        for start in range(0, slots, STEPS_AT_ONCE):
            rows = row_of[start : start + STEPS_AT_ONCE]
            some = np.where(rows >= 0, rows, self._order[0])  # while it is being reset, an action counts for nothing
            actions = [leaf[some] for leaf in self._actions]
            seen = [np.empty((len(rows) + 1, *leaf.shape), leaf.dtype) for leaf in leaves(observations)]
            rewards = np.empty(rows.shape, np.float64)
            ends = np.empty((2, *rows.shape), bool)
            for k in range(len(rows)):
                for kept, leaf in zip(seen, leaves(observations), strict=True):
                    kept[k] = leaf
                taken = _shaped(batched, [leaf[k] for leaf in actions])
                observations, rewards[k], ends[0, k], ends[1, k], _ = env.step(taken)
            for kept, leaf in zip(seen, leaves(observations), strict=True):
                kept[-1] = leaf
            if not self._are_same(rows, seen, rewards, ends):
                return False
        return True

    def _are_same(self, rows: np.ndarray, seen: list[np.ndarray], rewards: np.ndarray, ends: np.ndarray) -> bool:
        """`rows`: by step and place, which recorded row it is, -1: none. `seen` has one observation more."""
        there = rows >= 0
        which = rows[there]
        pairs = [(was[which], kept[:-1][there]) for was, kept in zip(self._observations, seen, strict=True)]
        pairs.append((self._rewards[which], rewards[there]))
        pairs += [(self._ends[name][which], ends[i][there]) for i, name in enumerate(("terminated", "truncated"))]
        done = there & (ends[0] | ends[1])
        episodes = self._episode[rows[done]].tolist()
        known = np.array([episode in self._final_of for episode in episodes], bool)
        at = [self._final_of[episode] for episode in episodes if episode in self._final_of]
        pairs += [(was[at], kept[1:][done][known]) for was, kept in zip(self._finals, seen, strict=False) if at]
        return all(was.dtype == now.dtype and was.tobytes() == now.tobytes() for was, now in pairs)

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
        observations, _ = env.reset(seed=self._seed)
        slots = self._slot[self._order]
        edges = np.flatnonzero(np.diff(slots, prepend=-1, append=slots[-1] + 1))
        batched = batch_space(env.single_action_space, self.n)
        actions = [np.repeat(leaf[self._order[:1]], self.n, axis=0) for leaf in self._actions]
        expected = 0
        for first, last in pairwise(edges):
            rows = self._order[first:last]
            slot = int(slots[first])
            while expected < slot:  # every sub-environment was being reset at once
                observations, *_ = env.step(_shaped(batched, actions))
                expected += 1
            places = self._place[rows]
            for whole, leaf in zip(actions, self._actions, strict=True):
                whole[places] = leaf[rows]
            for was, now in zip(self._observations, leaves(observations), strict=True):
                self._note(bad, rows, places, "observation", was[rows], now[places])
            observations, rewards, terminated, truncated, _ = env.step(_shaped(batched, actions))
            expected += 1
            self._note(bad, rows, places, "reward", self._rewards[rows], rewards[places].astype(np.float64))
            done = self._ends["terminated"][rows] | self._ends["truncated"][rows]
            for name, flags in (("terminated", terminated), ("truncated", truncated)):
                self._note(bad, rows, places, name, self._ends[name][rows], np.asarray(flags, bool)[places])
            if done.any():
                self._note_finals(bad, rows[done], observations)
        return bad

    def _note_finals(self, bad: Found, rows: np.ndarray, observations: Any) -> None:
        """The observation after an episode's last step, where its row is durable."""
        rows = np.array([row for row in rows.tolist() if int(self._episode[row]) in self._final_of], np.int64)
        at = [self._final_of[int(self._episode[row])] for row in rows]
        for was, now in zip(self._finals, leaves(observations), strict=True):
            self._note(bad, rows, self._place[rows], "observation", was[at], now[self._place[rows]], after=1)

    def _note(
        self, bad: Found, rows: np.ndarray, places: np.ndarray, field: str, was: Any, now: Any, after: int = 0
    ) -> None:
        if was.tobytes() == np.ascontiguousarray(now).tobytes():
            return
        for i, row in enumerate(rows.tolist()):
            place = int(places[i])
            if place in bad or was[i].tobytes() == np.ascontiguousarray(now[i]).tobytes():
                continue
            t = int(self._t[row]) + after
            found = Divergence(t, field, was[i].tolist(), now[i].tolist(), magnitude(was[i], now[i]))
            bad[place] = (int(self._episode[row]), found)


def _slots(place: np.ndarray, episode: np.ndarray) -> np.ndarray:
    """The step of the batch in which each row was made; rows are sorted by sub-environment, episode and t."""
    if not len(place):
        return place
    new_place = np.diff(place, prepend=-1) != 0
    new_episode = (np.diff(episode, prepend=-1) != 0) & ~new_place
    running = np.arange(len(place)) + np.cumsum(new_episode)
    return running - np.maximum.accumulate(np.where(new_place, running, 0))


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
