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
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import gymnasium as gym

from rolltape.schema.errors import ConfigError
from rolltape.schema.info_json import encode_value

from .kept_values import KeptValues
from .on_ray import cluster, launch
from .pass_order import PassOrder
from .recorded_rows import episodes_in_order, stored_columns
from .recorded_steps import EPISODE_COLUMNS, RecordedSteps, read_some, read_together, steps_at_once
from .remaking import Maker, make_again, recipe_of, vector_wrappers, version_differences
from .replay_pass import CarefulPass, SwiftPass, Verdict, exact
from .replayed import Divergence, Replayed, ReplayReport
from .taped_pass import TapedPass

if TYPE_CHECKING:
    from rolltape.storage.runs import Run

JOBS_A_WORKER: Final = 4

LOST = "lost: its producer died before it ended"
BATCHED = "replays only with its whole batch: a native vector environment has one random state"
BROKEN = "an episode before it differs, and their random state goes on"
UNSTEADY = (
    "two replays with the same seed and actions differ: the environment is not deterministic, or carries something "
    "from one episode to the next"
)
THINNED = "steps of it were left out on purpose when it was recorded (keep_last or sample), and their actions with them"
SHARED = (
    "normalization statistics of a vector wrapper go on with every step of all sub-environments, and one of them alone "
    "does not repeat them"
)
STEPLESS = "the run has no steps: there is nothing to repeat"
UNSEEDED = "never seeded: no reset up to its own was given a seed"

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
    if not run.parts("episodes"):
        return []
    columns = episodes_in_order(run, EPISODE_COLUMNS, where).to_pydict()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the verdicts."""

    results: list[Replayed]
    uncompared: set[str]


def _parts(run: Run, wanted: list[dict[str, Any]], make: Maker | None, workers: int) -> Iterator[Part]:
    if workers == 1:
        yield from _replayed(run, wanted, make)
        return
    cluster.ensure_ray()
    lake = str(run.lake.path)
    jobs = [(lake, run.run_id, [row["episode"] for row in share], make) for share in _shares(wanted, workers)]
    yield from launch.tasks(_job, jobs, workers)


def _job(lake: str, run_id: str, episodes: list[int], make: Maker | None) -> Part:
    from rolltape.storage.lake import open_lake

    with open_lake(lake, threads=1) as opened:
        run = opened.run(run_id)
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
    begun = _begun(wanted)
    for row in wanted:
        together.setdefault(_chain_of(row, begun), []).append(row)
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


def _begun(wanted: list[dict[str, Any]]) -> set[tuple[int, int]]:
    """Sub-environments and first episodes of the chains of these episodes; a first one replays with its chain."""
    return {(row["sub_env"], row["seed_episode"]) for row in wanted if row["replay"] == "forward"}


def _chain_of(row: dict[str, Any], begun: set[tuple[int, int]]) -> Any:
    if row["replay"] == "forward" or (row["replay"] == "alone" and (row["sub_env"], row["episode"]) in begun):
        first = row["episode"] if row["replay"] == "alone" else row["seed_episode"]
        return "forward", row["sub_env"], first
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
        self._stepped = bool(stored_columns(run, "steps"))
        self._shared = _shared_statistics(run, wrappers)
        self._note = f"recorded above {', '.join(wrappers)}, which a replay has not" if wrappers else ""
        self.uncompared: set[str] = set()
        self._stride = run.info["episode_stride"]
        self._known: dict[int, dict[str, Any]] = {}
        self._kept = KeptValues(self._observation)
        self._swift = True
        """Until something differs, or cannot be told."""
        self._taped = True
        """Until something is unusual."""

    @property
    def env(self) -> gym.Env[Any, Any]:
        """The environment in which episodes are replayed; made when it is first asked for."""
        if self._env is None:
            self._env = self._made()
        return self._env

    def replay(self, wanted: list[dict[str, Any]]) -> Iterator[list[Replayed]]:
        """Replay episodes, given by their rows (`episode_rows`); some verdicts at a time."""
        self._known = {row["episode"]: row for row in wanted}
        kinds: dict[str, list[dict[str, Any]]] = {"alone": [], "forward": [], "batch": [], "none": []}
        begun = _begun(wanted)
        for row in wanted:
            kind = "none" if self._why_not(row) else row["replay"]
            if kind == "alone" and (row["sub_env"], row["episode"]) in begun:
                kind = "forward"  # it is the first of a chain, and replayed with that
            kinds[kind].append(row)
        if kinds["alone"]:
            yield from self._alone(kinds["alone"])
        yield from self._forward(kinds["forward"])
        if kinds["batch"]:
            from .replay_batch import replay_batches

            yield from replay_batches(self._run, kinds["batch"], recipe_of(self._run, self._given), self.uncompared)
        if kinds["none"]:
            yield [_not(row, self._why_not(row)) for row in kinds["none"]]

    def close(self) -> None:
        """Close the environments."""
        for env in (self._env, self._other):
            if env is not None:
                env.close()
        self._env = self._other = None

    def chain(self, row: dict[str, Any]) -> list[dict[str, Any]] | str:
        """The episodes that must be replayed in a row to replay the last of them, or why that cannot be."""
        if reason := self._why_not(row):
            return reason
        if row["replay"] == "batch":
            return BATCHED
        if row["replay"] == "alone":
            return [row]
        stride, seeded = self._stride, row["seed_episode"]
        known = [self._known.get(number) for number in range(seeded, row["episode"] + 1, stride)]
        if all(r is not None and r["status"] != "lost" and not r.get("skipped") for r in known):
            return [r for r in known if r is not None]
        where = f"sub_env = {row['sub_env']} and episode >= {seeded} and episode <= {row['episode']}"
        rows = episode_rows(self._run, where)
        whole = [r["episode"] for r in rows] == list(range(seeded, row["episode"] + 1, stride))
        if not whole or any(r["status"] == "lost" or r.get("skipped") for r in rows):
            return "an episode between its seeded reset and it is missing"
        return rows

    def read(self, rows: list[dict[str, Any]]) -> Iterator[RecordedSteps]:
        """The recorded values of episodes, some at a time."""
        return read_some(self._run, rows, self._observation, self._action, self.env)

    def verdict(self, rows: list[dict[str, Any]]) -> Replayed:
        """The verdict on the last episode of a chain."""
        divergence, steps, row = *self._last(self.env, rows), rows[-1]
        if divergence is None:
            return Replayed(row["episode"], "exact", row["status"], steps)
        return self._checked(rows, divergence, steps)

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _why_not(self, row: dict[str, Any]) -> str:
        """Why an episode cannot be replayed, as its row says; empty where it can."""
        if row["status"] == "lost":
            return LOST
        if row.get("skipped"):
            return THINNED
        if not self._stepped:
            return STEPLESS
        return UNSEEDED if row["replay"] == "none" else self._shared

    def _made(self) -> gym.Env[Any, Any]:
        return make_again(self._run, recipe_of(self._run, self._given, renders=self._renders))

    def _alone(self, wanted: list[dict[str, Any]]) -> Iterator[list[Replayed]]:
        for recorded in self.read(wanted):
            while (found := self._through(recorded, chained=False)) is None:
                pass
            yield [self._told(recorded, place, found, lambda row=row: [row]) for place, row in enumerate(recorded.rows)]

    def _forward(self, wanted: list[dict[str, Any]]) -> Iterator[list[Replayed]]:
        chains: dict[Any, list[dict[str, Any]]] = {}
        for row in wanted:
            first = row["episode"] if row["replay"] == "alone" else row["seed_episode"]
            chains.setdefault((row["sub_env"], first), []).append(row)
        for rows, chain, pieces in self._read_chains(list(chains.values())):
            if isinstance(chain, str):
                yield [_not(row, chain) for row in rows]
                continue
            episodes = {row["episode"] for row in rows}
            for results in self._chained(chain, pieces=pieces):
                yield [result for result in results if result.episode in episodes]

    def _read_chains(self, wanted: list[list[dict[str, Any]]]) -> Iterator[tuple[Any, Any, Any]]:
        """Each group of wanted episodes with its chain (or why there is none) and, where short chains could be read
        at once, what was recorded of it."""
        room = steps_at_once(self._observation, self._action)
        some: list[tuple[Any, Any]] = []
        steps = 0
        for rows, chain in (some_rows for group in wanted for some_rows in self._before_and_after_a_hole(group)):
            more = 0 if isinstance(chain, str) else sum(row["length"] for row in chain)
            if some and steps + more > room:
                yield from self._read_together(some, steps <= room)
                some, steps = [], 0
            some.append((rows, chain))
            steps += more
        if some:
            yield from self._read_together(some, steps <= room)

    def _before_and_after_a_hole(self, rows: list[dict[str, Any]]) -> list[tuple[list[dict[str, Any]], Any]]:
        """Episodes of one chain, those with all before them and those without; each time with `chain` of the last."""
        chain = self.chain(rows[-1])
        if not isinstance(chain, str):
            return [(rows, chain)]
        at = bisect_left(rows, True, key=lambda row: isinstance(self.chain(row), str))
        return [(some, self.chain(some[-1])) for some in (rows[:at], rows[at:]) if some]

    def _read_together(self, some: list[tuple[Any, Any]], fits: bool) -> Iterator[tuple[Any, Any, Any]]:
        whole = [row for _, chain in some if not isinstance(chain, str) for row in chain]
        together = None
        if whole and fits:
            together = read_together(self._run, whole, self._observation, self._action, self.env)
        at = 0
        for rows, chain in some:
            if together is None or isinstance(chain, str):
                yield rows, chain, None
                continue
            yield rows, chain, [together.between(at, at + len(chain))]
            at += len(chain)

    def _chained(
        self, chain: list[dict[str, Any]], told: int = 0, pieces: list[RecordedSteps] | None = None
    ) -> Iterator[list[Replayed]]:
        """The verdicts on a chain, from its episode number `told` on; `pieces`: what was recorded, if it is read."""
        done, broken = 0, False
        for recorded in pieces or self.read(chain):
            first, done = done, done + len(recorded.rows)
            if broken:
                yield [_not(row, BROKEN) for row in recorded.rows]
                continue
            found = self._through(recorded, chained=True, seeded=first == 0)
            if found is None:  # the random state has gone on
                yield from self._chained(chain, max(told, first))
                return
            known = len(self.uncompared)
            results = [
                self._told(recorded, place, found, lambda end=first + place + 1: chain[:end])
                for place in range(len(recorded.rows))
            ]
            if len(self.uncompared) > known:  # a key more is left out: what stopped this chain does not count
                yield from self._chained(chain, max(told, first))
                return
            broken = any(result.outcome != "exact" for result in results)
            yield results[max(0, told - first) :]

    def _through(self, recorded: RecordedSteps, *, chained: bool, seeded: bool = True) -> dict[int, Verdict] | None:
        """The verdicts of one pass; None where a swift one found something, which a careful one has to look at."""
        order = PassOrder(self.env, recorded, self.uncompared, chained, seeded)
        if not self._swift:
            return CarefulPass(order).through()
        if self._taped:
            taped = TapedPass(order)
            if taped.possible:
                found = exact(recorded, taped.through())
                self._taped = found is not None
                return found
        kept = self._kept
        possible = kept.possible
        found = SwiftPass(order, kept).through()
        self._swift = found is not None or kept.possible != possible
        return found

    def _told(
        self, recorded: RecordedSteps, place: int, found: dict[int, Verdict], chain: Callable[[], list[dict[str, Any]]]
    ) -> Replayed:
        row, verdict = recorded.rows[place], found.get(place)
        if verdict is None:
            return _not(row, recorded.why_not(place) or BROKEN)
        divergence, steps = verdict
        if divergence is None:
            return Replayed(row["episode"], "exact", row["status"], steps)
        return self._checked(chain(), divergence, steps)

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
            found = CarefulPass(PassOrder(env, recorded, self.uncompared, True, seeded=number == 0)).through()
            verdict = found.get(max(found, default=-1), (None, 0))
            if verdict[0] is not None or len(found) < len(recorded.rows):
                break
        return verdict


def _same(a: Divergence | None, b: Divergence) -> bool:
    if a is None:
        return False
    return (a.t, a.field, encode_value(a.replayed)) == (b.t, b.field, encode_value(b.replayed))


def _shared_statistics(run: Run, wrappers: list[str]) -> str:
    """Why nothing replays where a vector wrapper normalizes; empty where none does."""
    if not wrappers or not run.parts("normalization"):
        return ""
    found = {name for (name,) in run.normalization().select("distinct wrapper").fetchall()} & set(wrappers)
    return f"{SHARED}: {', '.join(sorted(found))}" if found else ""


def _not(row: dict[str, Any], reason: str) -> Replayed:
    return Replayed(row["episode"], "not replayable", row["status"], reason=reason)
