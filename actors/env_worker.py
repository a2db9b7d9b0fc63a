"""An environment worker: sub-environments, a policy, and the producer that records them. A plain class; `launch` makes
it an actor."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rolltape.schema import log_codes
from rolltape.schema.adapters.adapter import EnvironmentAdapter
from rolltape.schema.adapters.registry import adapter_of
from rolltape.schema.config import RecordConfig
from rolltape.schema.config_logging import LoggingConfig
from rolltape.schema.frame_layout import is_image_space
from rolltape.schema.log_policy import configure_logging
from rolltape.schema.log_source import LogSource
from rolltape.schema.messages import ProducerKey, Registration
from rolltape.schema.run_schema import RunSchema
from rolltape.storage.layout import RunFolder

from .blame import said
from .digesting import VectorDigests
from .kept_rows import KeptRows
from .last_render import LastRender
from .live_feed import LiveFeed
from .live_view import LiveView, view_of
from .log_stream import LogStream
from .normalization import find_statistics
from .noted_rows import NotedRows
from .obituary import Obituary
from .on_ray import links
from .pace import Pace
from .page import ProducerPage, page_path
from .policies import PolicySource, load_policy
from .producer import Producer, Totals
from .raised import check_actions, policy_raised, reset_raised, step_raised
from .state_infos import StateInfos
from .stepping import EnvRecipe, autoreset_of, make_sub_environments
from .validation import checked, validator_of, watched
from .vector_rows import VectorRows


@dataclass(frozen=True, slots=True)
class WorkerOrder:
    """Everything that makes a worker.

    Attributes:
        native: step a native vector environment.
        offset: its first sub-environment in the run.
        obituary: what its predecessor left, None for the first life.
        adapter: what describes the environments and reads their state; the class, as the driver knows it.
        names: of an observation's numbers, for those who watch.
    """

    run_path: str
    schema: RunSchema
    recipe: EnvRecipe
    native: bool
    key: ProducerKey
    num_envs: int
    offset: int
    stride: int
    config: RecordConfig
    hub: Any
    writer: Any
    obituary: Obituary | None = None
    adapter: type[EnvironmentAdapter] | None = None
    names: tuple[str, ...] = ()
    logs: LoggingConfig = field(default_factory=LoggingConfig)


@dataclass(frozen=True, slots=True)
class Collected:
    """What one `collect` call did; `stopped` when it was asked to stop before it was done."""

    steps: int
    episodes: int
    seconds: float
    stopped: bool


class EnvWorker:
    """Steps and records the sub-environments of one order; they are made by the first call."""

    def __init__(self, order: WorkerOrder) -> None:
        # Nothing here can fail: what a constructor raises, Ray reports as the death of the actor.
        self._order = order
        self._begun = False

    def _begin(self) -> None:
        if self._begun:
            return
        order = self._order
        key, n, config = order.key, order.num_envs, order.config
        configure_logging(order.logs, "actor")
        first = order.obituary.first_index if order.obituary else [0] * n
        self._sub = make_sub_environments(
            order.recipe,
            order.native,
            n,
            run_seed=config.seed,
            sub_env_offset=order.offset,
            first_index=first,
            renders=order.schema.renders,
            state=self._with_state if config.adapter.state else None,
        )
        self._env = self._sub.env
        folder = RunFolder(Path(order.run_path))
        page = ProducerPage(page_path(folder.producers, key), key, n)
        hub = links.RayHubLink(order.hub)
        self._source = LogSource(order.schema.run_id, order.recipe.env_id, key.producer, key.incarnation)
        writer = links.RayWriterLink(order.writer)
        self._log = LogStream(self._source, writer, order.logs, config.budget)
        rows = VectorRows(
            order.schema.of_rows(),
            key,
            page,
            config.fragment,
            num_envs=n,
            autoreset=autoreset_of(self._env),
            sub_env_offset=order.offset,
            stride=order.stride,
            agree=hub.agree,
            first_index=first,
            own_seed="batch" if order.native else "alone",
        )
        if order.obituary is not None:
            rows.mourn(order.obituary)
        validator = validator_of(order.schema, config.validation, str(key))
        noted: Any = rows
        if found := find_statistics(self._env):
            noted = NotedRows(rows, found, order.schema.of_rows(), key, config.fragment.max_bytes)
        kept: Any = VectorDigests(noted) if order.schema.digests else noted
        self._rows: VectorRows = checked(kept, validator, n)
        registration = Registration(key, order.schema.run_id, order.offset, n)
        watch = watched(validator, order.schema, str(key))
        live = LiveFeed(str(key), order.offset, n, rows, self._view, links.RayGatewayLink())
        leaves_out = config.leaves_out
        self._kept = KeptRows(noted, page, **leaves_out) if leaves_out else None
        sent: Any = noted if self._kept is None else self._kept
        self._producer = Producer(registration, sent, page, writer, hub, config, live=live, **watch)
        self._producer.start()
        self._noted = noted if found else None
        self._log.start()
        self._source.emit(log_codes.WORKER_STARTED, key=str(key), num_envs=n, offset=order.offset)
        self._pictures = LastRender(self._env.render) if order.schema.renders else None
        self._observations: Any = None
        self._disabled = order.recipe.autoreset == "disabled"
        self._policy: Any = None
        self._policy_source: Any = None
        self._begun = True

    def _with_state(self, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        adapter = adapter_of(env, self._order.adapter or "auto")
        return StateInfos(env, adapter, self._order.config.adapter.keys)

    def _view(self) -> LiveView:
        """What the sub-environments look like to those who watch; made when the first of them does."""
        adapter = None if self._sub.native else adapter_of(self._env.envs[0], self._order.adapter or "auto")  # type: ignore[attr-defined]
        images = is_image_space(self._env.single_observation_space)
        return view_of(self._env, adapter, images=images, recorded=self._pictures, names=self._order.names)

    def ready(self) -> ProducerKey:
        """Makes the environments, if that is not done, and answers. Raises EnvError and the like."""
        self._begin()
        return self._order.key

    def collect(self, policy: PolicySource, steps: int | None, episodes: int | None) -> Collected:
        """Step until so many more steps or episodes are recorded; everything is durable when this returns.

        At least one of `steps` and `episodes` is given; the first that is reached ends it. A whole batch is stepped at
        a time, so that up to `num_envs - 1` more may be recorded.

        Raises BadPolicy where the policy raises or returns what are no actions, RunFailed where the environment raises.
        """
        self._begin()
        began = time.monotonic()
        order = self._order
        if self._policy is None or not _is_same(policy, self._policy_source):
            self._policy = load_policy(
                policy,
                self._env.single_observation_space,
                self._env.single_action_space,
                order.num_envs,
                policy_seed(order.config.seed, order.key),
            )
            self._policy_source = policy
        rows, producer, env, act = self._rows, self._producer, self._env, self._policy
        inside, step = self._sub.inside, env.step
        if order.config.throttle.steps_per_s:  # of all workers together; this one has its share
            step = Pace(order.config.throttle.steps_per_s).around(step, order.stride)
        steps_before, episodes_before = rows.steps, rows.completed
        last_step = None if steps is None else steps_before + steps
        last_episode = None if episodes is None else episodes_before + episodes
        if self._observations is None:
            self._reset_all()
        pictures, mutex = self._pictures, producer.mutex
        observations = self._observations
        checked = False
        while not producer.stop_asked:
            if last_step is not None and rows.steps >= last_step:
                break
            if last_episode is not None and rows.completed >= last_episode:
                break
            try:
                actions = act(observations)
            except Exception as error:
                raise policy_raised(policy, error) from error
            if not checked:
                check_actions(policy, actions, env.action_space)
                checked = True
            try:
                observations, rewards, terminated, truncated, infos = step(actions)
            except Exception as error:
                raise step_raised(order.recipe.env_id, policy, error, actions, env.action_space) from error
            with mutex:
                if rows.step(
                    actions, observations, rewards, terminated, truncated, infos, inside=inside, pictures=pictures
                ):
                    producer.attend(actions, observations, rewards, terminated, truncated)
            if self._disabled:
                observations = self._reset_ended(observations, np.logical_or(terminated, truncated))
        self._observations = observations
        producer.drain()
        return Collected(
            rows.steps - steps_before, rows.completed - episodes_before, time.monotonic() - began, producer.stop_asked
        )

    def save(self) -> None:
        """Make everything durable that was stepped so far, also what waits for the end of its episode."""
        self._begin()
        if self._kept is not None:
            with self._producer.lock:
                self._kept.save()
        self._producer.drain()

    def close(self) -> Totals:
        """Close the environments and their open episodes; everything is durable when this returns."""
        self._begin()
        if self._noted is not None:
            with self._producer.mutex:
                self._noted.note("close")
        totals = self._producer.close()
        try:
            self._env.close()
        except Exception as error:  # everything is recorded: no reason to fail the run
            self._source.emit(log_codes.ENV_CLOSE_RAISED, env_id=self._order.recipe.env_id, error=said(error))
        self._log.close()
        return totals

    def _reset_all(self) -> None:
        native = self._sub.native
        seeds = [self._sub.batch_seed] * self._order.num_envs if native else None
        observations, infos = self._reset(seed=self._sub.batch_seed) if native else self._reset()
        with self._producer.mutex:
            if self._rows.reset(observations, infos, seeds=seeds, inside=self._sub.inside, pictures=self._pictures):
                self._producer.flush()
        self._observations = observations

    def _reset_ended(self, observations: Any, done: np.ndarray) -> Any:
        if not done.any():
            return observations
        observations, infos = self._reset(options={"reset_mask": done})
        with self._producer.mutex:
            if self._rows.reset(observations, infos, mask=done, inside=self._sub.inside, pictures=self._pictures):
                self._producer.flush()
        return observations

    def _reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        try:
            return self._env.reset(**arguments)
        except Exception as error:
            raise reset_raised(self._order.recipe.env_id, error) from error


def _is_same(policy: PolicySource, before: Any) -> bool:
    """Whether this is the policy of the last call; a name arrives as another string of the same letters."""
    return policy == before if isinstance(policy, str) and isinstance(before, str) else policy is before


def policy_seed(run_seed: int, key: ProducerKey) -> int:
    """Seed of a worker's random policy: its own, and another in each of its lives."""
    return (run_seed * 1_000_003 + key.producer * 1009 + key.incarnation) % (1 << 31)
