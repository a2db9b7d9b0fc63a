"""Going on with a run after a stop, a crash or a full disk: what is known of it, and what its new session begins with.

Rules:
1. A run goes on as it began: environment, spaces, sub-environments, workers, seed, pictures and what is left out are
   those of `run.json`. How often is committed may change.
2. Nobody may be recording it. What the last session lost is declared before the next one begins, once.
3. Every producer begins a new incarnation, behind the last episode that its pages and the recording know of, so that no
   episode number and no seed comes twice. The old incarnations are fenced.
4. `run.json` says who records now and has a line a session; only then `end.json` goes, and the run counts as running.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow.parquet as pq

from rolltape.schema.config import RecordConfig
from rolltape.schema.config_provenance import Resolved
from rolltape.schema.errors import ConfigError, SchemaMismatch
from rolltape.schema.messages import ProducerKey
from rolltape.schema.run_schema import RunSchema
from rolltape.storage.configuration import configured_by
from rolltape.storage.files import FileOps, storage_errors
from rolltape.storage.lake import Lake
from rolltape.storage.layout import RunFolder, list_tables
from rolltape.storage.ledger import read_losses, read_pages
from rolltape.storage.rebuilding import mend_newest
from rolltape.storage.run_info import durability_of, read_run_info, write_run_info
from rolltape.storage.settlement import declare, durable_of, outstanding
from rolltape.storage.summaries import given_up, newest_markers, summarize

from .obituary import Obituary, write_obituary
from .on_ray import remote

if TYPE_CHECKING:
    from .run_description import EnvDescription

Kind = Literal["fleet", "recorder"]
HOW: Final[dict[Any, str]] = {
    "fleet": "is a fleet's: rolltape record --resume {run}, or rolltape.Fleet(lake=…, resume={run!r}), goes on with it",
    "recorder": "was recorded by rolltape.record: your own loop goes on with it, rolltape.record(env, lake, "
    "resume={run!r})",
}


@dataclass(frozen=True, slots=True)
class Resumed:
    """What was resumed, from where, and what was lost before.

    Attributes:
        session: number of the session that begins, from 2.
        ended: how the last one ended: completed, stopped, failed or crashed.
        reason: why, "" where nobody said.
        ended_ns: UTC nanoseconds of its end, or of the newest commit.
        commits: the newest commit of each writer, by name.
        steps, episodes: durable when it was resumed.
        lost_steps: declared lost so far; None: some of it is unknown.
        lost_episodes: rows with status `lost`.
        declared_now: whether some of that was declared only now.
        rebuilt: markers that could not be read and were made again from their parts, by name.
    """

    run_id: str
    env_id: str
    session: int
    ended: str
    reason: str
    ended_ns: int
    commits: tuple[str, ...]
    steps: int
    episodes: int
    lost_steps: int | None
    lost_episodes: int
    declared_now: bool
    rebuilt: tuple[str, ...] = ()

    def lines(self) -> dict[str, str]:
        """Names and values for people."""
        when = datetime.fromtimestamp(self.ended_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        lost = "an unknown number of steps" if self.lost_steps is None else f"{self.lost_steps:,} steps"
        return {
            "resumed": f"run {self.run_id} of {self.env_id}, session {self.session}",
            "after": f"{self.ended} at {when}" + (f": {self.reason}" if self.reason else ""),
            "from": f"{self.steps:,} steps and {self.episodes:,} episodes, commit {', '.join(self.commits) or 'none'}",
            "lost before": f"{lost} and {self.lost_episodes:,} open episodes"
            + (", declared in the ledger now" if self.declared_now else ""),
        } | ({"made again": f"unreadable markers, from their parts: {', '.join(self.rebuilt)}"} if self.rebuilt else {})


class PastRun:
    """A run that is to go on. Made by `find`.

    Attributes:
        folder: its paths.
        info: the content of its `run.json`.
        resumed: what is said of it; after `settle`.
    """

    def __init__(self, folder: RunFolder, info: dict[str, Any]) -> None:
        self.folder, self.info = folder, info
        self.resumed: Resumed | None = None

    @classmethod
    def find(cls, lake: str | Path, run: Any, kind: Kind = "fleet") -> PastRun:
        """The run that is meant, as `Lake.run` takes it; `kind` is who wants to go on with it.

        Raises LakeNotFound, CorruptRecording; ConfigError where it cannot go on.
        """
        with Lake(lake, threads=1) as found:
            folder = found.listing.folder(found.resolve(run))
        info = read_run_info(folder)
        if "program" in info:
            raise ConfigError(
                f"resume: run {folder.run_id} is of a program; a job that is retried goes on with it: rolltape submit "
                f"--retry."
            )
        recorded_by = (info.get("env") or {}).get("kind")
        if recorded_by != kind:
            how = HOW.get(recorded_by, "was imported, and nothing goes on with it: record a new run")
            raise ConfigError(f"resume: run {folder.run_id} {how.format(run=folder.run_id)}.")
        return cls._quiet(folder, info)

    @classmethod
    def of_program(cls, folder: RunFolder) -> PastRun:
        """The run of an external program that is tried again; its recorders are new producers.

        Raises ConfigError where it is no such run, or where somebody records it.
        """
        info = read_run_info(folder)
        if "program" not in info:
            raise ConfigError(f"run: {folder.run_id} is no run of a program; submit this one under another id.")
        return cls._quiet(folder, info)

    @classmethod
    def _quiet(cls, folder: RunFolder, info: dict[str, Any]) -> PastRun:
        if summarize(folder).status == "running":
            host = info.get("host") or {}
            raise ConfigError(
                f"resume: run {folder.run_id} is being recorded by process {host.get('pid')} on {host.get('name')}. "
                f"Stop it first, or wait for its end."
            )
        return cls(folder, info)

    def as_it_began(self) -> dict[str, Any]:
        """The values with which it goes on, by the names of a Fleet's arguments."""
        env = self.info["env"]
        return {
            "num_envs": self.info["num_envs"],
            "num_workers": self.info["workers"],
            "vectorization": env["vectorization"],
            "autoreset": env["autoreset"],
            "seed": self.info["seed"],
            "frames": {"policy": self.info["frames"]["policy"], "every": self.info["frames"]["every"]},
            "env_kwargs": env["kwargs"],
        }

    def env(self, given: Any) -> Any:
        """The environment that was given, else the one of `run.json`. Raises ConfigError where there is neither."""
        source = self.info["env"]["source"]
        if given is None and source is None:
            raise ConfigError(
                f"resume: run {self.folder.run_id} was made from a callable that has no name to import; give it again."
            )
        return source if given is None else given

    def config(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The other fields of its `RecordConfig`, with those that were given in their place."""
        stored = {k: v for k, v in self.info["config"].items() if k not in ("frames", "seed")}
        return {**stored, **{k: v for k, v in given.items() if v is not None}}

    def check_same(self, env: EnvDescription, config: RecordConfig) -> None:
        """Raises ConfigError where a value differs that a run keeps (rule 1)."""
        policy = config.frames.policy
        kept, stored = self.info["env"], self.info["config"]
        if env.kind == "fleet":
            began = {name: self.as_it_began()[name] for name in ("num_workers", "seed")}
            now: dict[str, Any] = {"num_workers": env.workers, "seed": config.seed}
            same_env = env.source == kept["source"]
        else:
            began = {"frames.every": self.info["frames"]["every"], "made with": _made_with(kept)}
            now = {"frames.every": config.frames.every, "made with": _made_with(asdict(env))}
            same_env = False
        began |= {
            "env": self.info["env_id"],
            "num_envs": self.info["num_envs"],
            "vectorization": kept["vectorization"],
            "autoreset": kept["autoreset"],
            "frames": self.info["frames"]["policy"],
            "keep_last": stored.get("keep_last", 0),
            "throttle.sample": (stored.get("throttle") or {}).get("sample", 1),
        }
        now |= {
            "env": self.info["env_id"] if same_env else env.env_id,
            "num_envs": env.num_envs,
            "vectorization": env.vectorization,
            "autoreset": env.autoreset,
            "frames": began["frames"] if policy == "auto" else policy,
            "keep_last": config.keep_last,
            "throttle.sample": config.throttle.sample,
        }
        for name in ("env", *(name for name in now if name != "env")):
            if now[name] != began[name]:
                raise ConfigError(
                    f"{name}: run {self.folder.run_id} has {began[name]!r}, and a run goes on as it began (got "
                    f"{now[name]!r}). Leave it out, or record a new run."
                )

    def check_spaces(self, schema: RunSchema) -> None:
        """Raises SchemaMismatch where the environment has other spaces than the run."""
        for name, stored in self.info["space_signature"].items():
            codec = getattr(schema, name)
            if codec.signature != stored:
                raise SchemaMismatch(
                    f"The {name} space of {schema.env_id} is not the one of run {self.folder.run_id}: expected "
                    f"{self.info['spaces'][name]}, found {codec.descriptor}. Start a new run for another environment."
                )

    def settle(self) -> Resumed:
        """Declare what the last session lost, if nobody did, and begin a session in `run.json`.

        Raises LakeNotWritable, DiskFull, StorageError.
        """
        rebuilt = mend_newest(self.folder, durable=durability_of(self.info) == "machine")
        summary = summarize(self.folder)
        due = outstanding(self.folder, self.info, durable_of(self.folder), cause="crashed")
        if due:
            declare(self.folder, self.info, due)
        markers = newest_markers(self.folder)
        end = dict(summary.end or {})
        losses = [loss for loss in read_losses(self.folder) if loss.table == "steps"]
        known = [loss.rows for loss in losses if loss.rows is not None]
        parts = list_tables(self.folder, ("episodes",))["episodes"]
        statuses = [pq.read_table(path, columns=["status"])["status"].cast("string") for path in parts]
        sessions = list(self.info.get("sessions") or [])
        self.resumed = Resumed(
            run_id=self.folder.run_id,
            env_id=str(self.info["env_id"]),
            session=len(sessions) + 2,
            ended=summary.status,
            reason=str(end.get("reason") or ""),
            ended_ns=int(end.get("ended_ns") or max((m.time_ns for m in markers), default=self.info["created_ns"])),
            commits=tuple(sorted(m.commits.stem for m in markers)),
            steps=summary.steps,
            episodes=sum(len(column) for column in statuses),
            lost_steps=sum(known) if len(known) == len(losses) else None,
            lost_episodes=sum(c.to_pylist().count("lost") for c in statuses),
            declared_now=bool(due),
            rebuilt=rebuilt,
        )
        now_ns = time.time_ns()
        self.info["sessions"] = [*sessions, {"began_ns": now_ns, **asdict(self.resumed), "end": end or None}]
        self.info["host"] = {
            **(self.info.get("host") or {}),
            "name": socket.gethostname(),
            "pid": os.getpid(),
            "since_ns": now_ns,
        }
        write_run_info(self.folder, self.info)
        given_up.discard(self.folder.run_id)
        files = FileOps()
        with storage_errors(files, self.folder.end_json):
            if files.exists(self.folder.end_json):
                files.unlink(self.folder.end_json)
                files.sync(self.folder.path)
        return self.resumed

    def next_life(self, writer: Any, producer: int, offset: int, num_envs: int) -> tuple[ProducerKey, Obituary | None]:
        """The incarnation with which a producer goes on, and what its last one left; the writer takes no more from
        that."""
        lives = [key for key in (*read_pages(self.folder), *durable_of(self.folder)) if key.producer == producer]
        if not lives:
            return ProducerKey(producer, 0), None
        last = max(lives)
        mark = remote.fence(writer, last)
        left = write_obituary(self.folder, last, mark, offset, num_envs, int(self.info["episode_stride"]))
        return ProducerKey(producer, last.incarnation + 1), left

    def next_place(self, writer: Any, producer: int, offset: int, num_envs: int) -> tuple[ProducerKey, list[int]]:
        """The incarnation with which a recorder goes on, and the next episode index of each of its sub-environments.

        What its last one lost is declared (`settle`). Raises ConfigError where that had another number of them.
        """
        known = {len(page.episode_index) for key, page in read_pages(self.folder).items() if key.producer == producer}
        if known - {num_envs}:
            raise ConfigError(
                f"resume: environment {producer} of run {self.folder.run_id} had {known.pop()} sub-environments, this "
                f"one has {num_envs}. Record environments in the order in which the run began, or record a new run."
            )
        key, left = self.next_life(writer, producer, offset, num_envs)
        return key, [0] * num_envs if left is None else left.first_index


def lake_of(place: str, lake: str | Path | None, settings: Resolved | None) -> Path:
    """Where the run lies that is to go on; `place` is the call that wants it."""
    if settings is not None:
        return settings.config.lake
    return Path(lake) if lake is not None else configured_by(place, None, None).config.lake


def _made_with(env: Mapping[str, Any]) -> dict[str, Any]:
    """Of an environment's description what a replay makes it with, but for how it renders."""
    spec = json.loads(env["spec"] or "{}")
    kwargs = {name: value for name, value in spec.get("kwargs", {}).items() if name != "render_mode"}
    wrappers = [layer["name"] for layer in env["metadata"].get("wrappers", ())]
    return {
        "kwargs": kwargs,
        "max_episode_steps": spec.get("max_episode_steps"),
        "wrappers": wrappers + env["metadata"].get("vector_wrappers", []),
    }
