"""A recorder's part in a run that somebody else began: `rolltape run` and the programs in it.

Rules:
1. The run is there before its spaces are known. The first recorder writes them into `run.json`; others must have the
   same.
2. A recorder takes the next producer number, and the sub-environments after those of all lower numbers. Its numbers are
   never used again: a program that is started anew is another producer.
3. The end of a recorder does not end the run; whoever began it declares what a killed one lost.
"""

from __future__ import annotations

import time
from typing import Any, Final

import gymnasium as gym

from rolltape.schema import log_codes
from rolltape.schema.adapters.adapter import EnvironmentAdapter
from rolltape.schema.config_provenance import Resolved
from rolltape.schema.errors import ConfigError, SchemaMismatch
from rolltape.schema.messages import ProducerKey
from rolltape.schema.run_schema import RunSchema
from rolltape.storage.files import FileOps
from rolltape.storage.layout import RunFolder
from rolltape.storage.pages import read_page
from rolltape.storage.run_info import read_run_info, write_run_info

from .end_summary import EndStatus, EndSummary
from .on_ray import cluster, launch, remote
from .page import ProducerPage, page_path
from .recording import Recording
from .run_description import EnvDescription, run_info
from .served_page import ServedPage
from .wiring import Wiring

JOIN_STRIDE: Final = 4096
"""Most sub-environments of a run that several recorders join."""
KEPT: Final = ("created_ns", "program", "host", "sessions")
"""What `run.json` keeps of what `rolltape run` wrote."""


class JoinedRecording(Recording):
    """A run that was begun elsewhere, as one of its recorders sees it."""

    def begin_actors(self) -> launch.Actors:
        """The run's own, by their names."""
        return launch.find_actors(self.folder.run_id)

    def _say_started(self) -> None:
        return

    def begin_page(self) -> ServedPage:
        """None of its own."""
        return ServedPage(self.folder.path, self.folder.run_id, None, {})

    def finish(self, status: EndStatus = "completed", reason: str = "") -> EndSummary:
        """Everything of this recorder is durable; the run goes on. The summary is of the run so far."""
        if self.summary is None:
            seconds = time.monotonic() - self._started
            durable = remote.flush(self.writer, timeout_s=self.config.budget.give_up_s + 10)
            self.summary, _ = self._reconcile(durable, status, reason, seconds)  # others may be stepping: no balance
            self.log.close()
        return self.summary

    def abandon(self, reason: str) -> None:
        """This recorder cannot go on; the run's owner hears of it from the program's end."""
        self.source.emit(log_codes.RUN_FAILED, run=self.run_id, reason=reason)
        self.log.close(2.0)


def join(
    wiring: Wiring,
    env: EnvDescription,
    observation: gym.Space[Any],
    action: gym.Space[Any],
    settings: Resolved,
    adapter: EnvironmentAdapter | None,
) -> JoinedRecording:
    """The run that this process was started in.

    Raises SchemaMismatch where its environments have other spaces, ClusterError where it has ended.
    """
    folder = RunFolder.of(wiring.lake, wiring.run_id)
    config = settings.config.durable
    schema = RunSchema(wiring.run_id, env.env_id, observation, action, config.frames)
    cluster.ensure_ray()
    with FileOps().locked(folder.producers / ".join.lock", wait=True):
        info = read_run_info(folder)
        if info.get("spaces") is None:
            fresh = run_info(env, schema, config, adapter, settings)
            write_run_info(folder, fresh | {name: info[name] for name in KEPT if name in info})
        else:
            _check_same(info, schema)
    return JoinedRecording(folder, schema, env, config, settings)


def take_number(folder: RunFolder, num_envs: int) -> tuple[ProducerKey, int, ProducerPage]:
    """The next producer number of the run, its first sub-environment, and its page.

    Raises ConfigError where the run has no room for so many sub-environments.
    """
    with FileOps().locked(folder.producers / ".join.lock", wait=True):
        offset = number = 0
        while (words := read_page(page_path(folder.producers, ProducerKey(number, 0)))) is not None:
            offset += len(words.episode_index)
            number += 1
        if offset + num_envs > JOIN_STRIDE:
            raise ConfigError(
                f"run: at most {JOIN_STRIDE} sub-environments fit into a run that programs join; {offset} are there."
            )
        key = ProducerKey(number, 0)
        return key, offset, ProducerPage(page_path(folder.producers, key), key, num_envs)


def _check_same(info: dict[str, Any], schema: RunSchema) -> None:
    known = info.get("space_signature") or {}
    mine = {"observation": schema.observation.signature, "action": schema.action.signature}
    policy = (info.get("frames") or {}).get("policy")
    for what, signature in mine.items():
        if known.get(what) != signature:
            raise SchemaMismatch(
                f"run {schema.run_id} records {info.get('env_id')}, whose {what} space is another than that of "
                f"{schema.env_id}. A program that is run by `rolltape run` records environments of the same spaces: "
                f"record one kind, or start the others with another `rolltape run`."
            )
    if policy != schema.frame_policy:
        raise SchemaMismatch(
            f"run {schema.run_id} keeps pictures by {policy!r}, this recorder by {schema.frame_policy!r}: give both "
            f"the same frames=."
        )
