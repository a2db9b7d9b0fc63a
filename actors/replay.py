"""Re-execution of recorded episodes, compared with the recording bit for bit.

Rules:
1. `alone`: the environment is reset with the episode's seed and options and given its recorded actions.
2. `forward`: replayed in one environment from the seeded reset (`seed_episode`) through every episode after it, because
   between them the environment's random state goes on.
3. `batch`: a native vector environment has one random state: its sub-environments are replayed together, from its
   reset.
4. `none`: was never seeded: it cannot be replayed, and that is said. So is a hole in a chain or batch.
5. Observation, reward, terminated, truncated and infos must be the same bits. The first difference ends the replay.
6. An episode that differs is replayed once more, in another environment. If the two replays differ from each other,
   the environment is not deterministic. An info key in which they differ is named and left out instead: a clock.
7. Aborted episodes are replayed as far as they went. Lost ones are not: nobody knows their end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import gymnasium as gym

from rolltape.schema.errors import ConfigError
from rolltape.schema.info_json import decode_info, encode_value

from . import launch
from .blame import said
from .recorded_steps import EPISODE_COLUMNS, RecordedSteps, copied, picture_difference, read_some
from .remaking import Maker, make_again, recipe_of, vector_wrappers, version_differences
from .replayed import Divergence, Replayed, ReplayReport

if TYPE_CHECKING:
    from rolltape.storage.runs import Run

COMPARE_STEPS: Final = 2_000
"""Steps after which a replay is compared with its recording."""
COMPARE_BYTES: Final = 8 << 20
"""Or bytes of observations."""
JOBS_A_WORKER: Final = 4

LOST = "lost: its producer died before it ended"
BATCHED = "replays only with its whole batch: a native vector environment has one random state"
BROKEN = "an episode before it differs, and their random state goes on"
UNSTEADY = (
    "two replays with the same seed and actions differ: the environment is not deterministic, or carries something "
    "from one episode to the next"
)
UNSEEDED = "never seeded: no reset up to its own was given a seed"

Verdict = tuple[Divergence | None, int]
"""The first difference of an episode, None where there is none; and the steps that were compared."""
OnProgress = Callable[[int, int], None]
"""Called with the episodes done and wanted."""


def replay(
    run: Run,
    episodes: int | Iterable[int] | None = None,
    *,
    where: str | None = None,
    make: Maker | None = None,
    workers: int = 1,
    progress: OnProgress | None = None,
) -> ReplayReport:
    """Run recorded episodes again from their seeds and actions, and compare every value bit for bit.

    Args:
        run: the recording, as `rolltape.open(lake).run(…)` gives it.
        episodes: a number, or several; None: all.
        where: an SQL condition such as "return > 400"; with `episodes`, both must hold.
        make: what makes the environment, where the recording does not say it: `"module:callable"`, an id with its
            module, or a callable.
        workers: Ray processes that share the work; 1: this process, without Ray.
        progress: called with the episodes done and wanted, now and then.

    Returns:
        The verdicts; `report.exact` says whether all that was replayed is the same.

    Raises:
        UnknownEnvironment, MissingExtra, EnvError, ReplayFailed: the environment cannot be made again.
        ConfigError: `workers` below 1.
    """
    if workers < 1:
        raise ConfigError(f"workers: must be at least 1 (got {workers}).")
    began = time.perf_counter()
    conditions = [f"({where})"] if where else []
    if episodes is not None:
        numbers = [episodes] if isinstance(episodes, int) else list(episodes)
        conditions.append(f"episode in ({', '.join(map(str, map(int, numbers))) or 'NULL'})")
    report = ReplayReport(run.run_id, versions=version_differences(run))
    wanted = episode_rows(run, " and ".join(conditions) or None)
    for part in _parts(run, wanted, make, workers):
        report.add(part.results)
        report.uncompared |= part.uncompared
        report.seconds = time.perf_counter() - began
        if progress is not None:
            progress(len(report), len(wanted))
    return report


def episode_rows(run: Run, where: str | None = None) -> list[dict[str, Any]]:
    """What a replay needs of the episodes that fit, in the order of sub-environments and episodes."""
    ended = run.episodes()
    if not ended.columns:
        return []
    return run.episodes(where).order("sub_env", "episode").select(*EPISODE_COLUMNS).to_dicts()


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the verdicts."""

    results: list[Replayed]
    uncompared: set[str]


def _parts(run: Run, wanted: list[dict[str, Any]], make: Maker | None, workers: int) -> Iterator[Part]:
    if workers == 1:
        yield from _replayed(run, wanted, make)
        return
    launch.ensure_ray()
    lake = str(run.lake.path)
    jobs = [(lake, run.run_id, [row["episode"] for row in share], make) for share in _shares(wanted, workers)]
    yield from launch.tasks(_job, jobs, workers)


def _job(lake: str, run_id: str, episodes: list[int], make: Maker | None) -> Part:
    from rolltape.storage.lake import open_lake

    run = open_lake(lake, threads=1).run(run_id)
    rows = episode_rows(run, f"episode in ({', '.join(map(str, episodes))})")
    parts = list(_replayed(run, rows, make))
    return Part([r for part in parts for r in part.results], set().union(*(part.uncompared for part in parts)))


def _replayed(run: Run, wanted: list[dict[str, Any]], make: Maker | None) -> Iterator[Part]:
    replayer = Replayer(run, make)
    try:
        for results in replayer.replay(wanted):
            yield Part(results, set(replayer.uncompared))
    finally:
        replayer.close()


def _shares(wanted: list[dict[str, Any]], workers: int) -> list[list[dict[str, Any]]]:
    """Divide episodes among jobs: what has to be replayed together stays together, and steps are about equal."""
    together: dict[Any, list[dict[str, Any]]] = {}
    for row in wanted:
        together.setdefault(_chain_of(row), []).append(row)
    steps = sum(row["length"] or 0 for row in wanted)
    most = max(1, steps // (workers * JOBS_A_WORKER))
    shares: list[list[dict[str, Any]]] = [[]]
    room = most
    for rows in together.values():
        if room <= 0:
            shares.append([])
            room = most
        shares[-1] += rows
        room -= sum(row["length"] or 0 for row in rows)
    return [share for share in shares if share]


def _chain_of(row: dict[str, Any]) -> Any:
    if row["replay"] == "forward":
        return "forward", row["sub_env"], row["seed_episode"]
    if row["replay"] == "batch":
        return "batch", row["worker"], row["incarnation"]
    return "alone", row["episode"]


class Replayer:
    """Replays episodes of one run in this process.

    Args:
        run: the recording.
        make: what makes the environment; None: as `run.json` says.
        renders: make it so that it draws.

    Attributes:
        uncompared: info keys that are different in every replay and were left out.
    """

    def __init__(self, run: Run, make: Maker | None = None, *, renders: bool = False) -> None:
        self._run, self._given, self._renders = run, make, renders
        self._observation, self._action = run.codec("observation"), run.codec("action")
        self._env: gym.Env[Any, Any] | None = None
        self._other: gym.Env[Any, Any] | None = None
        wrappers = vector_wrappers(run)
        self._note = f"recorded above {', '.join(wrappers)}, which a replay has not" if wrappers else ""
        self.uncompared: set[str] = set()

    @property
    def env(self) -> gym.Env[Any, Any]:
        """The environment in which episodes are replayed; made when it is first asked for."""
        if self._env is None:
            self._env = self._made()
        return self._env

    def replay(self, wanted: list[dict[str, Any]]) -> Iterator[list[Replayed]]:
        """Replay episodes, given by their rows (`episode_rows`); some verdicts at a time."""
        kinds: dict[str, list[dict[str, Any]]] = {"alone": [], "forward": [], "batch": [], "none": []}
        for row in wanted:
            kinds["none" if row["status"] == "lost" else row["replay"]].append(row)
        yield from self._alone(kinds["alone"])
        yield from self._forward(kinds["forward"])
        if kinds["batch"]:
            from .replay_batch import replay_batches

            yield from replay_batches(self._run, kinds["batch"], recipe_of(self._run, self._given))
        if kinds["none"]:
            yield [_not(row, LOST if row["status"] == "lost" else UNSEEDED) for row in kinds["none"]]

    def close(self) -> None:
        """Close the environments."""
        for env in (self._env, self._other):
            if env is not None:
                env.close()
        self._env = self._other = None

    def chain(self, row: dict[str, Any]) -> list[dict[str, Any]] | str:
        """The episodes that must be replayed in a row to replay the last of them, or why that cannot be."""
        if row["status"] == "lost" or row["replay"] in ("none", "batch"):
            return LOST if row["status"] == "lost" else BATCHED if row["replay"] == "batch" else UNSEEDED
        if row["replay"] == "alone":
            return [row]
        stride, seeded = self._run.info["episode_stride"], row["seed_episode"]
        where = f"sub_env = {row['sub_env']} and episode >= {seeded} and episode <= {row['episode']}"
        rows = episode_rows(self._run, where)
        whole = [r["episode"] for r in rows] == list(range(seeded, row["episode"] + 1, stride))
        if not whole or any(r["status"] == "lost" for r in rows):
            return "an episode between its seeded reset and it is missing"
        return rows

    def read(self, rows: list[dict[str, Any]]) -> Iterator[RecordedSteps]:
        """The recorded values of episodes, some at a time."""
        return read_some(self._run, rows, self._observation, self._action)

    def verdict(self, rows: list[dict[str, Any]]) -> Replayed:
        """The verdict on the last episode of a chain."""
        divergence, steps, row = *self._last(self.env, rows), rows[-1]
        if divergence is None:
            return Replayed(row["episode"], "exact", row["status"], steps)
        return self._checked(rows, divergence, steps)

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _made(self) -> gym.Env[Any, Any]:
        return make_again(self._run, recipe_of(self._run, self._given, renders=self._renders))

    def _alone(self, wanted: list[dict[str, Any]]) -> Iterator[list[Replayed]]:
        for recorded in self.read(wanted):
            found = _Pass(self.env, recorded, self.uncompared, chained=False).through()
            yield [self._told(recorded, place, found, [row]) for place, row in enumerate(recorded.rows)]

    def _forward(self, wanted: list[dict[str, Any]]) -> Iterator[list[Replayed]]:
        chains: dict[Any, list[dict[str, Any]]] = {}
        for row in wanted:
            chains.setdefault(_chain_of(row), []).append(row)
        for rows in chains.values():
            chain = self.chain(rows[-1])
            if isinstance(chain, str):
                yield [_not(row, chain) for row in rows]
                continue
            episodes = {row["episode"] for row in rows}
            for results in self._chained(chain):
                yield [result for result in results if result.episode in episodes]

    def _chained(self, chain: list[dict[str, Any]], told: int = 0) -> Iterator[list[Replayed]]:
        """The verdicts on a chain, from its episode number `told` on."""
        done, broken = 0, False
        for recorded in self.read(chain):
            first, done = done, done + len(recorded.rows)
            if broken:
                yield [_not(row, BROKEN) for row in recorded.rows]
                continue
            found = _Pass(self.env, recorded, self.uncompared, chained=True, seeded=first == 0).through()
            known = len(self.uncompared)
            results = [self._told(recorded, i, found, chain[: first + i + 1]) for i in range(len(recorded.rows))]
            if len(self.uncompared) > known:  # a key more is left out: what stopped this chain does not count
                yield from self._chained(chain, max(told, first))
                return
            broken = any(result.outcome != "exact" for result in results)
            yield results[max(0, told - first) :]

    def _told(
        self, recorded: RecordedSteps, place: int, found: dict[int, Verdict], rows: list[dict[str, Any]]
    ) -> Replayed:
        row = recorded.rows[place]
        if not recorded.is_whole(place):
            return _not(row, "some of its steps are missing")
        if place not in found:
            return _not(row, BROKEN)
        divergence, steps = found[place]
        if divergence is None:
            return Replayed(row["episode"], "exact", row["status"], steps)
        return self._checked(rows, divergence, steps)

    def _checked(self, rows: list[dict[str, Any]], divergence: Divergence, steps: int) -> Replayed:
        """Rule 6: the verdict on the last episode of a chain that differed."""
        row = rows[-1]
        if divergence.field.partition("info.")[2] in self.uncompared:  # it was not when these were compared
            return self.verdict(rows)
        if self._note and "info." in divergence.field and divergence.replayed is None:  # brought by those wrappers
            self.uncompared.add(divergence.field.partition("info.")[2])
            return self.verdict(rows)
        if self._other is None:
            self._other = self._made()
        again, _ = self._last(self._other, rows)
        if _same(again, divergence):
            return Replayed(row["episode"], "diverged", row["status"], steps, self._note, divergence)
        fields = {d.field for d in (divergence, again) if d is not None}
        if again is not None and all("info." in name for name in fields):
            self.uncompared |= {name.partition("info.")[2] for name in fields}
            return self.verdict(rows)
        return Replayed(row["episode"], "nondeterministic", row["status"], steps, UNSTEADY, divergence)

    def _last(self, env: gym.Env[Any, Any], rows: list[dict[str, Any]]) -> Verdict:
        """Replay a chain: the first difference in it, and the steps of its last episode."""
        verdict: Verdict = None, 0
        for number, recorded in enumerate(self.read(rows)):
            found = _Pass(env, recorded, self.uncompared, chained=True, seeded=number == 0).through()
            verdict = found.get(max(found, default=-1), (None, 0))
            if verdict[0] is not None or len(found) < len(recorded.rows):
                break
        return verdict


class _Pass:
    """One way through some episodes in one environment."""

    def __init__(
        self, env: gym.Env[Any, Any], recorded: RecordedSteps, ignored: set[str], *, chained: bool, seeded: bool = True
    ) -> None:
        self._env, self._recorded, self._ignored = env, recorded, ignored
        self._chained, self._seeded = chained, seeded
        self._found: dict[int, Verdict] = {}
        self._seen = recorded.seen(0)
        self._open: list[int] = []
        self._nbytes = 0

    def through(self) -> dict[int, Verdict]:
        """Replay all: place -> verdict. Episodes that are not whole have none, nor has what follows them in a chain."""
        recorded = self._recorded
        for place in range(len(recorded.rows)):
            if not recorded.is_whole(place):
                self._compare()
                if self._chained:
                    break
                continue
            first = int(recorded.edges[place])
            if not self._open:
                self._seen = recorded.seen(first)
            self._open.append(place)
            goes_on = self._episode(place, seeded=not self._chained or (self._seeded and place == 0))
            if not goes_on or self._enough:
                self._compare()
            if self._chained and any(divergence is not None for divergence, _ in self._found.values()):
                break
        self._compare()
        bad = [place for place, (divergence, _) in self._found.items() if divergence is not None]
        if self._chained and bad:
            return {place: verdict for place, verdict in self._found.items() if place <= min(bad)}
        return self._found

    @property
    def _enough(self) -> bool:
        return len(self._seen.rewards) >= COMPARE_STEPS or self._nbytes >= COMPARE_BYTES

    def _episode(self, place: int, *, seeded: bool) -> bool:
        """Replay one episode; False when it differs in a way that shows at once."""
        recorded, env = self._recorded, self._env
        row = recorded.rows[place]
        first, stop = recorded.edges[place : place + 2].tolist()
        pictures = recorded.pictures(place)
        step = env.step
        t = 0
        try:
            options = decode_info(row["options"]) or None
            observation, info = env.reset(seed=row["seed"] if seeded else None, options=options)
            if info or row["reset_info"]:
                self._seen.resets.append((place, dict(info)))
            seen = self._seen
            size = getattr(observation, "nbytes", 64) if pictures is None else 0
            for at in range(first, stop):
                t = at - first
                if pictures is not None:
                    if (different := picture_difference(t, next(pictures), observation)) is not None:
                        return self._stop(place, different)
                    observation = None
                seen.observations.append(copied(observation))
                observation, reward, terminated, truncated, info = step(recorded.actions[at])
                seen.rewards.append(float(reward))
                seen.terminated.append(bool(terminated))
                seen.truncated.append(bool(truncated))
                if info:
                    seen.infos.add(at - seen.first, info)
                self._nbytes += size
                if (terminated or truncated) and at + 1 < stop:
                    return False  # the flags of this step are not the recorded ones
                if at + 1 < stop and self._enough:
                    self._compare(going_on=place)
                    if place in self._found:
                        return True
                    seen = self._seen
            t = stop - first
            if pictures is not None:
                last = next(pictures, None)
                if last is not None and (different := picture_difference(t, last, observation)) is not None:
                    return self._stop(place, different)
            else:
                seen.finals.append((place, copied(observation)))
        except Exception as error:  # a replay that left the recorded way may be refused an action
            return self._stop(place, Divergence(t, "error", "a step", said(error), None))
        return True

    def _stop(self, place: int, divergence: Divergence) -> bool:
        """An episode ends here, unless something before differs as well."""
        self._compare(going_on=place)
        if place not in self._found:
            self._found[place] = divergence, divergence.t
            self._open = []
        return False

    def _compare(self, going_on: int | None = None) -> None:
        """Compare what was seen since the last time. `going_on` is the episode that has not ended."""
        seen, recorded = self._seen, self._recorded
        rows = seen.first + len(seen.rewards)
        del seen.observations[len(seen.rewards) :]
        start = 0
        opened = self._open
        while start < len(opened):
            different = recorded.difference(seen, opened[start], self._ignored)
            if different is None:
                break
            place, divergence = different
            for exact in opened[start : opened.index(place)]:
                self._found[exact] = None, recorded.rows[exact]["length"]
            self._found[place] = divergence, min(divergence.t + 1, recorded.rows[place]["length"])
            start = opened.index(place) + 1
        left = opened[start:]
        for place in left:
            if place != going_on:
                self._found[place] = None, recorded.rows[place]["length"]
        self._open = [place for place in left if place == going_on]
        self._seen = recorded.seen(rows)
        self._nbytes = 0


def _same(a: Divergence | None, b: Divergence) -> bool:
    if a is None:
        return False
    return (a.t, a.field, encode_value(a.replayed)) == (b.t, b.field, encode_value(b.replayed))


def _not(row: dict[str, Any], reason: str) -> Replayed:
    return Replayed(row["episode"], "not replayable", row["status"], reason=reason)
