"""`rolltape.record`: the user's own environment, stepped in the user's own loop, recorded on the side.

Rules:
1. The loop sees what it would have seen: the same values, the same seeds, the same errors.
2. What is not durable yet is bounded; a loop that outruns the disk waits in `step`.
3. `close()` makes everything durable and ends the run. What is still open when the interpreter exits is closed then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, overload

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorWrapper

from rolltape.schema.adapters.state_reader import StateReader
from rolltape.schema.config import RecordConfig
from rolltape.schema.config_provenance import Resolved
from rolltape.schema.errors import ConfigError
from rolltape.storage.configuration import configured_by

from .compiled_rows import compiled_step
from .described import description_of, env_id_of
from .end_summary import EndSummary
from .last_render import LastRender
from .pace import Pace
from .record_session import RecordSession
from .recorder import Recorder
from .remaking import check_drawable
from .resuming import PastRun, Resumed, lake_of
from .single_rows import SingleRows
from .state_infos import state_inside
from .vector_rows import VectorRows


@overload
def record(
    env: gym.Env[Any, Any],
    lake: str | Path | None = ...,
    *,
    frames: Any = ...,
    run: str | None = ...,
    resume: Any = ...,
    settings: Resolved | None = ...,
    **config: Any,
) -> RecordedEnv: ...
@overload
def record(
    env: VectorEnv[Any, Any, Any],
    lake: str | Path | None = ...,
    *,
    frames: Any = ...,
    run: str | None = ...,
    resume: Any = ...,
    **config: Any,
) -> RecordedVectorEnv: ...
def record(
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
    lake: str | Path | None = None,
    *,
    frames: Any = None,
    run: str | None = None,
    resume: Any = None,
    settings: Resolved | None = None,
    **config: Any,
) -> RecordedEnv | RecordedVectorEnv:
    """Wrap an environment so that every step that you take is recorded.

    Args:
        env: a `gymnasium.Env` or `gymnasium.vector.VectorEnv`, with any wrappers. What the outermost wrapper gives is
            recorded.
        lake: the folder of recordings, by default `lake`; made where it does not exist.
        frames: `"auto"` (images observed are kept), `"none"`, `"observation"`, `"render"` (needs
            `render_mode="rgb_array"`), `"replay"` (stored none, drawn when asked for), or a dict such as
            `{"policy": "render", "every": 4}`.
        run: a name under which several environments of this process go into one run, such as the environments of a
            Stable-Baselines3 `VecEnv`. None: a run of its own.
        resume: a run of `record` to go on with: a run id, its beginning, `"latest"`, or a `Run`. It goes on as it
            began: the same environment, wrappers, sub-environments and pictures; seeds are yours. What its last session
            lost is declared first. With `run`, environments come in the order in which they came when it began.
        settings: a configuration that was resolved already; no file and no environment is read then.
        **config: further fields of `RecordConfig`, such as `fragment={"max_age_s": 0.2}`, and sections of the
            configuration such as `logging={…}`.

    Returns:
        The environment, wrapped; use it as before. `close()` ends the recording; `.run_id` names it, `.resumed` says
        what was resumed.

    Raises:
        ConfigError: not an environment, a value that is not allowed, a run that cannot go on.
        LakeNotFound: there is no run to go on with.
        SchemaMismatch: the run has other spaces than the environment.
        UnsupportedSpace, LakeNotWritable, DiskFull, ClusterError: nothing is recorded then.
    """
    past = None
    if resume is not None:
        past = RecordSession.past(lake_of("record(…)", lake, settings), resume, run)
        if settings is None:
            frames = past.as_it_began()["frames"] if frames is None else frames
            config = past.config(config)
    spec = getattr(env, "spec", None)
    resolved = configured_by("record(…)", getattr(spec, "id", None), settings, lake=lake, frames=frames, **config)
    if isinstance(env, VectorEnv):
        return RecordedVectorEnv(env, resolved, run, past)
    if isinstance(env, gym.Env):
        return RecordedEnv(env, resolved, run, past)
    kind = f"{type(env).__module__}.{type(env).__qualname__}"
    raise ConfigError(
        f"rolltape.record wraps a gymnasium.Env or gymnasium.vector.VectorEnv, not {kind}. "
        "For a Stable-Baselines3 VecEnv record each environment in it: "
        'make_vec_env(..., wrapper_class=rolltape.record, wrapper_kwargs={"lake": "lake", "run": "mine"}).'
    )


class _Recorded:
    """What recorded environments say of their recording."""

    _recorder: Recorder

    @property
    def run_id(self) -> str:
        """The run's id; `rolltape.open(lake).run(run_id)` reads it."""
        return self._recorder.session.recording.run_id

    @property
    def page(self) -> str | None:
        """Where the run can be watched live, its token included; None where it cannot. Waits up to 10 s for it."""
        return self._recorder.session.recording.page.address()

    @property
    def resumed(self) -> Resumed | None:
        """What was resumed, from where, and what was lost before; None in a new run."""
        return self._recorder.session.recording.resumed

    @property
    def summary(self) -> EndSummary | None:
        """How the run ended; None before."""
        return self._recorder.session.recording.summary

    def save(self) -> None:
        """Make durable what was stepped so far, with `keep_last` also what waits for the end of its episode.

        Raises RunFailed, WriterStalled and the like where that cannot be done.
        """
        self._recorder.save()


class RecordedEnv(_Recorded, gym.Wrapper[Any, Any, Any, Any]):
    """A recorded single environment. Attributes: `run_id`, `resumed`, `compiled`, `summary` (after `close`)."""

    compiled = False
    """Whether usual steps are recorded in C. If not: it was not built, or spaces, frames or settings need Python."""

    def __init__(
        self, env: gym.Env[Any, Any], settings: Resolved, run: str | None, past: PastRun | None = None
    ) -> None:
        super().__init__(env)
        self._render = _renderer(env, settings.config.durable)
        description = description_of(env, named=run is not None)
        self._recorder = Recorder(env, description, settings, run, past, self._render)
        self._mutex = self._recorder.producer.mutex
        self._durable = settings.config.durable
        self._env_step = _held_back(env.step, 1, settings.config.durable)
        self._bind()

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment and record the transition."""
        result = self._env_step(action)
        self._record(action, result)
        return result

    def _record(self, action: Any, result: Any) -> None:
        observation, reward, terminated, truncated, info = result
        with self._mutex:
            if self._row_step(action, observation, reward, terminated, truncated, info, self._render):
                self._recorder.producer.attend(action, observation, reward, terminated, truncated)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment; a new episode begins."""
        observation, info = self.env.reset(seed=seed, options=options)
        with self._mutex:
            if self._row_reset(observation, info, seed, options, self._render):
                self._recorder.producer.flush()
        return observation, info

    def watch_normalization(self, holder: Any) -> None:
        """Record the running statistics of something outside of this environment too, from the next step on.

        Args:
            holder: has `obs_rms`, `ret_rms` or `return_rms` with `mean`, `var` and `count`, or a dict of such; for
                example Stable-Baselines3's VecNormalize. Wrappers around the recorded environment are found without.

        Raises:
            ConfigError: it keeps no statistics.
        """
        self._recorder.watch(holder, 1)
        self._bind()

    def _bind(self) -> None:
        self._rows: SingleRows = self._recorder.rows
        self._row_step = self._rows.step
        self._row_reset = self._rows.reset
        if self._durable.adapter.state:
            self._note_state(self._durable)
        self._quicken()

    def _quicken(self) -> None:
        """Have usual steps taken in C, where that was built and nothing stands between the loop and its rows."""
        if self._recorder.closed or type(self).step is not RecordedEnv.step:
            return  # what somebody made of `step` calls ours
        vars(self).pop("step", None)
        self.compiled = False
        rows = getattr(self._row_step, "__self__", None)
        step = compiled_step(rows, self._env_step, self._mutex, self._record) if self._render is None else None
        if step is not None:
            vars(self)["step"] = step
            self.compiled = True

    def _note_state(self, config: RecordConfig) -> None:
        """From now on what is recorded has the state among its infos; what the loop gets has not."""
        env, rows, adapter = self.env, self._rows, self._recorder.adapter
        assert adapter is not None
        read = StateReader(adapter, config.adapter.keys).read

        def step(
            action: Any, observation: Any, reward: Any, terminated: Any, truncated: Any, info: Any, r: Any
        ) -> bool:
            return rows.step(action, observation, reward, terminated, truncated, {**info, **read(env)}, r)

        def reset(observation: Any, info: Any, seed: Any, options: Any, render: Any) -> bool:
            return rows.reset(observation, {**info, **read(env)}, seed, options, render)

        self._row_step, self._row_reset = step, reset

    def close(self) -> None:
        """Close the environment and make the recording durable."""
        try:
            self._recorder.note_close()
            self.env.close()
        finally:
            vars(self).update(step=self.env.step, reset=self.env.reset)  # what is stepped now is not recorded
            self._recorder.close()


class RecordedVectorEnv(_Recorded, VectorWrapper[Any, Any, Any, Any, Any]):
    """A recorded vector environment. Attributes: `run_id`, `resumed`, `summary` (after `close`)."""

    def __init__(
        self, env: VectorEnv[Any, Any, Any], settings: Resolved, run: str | None, past: PastRun | None = None
    ) -> None:
        super().__init__(env)
        self._pictures = _renderer(env, settings.config.durable)
        description = description_of(env, named=run is not None)
        self._per_env = isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv)
        self._recorder = Recorder(env, description, settings, run, past, self._pictures)
        self._mutex = self._recorder.producer.mutex
        self._rows: VectorRows = self._recorder.rows
        self._state = state_inside(env, self._recorder.adapter, settings.config.durable)
        self._env_step = _held_back(env.step, env.num_envs, settings.config.durable)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all sub-environments and record the transitions."""
        result = self._env_step(actions)
        with self._mutex:
            inside = None if self._state is None else self._state(result[4], None)
            if self._rows.step(actions, *result, inside=inside, pictures=self._pictures):
                self._recorder.producer.attend(actions, *result[:4])
        return result

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the sub-environments (those of `options["reset_mask"]`, or all); new episodes begin."""
        mask = None if options is None else options.get("reset_mask")
        mask = mask.copy() if isinstance(mask, np.ndarray) else None
        kept = None if options is None else {k: v for k, v in options.items() if k != "reset_mask"}
        observations, infos = self.env.reset(seed=seed, options=options)
        with self._mutex:
            seeds = self._seeds(seed)
            if self._rows.reset(
                observations,
                infos,
                mask=mask,
                seeds=seeds,
                options=kept,
                inside=None if self._state is None else self._state(infos, seeds),
                pictures=self._pictures,
            ):
                self._recorder.producer.flush()
        return observations, infos

    def close(self, **kwargs: Any) -> None:
        """Close the sub-environments and make the recording durable."""
        try:
            self._recorder.note_close()
            self.env.close(**kwargs)
        finally:
            vars(self).update(step=self.env.step, reset=self.env.reset)  # what is stepped now is not recorded
            self._recorder.close()

    def watch_normalization(self, holder: Any) -> None:
        """As `RecordedEnv.watch_normalization`; its statistics are those of all sub-environments."""
        self._recorder.watch(holder, self.num_envs)
        self._rows = self._recorder.rows

    def _seeds(self, seed: Any) -> list[int | None] | None:
        if seed is None:
            return None
        if isinstance(seed, int | np.integer):
            first = int(seed)
            return [first + i if self._per_env else first for i in range(self.num_envs)]
        return [None if s is None else int(s) for s in seed]


def _held_back(step: Any, num_envs: int, config: RecordConfig) -> Any:
    """`step` with the throttle; itself where there is none."""
    rate = config.throttle.steps_per_s
    return Pace(rate).around(step, num_envs) if rate else step


def _renderer(env: Any, config: RecordConfig) -> LastRender | None:
    if config.frames.policy == "replay":
        own = not isinstance(env, VectorEnv) or isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv)
        check_drawable(env_id_of(env), env, native=not own)
    if config.frames.policy != "render":
        return None
    if env.render_mode != "rgb_array":  # rgb_array_list: a call of render() would take the list from the user
        raise ConfigError(
            f"frames.policy: 'render' needs an environment made with render_mode='rgb_array' "
            f"(got {env.render_mode!r}): gymnasium.make(..., render_mode='rgb_array')."
        )
    return LastRender(env.render)
