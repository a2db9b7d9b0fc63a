"""A fleet: environment workers on Ray that step, record, and are replaced when they die.

The life of a worker slot:

1. A slot has a producer number and a range of sub-environments. Its first worker is incarnation 0.
2. When a worker's process dies, the writer takes nothing more from that incarnation (fence) and commits what it has.
3. What the dead one produced and is not durable is declared lost: open episodes get rows with status `lost`, the steps
   a ledger row. Its successor says so first.
4. The successor, one incarnation higher, goes on with the next episode index and does what is left of the work.
5. A slot whose worker dies `MAX_DEATHS` times in a row without one durable step fails the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import gymnasium as gym

from rolltape.schema import log_codes
from rolltape.schema.config_provenance import Resolved
from rolltape.schema.errors import ConfigError, RolltapeError, RunFailed
from rolltape.schema.log_source import LogSource
from rolltape.schema.messages import ProducerKey
from rolltape.storage.configuration import configured_by
from rolltape.storage.room import check_room

from .blame import cause_of_death, first_line, said, why_stopped
from .end_summary import EndStatus, EndSummary
from .env_worker import Collected, EnvWorker, WorkerOrder
from .fleet_environment import FleetEnvironment
from .obituary import write_obituary
from .on_ray import cluster, launch, remote
from .policies import PolicySource, load_policy
from .progress import RateMeter, Watcher, progress_of, watching
from .recording import Recording
from .resuming import PastRun, lake_of
from .stepping import Autoreset, Vectorization
from .worker_slot import WorkerSlot, shares, sub_envs_of, workers_of

if TYPE_CHECKING:
    from rolltape.storage.lake import Run

MAX_DEATHS = 3
POLL_S = 0.25
STOP_S = 5.0
"""A worker that was asked to stop, has nothing on its way and does not answer for so long hangs in the environment."""


class Fleet:
    """Environment workers on Ray, recorded into one run.

    Args:
        env: a registered id (`"CartPole-v1"`, `"ALE/Breakout-v5"`, `"module:Id-v0"`), an entry point
            `"module:callable"`, or a callable that makes an environment.
        num_envs: sub-environments in all. None, here and below: as configured, by default 1.
        lake: the folder of recordings, by default `lake`; made where it does not exist.
        num_workers: processes that share them; 0, the default: one a CPU but one, at most `num_envs`.
        env_kwargs: arguments for making the environment.
        vectorization: `"auto"`, the default, uses a native vector environment where there is an equal one, `"sync"`
            and `"native"` insist.
        autoreset: `"next_step"` (the default, as in Gymnasium), `"same_step"` or `"disabled"` (the worker resets).
        frames: `"auto"`, `"none"`, `"observation"`, `"render"`, `"replay"` (stored none, drawn when
            asked for), or a dict such as `{"policy": "render", "every": 4}`.
        seed: seeds every episode of every sub-environment, and the random policy; by default 0.
        cpus_per_worker: what a worker asks Ray for, by default 1.
        resume: a run to go on with: a run id, its beginning, `"latest"`, or a `Run`. It goes on as it began, so that
            `env` and everything above may be left out. What its last session lost is declared first.
        settings: a configuration that was resolved already; no file and no environment is read then.
        announce: say on the terminal, where there is one, at which address the run can be watched.
        **config: further fields of `RecordConfig`, and sections of the configuration such as `resources={…}`.

    Attributes:
        run_id: the run.
        settings: the configuration, with where each value comes from.
        resumed: what was resumed, from where, and what was lost before; None in a new run.
        summary: how it ended; None before `close`.

    Raises:
        ConfigError, UnknownEnvironment, MissingExtra, UnsupportedSpace, LakeNotWritable, DiskFull, ClusterError: before
            anything is stepped.
    """

    def __init__(
        self,
        env: str | Callable[..., gym.Env[Any, Any]] | None = None,
        num_envs: int | None = None,
        lake: str | Path | None = None,
        *,
        resume: Any = None,
        num_workers: int | None = None,
        env_kwargs: dict[str, Any] | None = None,
        vectorization: Vectorization | None = None,
        autoreset: Autoreset | None = None,
        frames: Any = None,
        seed: int | None = None,
        cpus_per_worker: float | None = None,
        settings: Resolved | None = None,
        announce: bool = True,
        **config: Any,
    ) -> None:
        past = None
        if resume is not None:
            past = PastRun.find(lake_of("Fleet(…)", lake, settings), resume)
            began = past.as_it_began()
            env, env_kwargs = past.env(env), began["env_kwargs"] if env_kwargs is None else env_kwargs
            if settings is None:  # otherwise they have it from the run, with where each value comes from
                num_envs, num_workers = num_envs or began["num_envs"], num_workers or began["num_workers"]
                vectorization, autoreset = vectorization or began["vectorization"], autoreset or began["autoreset"]
                frames, seed = began["frames"] if frames is None else frames, began["seed"] if seed is None else seed
                config = past.config(config)
        elif env is None:
            raise ConfigError("env: name an environment, or a run to go on with (resume=…).")
        assert env is not None
        resolved = configured_by(
            "Fleet(…)",
            env if isinstance(env, str) else None,
            settings,
            lake=lake,
            frames=frames,
            seed=seed,
            keys={
                "fleet.num_envs": num_envs,
                "fleet.num_workers": num_workers,
                "fleet.vectorization": vectorization,
                "fleet.autoreset": autoreset,
                "resources.cpus_per_worker": cpus_per_worker,
            },
            **config,
        )
        tree = resolved.config
        durable, num_envs = tree.durable, tree.fleet.num_envs
        workers = workers_of(num_envs, tree.fleet.num_workers)
        made = FleetEnvironment.of(env, env_kwargs, tree, workers)
        description = made.description
        if past is not None:
            past.check_same(description, durable)
            description = replace(description, env_id=past.info["env_id"])  # a callable is named by its import now
        self._spaces = made.observation, made.action
        self._lake = tree.lake.expanduser().resolve()
        check_room(self._lake)  # before Ray starts, which takes seconds
        cluster.ensure_ray()
        cluster.check_resources(workers, tree.resources)
        self._resources = tree.resources
        stepped = {"fleet.num_workers": workers, "fleet.vectorization": "native" if made.native else "sync"}
        self._recording = Recording.open(
            self._lake,
            description,
            *self._spaces,
            durable,
            made.adapter,
            settings=resolved.settled(stepped),
            past=past,
        )
        self._past = past
        self.resumed = self._recording.resumed
        self._adapter, self._names = type(made.adapter), made.adapter.describe_space().observation_names
        self._slots: list[WorkerSlot] = []
        self.summary: EndSummary | None = None
        self._abandoned = ""
        self._stopping = False
        try:
            self._slots += [self._slot(made, number, workers, num_envs) for number in range(workers)]
            for slot in self._slots:
                self._start(slot)
            for call in [slot.worker.ready.remote() for slot in self._slots]:
                remote.result(call)
        except BaseException as error:
            self._give_up(error)
            raise self._explained(error) from error
        self._recording.begin()
        if announce:
            self._recording.page.announce()

    @property
    def page(self) -> str | None:
        """Where the run can be watched live, its token included: for who may see it. None where the page is switched
        off (`live.enabled`), its packages are not installed, or it has ended. Waits up to 10 s for it to be served."""
        return self._recording.page.address()

    @property
    def page_problem(self) -> str:
        """Why there is no page; "" where it is switched off, or not known yet."""
        return self._recording.page.problem

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._recording.run_id

    @property
    def settings(self) -> Resolved:
        """The configuration of this run, with where each value comes from."""
        assert self._recording.settings is not None  # a Fleet always has them
        return self._recording.settings

    @property
    def run(self) -> Run:
        """The run, to be read; also while it goes on."""
        from .rerender import open_lake

        return open_lake(self._lake).run(self.run_id)

    def collect(
        self,
        steps: int | None = None,
        episodes: int | None = None,
        *,
        policy: PolicySource = "random",
        progress: bool | Watcher | None = None,
    ) -> Run:
        """Step the fleet and record; everything collected is durable and readable when this returns.

        Args:
            steps: so many transitions more, over all sub-environments. Each worker steps whole batches, so that up to
                `num_envs` more may be recorded.
            episodes: or so many episodes more; what is reached first ends it. Give at least one of the two.
            policy: `"random"`, `"module:callable"`, a callable, or recorded actions (see `rolltape.actors.policies`). A
                callable gets batched observations and returns batched actions.
            progress: True, False, None (where stderr is a terminal or notebook), or a function that is called four
                times a second.

        Returns:
            The run. Episodes that are open stay open: a further `collect` goes on with them, `close` aborts them.

        Raises:
            BadPolicy: the policy cannot be loaded.
            RunFailed: the environment or the policy raised, or a worker died again and again.
            KeyboardInterrupt, SystemExit: after an orderly end of the run.
        """
        if steps is None and episodes is None:
            raise ConfigError("collect: give steps=…, episodes=…, or both.")
        for name, value in (("steps", steps), ("episodes", episodes)):
            if value is not None and value < 1:
                raise ConfigError(f"collect: {name} must be at least 1 (got {value}).")
        if self.summary is not None or self._abandoned:
            raise RunFailed(f"Run {self.run_id} has ended; make another Fleet to record more.")
        load_policy(policy, *self._spaces, num_envs=1, seed=0)
        for slot, more_steps, more_episodes in zip(
            self._slots, shares(steps, self._slots), shares(episodes, self._slots), strict=True
        ):
            slot.steps_left, slot.episodes_left = more_steps, more_episodes
        try:
            with watching(progress, self._recording.env.env_id) as show:
                self._work(policy, steps, episodes, show)
        except (KeyboardInterrupt, SystemExit) as error:
            self._interrupt(why_stopped(error))
            raise
        except BaseException as error:
            self._fail(error)
            raise
        return self.run

    def save(self) -> None:
        """Make durable what was stepped so far; with `keep_last` also what waits for the end of its episode.

        Raises RunFailed where a worker is gone or the run has ended.
        """
        if self.summary is not None or self._abandoned:
            raise RunFailed(f"Run {self.run_id} has ended; what was kept of it is saved.")
        try:
            for call in [slot.worker.save.remote() for slot in self._slots]:
                remote.result(call)
        except Exception as error:
            raise self._explained(error) from error

    def close(self) -> EndSummary:
        """End the run: open episodes are closed as `aborted`, everything is durable, the workers end. Twice is once."""
        return self._end("completed", "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.summary is None and not self._abandoned:
            self._end("completed" if error is None else "stopped", "" if error is None else why_stopped(error))

    # ---- the work ---------------------------------------------------------------------------------------------------

    def _work(self, policy: PolicySource, steps: int | None, episodes: int | None, show: Watcher) -> None:
        before = self._recording.counts()
        meter = RateMeter()
        calls = {self._ask(slot, policy): slot for slot in self._slots}
        while calls:
            for call in remote.ready(list(calls), POLL_S):
                slot = calls.pop(call)
                try:
                    self._done(slot, remote.result(call))
                except Exception as error:
                    if not remote.is_death(error):
                        raise self._explained(error) from error
                    if self._go_on_without(slot, error):
                        calls[self._ask(slot, policy)] = slot
            counts = self._recording.counts()
            lost = sum(steps for steps, _ in self._recording.lost.values())
            show(progress_of(counts, before, steps, episodes, meter.rate(counts.steps), lost, self._recording.restarts))

    def _ask(self, slot: WorkerSlot, policy: PolicySource) -> Any:
        return slot.worker.collect.remote(policy, slot.steps_left, slot.episodes_left)

    def _done(self, slot: WorkerSlot, collected: Collected) -> None:
        slot.steps_before += collected.steps
        slot.episodes_before += collected.episodes
        slot.deaths = 0

    def _go_on_without(self, slot: WorkerSlot, error: Exception) -> bool:
        """A worker died while it collected: replace it. True when there is work left for its successor.

        Raises RunFailed when one after the other dies without a step.
        """
        steps, completed = self._replace(slot, error)
        slot.deaths = 1 if steps > 0 else slot.deaths + 1
        if slot.deaths >= MAX_DEATHS:
            order = slot.order
            raise RunFailed(
                f"Worker {order.key.producer} ({order.recipe.env_id}) died {slot.deaths} times before a "
                f"step was durable. {cause_of_death(error)} Step the environment alone to see why, or "
                f"give each worker fewer sub-environments if memory is short."
            ) from error
        if slot.steps_left is not None:
            slot.steps_left = max(0, slot.steps_left - steps)
        if slot.episodes_left is not None:
            slot.episodes_left = max(0, slot.episodes_left - completed)
        return slot.steps_left != 0 and slot.episodes_left != 0

    def _replace(self, slot: WorkerSlot, error: Exception) -> tuple[int, int]:
        """Bury a dead worker and start its successor; steps and episodes of its last work that are durable."""
        order = slot.order
        launch.kill(slot.worker)
        mark = remote.fence(self._recording.writer, order.key)
        obituary = write_obituary(
            self._recording.folder, order.key, mark, order.offset, order.num_envs, order.stride, order.obituary
        )
        self._recording.declare_lost(order.key, obituary.lost_steps or 0, len(obituary.lost_episodes))
        self._recording.restarts += 1
        LogSource(self.run_id, order.recipe.env_id, order.key.producer, order.key.incarnation).emit(
            log_codes.WORKER_REPLACED,
            key=str(order.key),
            lost_steps="unknown" if obituary.lost_steps is None else obituary.lost_steps,
            lost_episodes=len(obituary.lost_episodes),
            cause=cause_of_death(error),
        )
        steps = mark.steps + mark.skipped - slot.steps_before
        completed = obituary.durable_completed - slot.episodes_before
        slot.succeed(obituary)
        self._start(slot)
        return steps, completed

    def _explained(self, error: BaseException) -> BaseException:
        """What a user is told: our own errors and interruptions as they are, others as RunFailed."""
        if isinstance(error, RolltapeError) or not isinstance(error, Exception):
            return error
        told = RunFailed(f"A worker of {self._recording.env.env_id} broke: {said(error)}.")
        told.add_note(str(error))
        return told

    # ---- the end ----------------------------------------------------------------------------------------------------

    def _end(self, status: EndStatus, reason: str) -> EndSummary:
        if self.summary is not None:
            return self.summary
        if self._abandoned:
            raise RunFailed(f"Run {self.run_id} was given up: {self._abandoned}")
        try:
            for call, slot in [(slot.worker.close.remote(), slot) for slot in self._slots]:
                self._close_worker(slot, call)
            self.summary = self._recording.finish(status, reason)
        except BaseException as error:
            self.summary = self._recording.summary
            if self.summary is None:
                self._give_up(error)
            raise
        return self.summary

    def _close_worker(self, slot: WorkerSlot, call: Any) -> None:
        """Wait until a worker has closed. One that died meanwhile has a successor say what is lost, and close.

        Where successors die as well, the ledger lacks its rows; the counts of the summary have them.
        """
        for _ in range(MAX_DEATHS):
            try:
                self._wait_for_end(slot, call)
                remote.result(call)
                break
            except Exception as error:
                if not remote.is_death(error):
                    raise
                self._replace(slot, error)
                call = slot.worker.close.remote()
        launch.kill(slot.worker)

    def _wait_for_end(self, slot: WorkerSlot, call: Any) -> None:
        """Wait for a worker's end. A run that is stopped does not wait for an environment that hangs."""
        began = time.monotonic()
        while not remote.ready([call], POLL_S):
            if not self._stopping:
                continue
            self._recording.hub.stop()  # again: a hub that was restarted has forgotten it
            beat = self._recording.counts().keys.get(str(slot.order.key))
            if time.monotonic() - began > STOP_S and not (beat and beat.inflight_bytes):
                launch.kill(slot.worker)

    def _interrupt(self, reason: str = "interrupted by the user") -> None:
        self._stopping = True
        self._recording.hub.stop()
        self._end("stopped", reason)

    def _fail(self, error: BaseException) -> None:
        if self.summary is not None or self._abandoned:
            return
        self._stopping = True
        self._recording.hub.stop()
        try:
            self._end("failed", first_line(error))
        except Exception as second:  # the first error is what the user must see
            if str(second) != str(error):
                error.add_note(f"While ending the run: {second}")
        error.add_note(f"What was recorded before is readable: run {self.run_id} in {self._lake}.")

    def _give_up(self, error: BaseException) -> None:
        self._abandoned = first_line(error) if isinstance(error, Exception) else why_stopped(error)
        for slot in self._slots:
            if slot.worker is not None:
                launch.kill(slot.worker)
        self._recording.abandon(self._abandoned, "failed" if isinstance(error, Exception) else "stopped")

    # ---- slots ------------------------------------------------------------------------------------------------------

    def _slot(self, made: FleetEnvironment, number: int, workers: int, num_envs: int) -> WorkerSlot:
        recording = self._recording
        mine, offset = sub_envs_of(number, workers, num_envs)
        key, left = ProducerKey(number, 0), None
        if self._past is not None:
            key, left = self._past.next_life(recording.writer, number, offset, mine)
        return WorkerSlot(
            WorkerOrder(
                run_path=str(recording.folder.path),
                schema=recording.schema,
                recipe=made.recipe,
                native=made.native,
                key=key,
                num_envs=mine,
                offset=offset,
                stride=num_envs,
                config=recording.config,
                hub=recording.hub_actor,
                writer=recording.writer,
                adapter=self._adapter,
                names=self._names,
                obituary=left,
                logs=recording.logs,
            )
        )

    def _start(self, slot: WorkerSlot) -> None:
        slot.worker = launch.start_env_worker(
            EnvWorker,
            slot.order,
            cpus=self._resources.cpus_per_worker,
            gpus=self._resources.gpus_per_worker,
            memory_bytes=self._resources.memory_per_worker_bytes,
        )
