"""A run in the making: its folder, its hub and writer, and the reconciliation at its end.

Rules of the end:
1. A successor says what its predecessor lost. What no successor came to say is said here, before the numbers are
   compared (reconciliation.py).
2. A difference makes the run `failed`, with the numbers in `end.json`, and raises CountMismatch.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pyarrow as pa

from rolltape.schema import log_codes
from rolltape.schema.adapters.adapter import EnvironmentAdapter
from rolltape.schema.config import RecordConfig
from rolltape.schema.config_logging import LoggingConfig
from rolltape.schema.config_provenance import Resolved
from rolltape.schema.errors import ClusterError, CountMismatch, RolltapeError
from rolltape.schema.log_policy import configure_logging, is_program
from rolltape.schema.log_section import LogSections
from rolltape.schema.log_source import LogSource
from rolltape.schema.messages import Heartbeat, ProducerKey, RunCounts, Watermark
from rolltape.schema.run_schema import RunSchema
from rolltape.storage.files import folder_bytes
from rolltape.storage.layout import RunFolder, new_run_id
from rolltape.storage.ledger import Loss, ledger_batch
from rolltape.storage.rebuilding import mend_newest
from rolltape.storage.room import check_room
from rolltape.storage.run_info import create_run, durability_of, read_run_info, write_end_info
from rolltape.storage.settlement import (
    declare,
    durable_of,
    next_key,
    outstanding,
    settlement_batches,
    settlement_header,
)
from rolltape.storage.summaries import given_up
from rolltape.storage.wired_run import take_run_id, was_started

from .end_summary import EndStatus, EndSummary
from .log_stream import LogStream
from .on_ray import cluster, launch, links, remote
from .reconciliation import Reconciliation
from .resuming import PastRun, Resumed
from .run_description import EnvDescription, run_info
from .served_page import ServedPage

ABANDON_S = 2.0
"""How long a run that is given up waits for its last log records."""
SAID = frozenset({"run_id", "env_id", "status", "path", "reconciled"})
"""Fields of a summary that its section does not repeat."""
HUB_S = 1.0
"""How long is waited for counts: they are shown and summed up, but nothing depends on them."""


class Recording:
    """One run that is being recorded. Made by `open`; ended once by `finish`."""

    def __init__(
        self,
        folder: RunFolder,
        schema: RunSchema,
        env: EnvDescription,
        config: RecordConfig,
        settings: Resolved | None = None,
    ) -> None:
        self.folder, self.schema, self.env, self.config = folder, schema, env, config
        self.settings = settings
        self.logs = LoggingConfig() if settings is None else settings.config.logging
        configure_logging(self.logs)
        self._actors = self.begin_actors()
        self.writer = self._actors.writers[0]
        self.hub = links.RayHubLink(self._actors.hub)
        self.hub_actor = self._actors.hub
        self.writer_link = links.RayWriterLink(self.writer)
        self._started = time.monotonic()
        self.lost: dict[ProducerKey, tuple[int, int]] = {}
        self.restarts = 0
        self.steps_before = self.lost_episodes_before = 0
        self.resumed: Resumed | None = None
        self._beats: dict[str, Heartbeat] = {}
        self.summary: EndSummary | None = None
        self.sections = LogSections(self.logs.verbose)
        self.source = LogSource(folder.run_id, env.env_id)
        self.log = LogStream(self.source, self.writer_link, self.logs, config.budget)
        self.log.start()
        self._say_started()
        self.page = self.begin_page()

    def begin_actors(self) -> launch.Actors:
        """Start the hub and the writer. Raises what they raise."""
        reserved = launch.NOTHING_RESERVED if self.settings is None else self.settings.config.resources
        path, run_id = self.folder.path, self.folder.run_id
        return launch.start_actors(path, run_id, self.config, reserved, self.env.env_id, self.logs)

    def begin_page(self) -> ServedPage:
        """The page, which is served while the run goes on."""
        env, tree = self.env, None if self.settings is None else self.settings.config
        about = {
            "env_id": env.env_id,
            "kind": env.kind,
            "num_envs": env.num_envs,
            "workers": env.workers,
            "frames": "unknown" if self.schema is None else self.schema.frame_policy,
        }
        return ServedPage(self.folder.path, self.folder.run_id, tree, about)

    @classmethod
    def open(
        cls,
        lake: str | Path,
        env: EnvDescription,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        config: RecordConfig,
        adapter: EnvironmentAdapter | None = None,
        *,
        settings: Resolved | None = None,
        past: PastRun | None = None,
    ) -> Recording:
        """Create the run's folder in `lake` and start its actors.

        Args:
            lake: made where it does not exist.
            env: what is recorded.
            observation_space, action_space: of one sub-environment.
            config: what is recorded and how it is kept.
            adapter: describes the environment in `run.json`.
            settings: the whole configuration with where each value comes from, to be kept with the run.
            past: go on with this run instead of making one; what it lost is declared first.

        Raises ConfigError, UnsupportedSpace, LakeNotWritable, DiskFull or ClusterError; nothing is started then.
        """
        root = Path(lake).expanduser().resolve()
        given = take_run_id() if past is None else None
        again = given is not None and was_started(root, given)
        run_id = new_run_id() if given is None or again else given
        run_id = run_id if past is None else past.folder.run_id
        schema = RunSchema(run_id, env.env_id, observation_space, action_space, config.frames)
        folder = RunFolder.of(root, run_id)
        check_room(root)
        cluster.ensure_ray()
        if settings is not None:
            cluster.check_resources(0, settings.config.resources)
            settings = settings.settled(
                {
                    "durable.frames.policy": schema.frame_policy,
                    "durable.budget.total_bytes": cluster.total_bytes(config.budget),
                }
            )
        if past is None:
            info = run_info(env, schema, config, adapter, settings)
            create_run(folder, {**info, "retry_of": given} if again else info)
            return cls(folder, schema, env, config, settings)
        past.check_spaces(schema)
        resumed = past.settle()
        recording = cls(folder, schema, env, config, settings)
        recording.go_on_from(resumed)
        return recording

    def go_on_from(self, resumed: Resumed) -> None:
        """Count from where the last session ended, and say so."""
        self.resumed = resumed
        self.steps_before, self.lost_episodes_before = resumed.steps, resumed.lost_episodes
        self.source.emit(
            log_codes.RUN_RESUMED,
            shown=not is_program(),
            section=self.sections.section("resumed", resumed.lines()),
            run=self.run_id,
            **{name: value for name, value in asdict(resumed).items() if name != "run_id"},
        )
        if resumed.rebuilt:
            self.source.emit(log_codes.MARKERS_REBUILT, markers=", ".join(resumed.rebuilt))

    @property
    def run_id(self) -> str:
        """The run's ULID."""
        return self.folder.run_id

    def counts(self) -> RunCounts:
        """What was counted so far. Never less than before: a hub that was restarted has forgotten who is gone."""
        try:
            counts = self.hub.counts(HUB_S)
        except ClusterError:  # it restarts; nothing depends on it
            return RunCounts.of("", self._beats)
        for key, beat in counts.keys.items():
            known = self._beats.get(key)
            if known is None or beat.steps > known.steps or (beat.steps == known.steps and not known.done):
                self._beats[key] = beat
        return RunCounts.of(counts.epoch, self._beats)

    def begin(self) -> None:
        """Everything has started: the seconds of the summary count from now."""
        self._started = time.monotonic()

    def _say_started(self) -> None:
        """The first section: what is recorded, and which settings differ from their defaults."""
        env = self.env
        facts = {
            "environments": f"{env.num_envs} × {env.env_id}",
            "workers": env.workers,
            "vectorization": env.vectorization,
            "pictures": self.schema.frame_policy,
        }
        usual: dict[str, Any] = {"workers": 1, "vectorization": "none", "pictures": "none"}
        notes: dict[str, str] = {}
        if self.settings is None:
            values, defaults = ({"durable": one.model_dump(mode="json")} for one in (self.config, RecordConfig()))
        else:
            rows = self.settings.table()
            values, defaults = ({row["key"]: row[column] for row in rows} for column in ("value", "default"))
            notes = {row["key"]: str(self.settings.origins[row["key"]]) for row in rows}
        section = self.sections.section("run", facts | values, defaults=usual | defaults, notes=notes)
        self.source.emit(
            log_codes.RUN_STARTED,
            env_id=env.env_id,
            run=self.run_id,
            lake=str(self.folder.path.parent.parent),
            section=section,
            settings=facts | values,
        )

    def _say_ended(self, summary: EndSummary) -> None:
        """The last section: what came out of it, where that is not nothing."""
        values = {name: value for name, value in asdict(summary).items() if name not in SAID}
        nothing = dict.fromkeys(values, 0) | {"mean_return": None, "reason": ""}
        section = "" if is_program() else self.sections.section("end", values, defaults=nothing)
        details: dict[str, Any] = values | {"run": self.run_id, "status": summary.status}
        if summary.mismatches:
            kinds = ", ".join(f"{code} {count:,}" for code, count in summary.mismatches.items())
            self.source.emit(log_codes.VALUES_OFF, total=sum(summary.mismatches.values()), kinds=kinds)
        if summary.status == "failed":
            self.source.emit(log_codes.RUN_FAILED, section=section, shown=not is_program(), **details)
        else:
            self.source.emit(log_codes.RUN_ENDED, section=section, **details)

    def declare_lost(self, key: ProducerKey, steps: int, episodes: int) -> None:
        """A producer was replaced; so much of what it produced never became durable."""
        self.lost[key] = (steps, episodes)
        if (beat := self._beats.get(str(key))) is not None:
            self._beats[str(key)] = replace(beat, done=True)

    def finish(self, status: EndStatus = "completed", reason: str = "") -> EndSummary:
        """Commit everything, reconcile, write `end.json` and the catalog, end the actors.

        Raises CountMismatch when the counts do not reconcile; everything is written by then.
        """
        if self.summary is not None:
            return self.summary
        try:
            self.page.end(status)
            durable = remote.flush(self.writer, timeout_s=self.config.budget.give_up_s + 10)
            durable = self._say_the_unseen(self._say_the_unsaid(durable))
            seconds = time.monotonic() - self._started
            summary, mismatch = self._reconcile(durable, status, reason, seconds)
            self._say_ended(summary)
            self.log.close()
            write_end_info(self.folder, {**asdict(summary), "ended_ns": time.time_ns()})
            links.publish(self.folder.path.parent.parent)
        finally:
            self.log.stop()
            self.page.end(status)
            launch.stop_actors(self._actors)
        self.summary = summary
        if mismatch:
            raise CountMismatch(mismatch)
        return summary

    def abandon(self, reason: str, status: EndStatus = "failed") -> None:
        """The run cannot go on: say so, and what is lost, as far as the disk lets, and end the actors."""
        try:
            if status == "failed":
                self.source.emit(log_codes.RUN_FAILED, shown=not is_program(), run=self.run_id, reason=reason)
            self.log.close(ABANDON_S)
            write_end_info(self.folder, {"status": status, "reason": reason, "ended_ns": time.time_ns()})
        except RolltapeError:
            given_up.add(self.run_id)  # the disk is the reason; the absence of end.json says `crashed`
        finally:
            self.page.end(status)
            launch.stop_actors(self._actors)
        try:
            info = read_run_info(self.folder)
            mend_newest(self.folder, durable=durability_of(info) == "machine")
            if due := outstanding(self.folder, info, durable_of(self.folder), cause="gave_up"):
                declare(self.folder, info, due)
        except RolltapeError:
            pass  # the disk again; `rolltape verify` says it when the disk is back

    def _say_the_unsaid(self, durable: dict[ProducerKey, Watermark]) -> dict[ProducerKey, Watermark]:
        """Declare what was lost by producers that have no successor; returns what is durable after that."""
        if not self.lost:
            return durable
        info = read_run_info(self.folder)
        due = outstanding(self.folder, info, durable, cause="killed", only=self.lost.keys())
        if not due:
            return durable
        key, now_ns = next_key(durable), time.time_ns()
        return self._declare(key, settlement_batches(self.folder, info, due, key, 1, now_ns // 1000), now_ns)

    def _say_the_unseen(self, durable: dict[ProducerKey, Watermark]) -> dict[ProducerKey, Watermark]:
        """Declare which live copies nobody got to see; returns what is durable after that."""
        try:
            unseen = remote.call(self.hub_actor.unseen, timeout_s=HUB_S)
        except ClusterError:  # it restarts, and has forgotten
            return durable
        now_us = time.time_ns() // 1000
        losses = [
            Loss("live", cause, rows=count, last_time_us=now_us, declared_us=now_us, sub_env=stream)
            for stream, causes in sorted(unseen.items())
            for cause, count in sorted(causes.items())
        ]
        if not losses:
            return durable
        key, now_ns = next_key(durable), time.time_ns()
        return self._declare(key, {"ledger": ledger_batch(losses, self.run_id, key, 1)}, now_ns)

    def _declare(
        self, key: ProducerKey, batches: dict[str, pa.RecordBatch], now_ns: int
    ) -> dict[ProducerKey, Watermark]:
        """Send the only fragment of `key` to the writer; returns what is durable after it."""
        header = settlement_header(key, batches, now_ns)
        remote.call(self.writer.append, header, tuple(batches), *batches.values(), timeout_s=60)
        return remote.flush(self.writer, timeout_s=60)

    def _hub_cpu_s(self) -> float:
        try:
            return remote.call(self.hub_actor.cpu_s, timeout_s=HUB_S)
        except ClusterError:
            return 0.0

    def _reconcile(
        self, durable: dict[ProducerKey, Watermark], status: EndStatus, reason: str, seconds: float
    ) -> tuple[EndSummary, str]:
        counts = self.counts()
        statistics = remote.report(self.writer)
        hub_cpu_s = self._hub_cpu_s()
        found = Reconciliation.of(self.folder, durable)
        lost_episodes = {key: episodes for key, (_, episodes) in self.lost.items()}
        mismatch = ""
        if found.wrong:
            status, reason = "failed", "counts do not reconcile: " + "; ".join(found.wrong)
            mismatch = f"Run {self.run_id}: {reason}. What is in the recording is readable; see end.json."
        return (
            EndSummary(
                run_id=self.run_id,
                env_id=self.env.env_id,
                status=status,
                reason=reason,
                path=str(self.folder.path),
                seconds=seconds,
                steps=found.rows["steps"],
                episodes=found.rows["episodes"],
                completed=found.completed,
                frames=found.rows["frames"],
                mean_return=found.mean_return,
                lost_steps=found.lost_steps,
                lost_episodes=self.lost_episodes_before + sum(lost_episodes.values()),
                bytes=folder_bytes(self.folder.path),
                inflight_high_bytes=counts.inflight_high_bytes,
                lag_high_s=counts.lag_high_s,
                waited_s=counts.waited_s,
                resent=counts.resent,
                restarts=self.restarts,
                cpu_s={"producers": counts.cpu_s, "writer": statistics.cpu_s, "hub": hub_cpu_s},
                reconciled=found.by_key(lost_episodes),
                mismatches=found.mismatches,
                steps_before=self.steps_before,
                skipped=found.skipped,
            ),
            mismatch,
        )
