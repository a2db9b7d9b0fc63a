"""`rolltape.record`: the user's own environment, stepped in the user's own loop, recorded on the side.

Rules:
1. The loop sees what it would have seen: the same values, the same seeds, the same errors.
2. What is not durable yet is bounded; a loop that outruns the disk waits in `step`.
3. `close()` makes everything durable and ends the run. What is still open when the interpreter exits is closed then.
"""

from __future__ import annotations

import atexit
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper

from rolltape.schema import log_codes
from rolltape.schema.adapters.adapter import EnvironmentAdapter
from rolltape.schema.adapters.registry import adapter_of
from rolltape.schema.adapters.state_reader import StateReader
from rolltape.schema.config import RecordConfig
from rolltape.schema.config_provenance import Resolved
from rolltape.schema.errors import ConfigError, SchemaMismatch
from rolltape.schema.frame_layout import is_image_space
from rolltape.schema.messages import ProducerKey, Registration
from rolltape.schema.payload_version import PAYLOAD_VERSION
from rolltape.storage.configuration import configured_by

from . import launch
from .digesting import SingleDigests, VectorDigests
from .joined import JOIN_STRIDE, join, take_number
from .kept_rows import KeptRows
from .live_feed import LiveFeed
from .live_view import view_of
from .normalization import NotedRows, Statistics, find_statistics, statistics_of
from .pace import Pace
from .page import ProducerPage, page_path
from .producer import Producer
from .recording import EndStatus, EndSummary, EnvDescription, Recording
from .remaking import check_drawable
from .single_rows import SingleRows
from .state_infos import state_reader
from .stepping import autoreset_of
from .validation import checked, validator_of, watched
from .vector_rows import VectorRows
from .wiring import Wiring, wiring
from .wrapper_chain import told_arguments, told_spec

_MODE_NAMES = {
    AutoresetMode.NEXT_STEP: "next_step",
    AutoresetMode.SAME_STEP: "same_step",
    AutoresetMode.DISABLED: "disabled",
}


@overload
def record(
    env: gym.Env[Any, Any],
    lake: str | Path | None = ...,
    *,
    frames: Any = ...,
    run: str | None = ...,
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
    **config: Any,
) -> RecordedVectorEnv: ...
def record(
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
    lake: str | Path | None = None,
    *,
    frames: Any = None,
    run: str | None = None,
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
        settings: a configuration that was resolved already; no file and no environment is read then.
        **config: further fields of `RecordConfig`, such as `fragment={"max_age_s": 0.2}`, and sections of the
            configuration such as `logging={…}`.

    Returns:
        The environment, wrapped; use it as before. `close()` ends the recording; `.run_id` names it.

    Raises:
        ConfigError: not an environment, or a value that is not allowed.
        UnsupportedSpace, LakeNotWritable, DiskFull, ClusterError: nothing is recorded then.
    """
    spec = getattr(env, "spec", None)
    resolved = configured_by("record(…)", getattr(spec, "id", None), settings, lake=lake, frames=frames, **config)
    if isinstance(env, VectorEnv):
        return RecordedVectorEnv(env, resolved, run)
    if isinstance(env, gym.Env):
        return RecordedEnv(env, resolved, run)
    kind = f"{type(env).__module__}.{type(env).__qualname__}"
    raise ConfigError(
        f"rolltape.record wraps a gymnasium.Env or gymnasium.vector.VectorEnv, not {kind}. "
        "For a Stable-Baselines3 VecEnv record each environment in it: "
        'make_vec_env(..., wrapper_class=rolltape.record, wrapper_kwargs={"lake": "lake", "run": "mine"}).'
    )


class _Session:
    """One recording of this process and the recorders in it, which may come and go in several threads."""

    _named: dict[tuple[str, str], _Session] = {}  # noqa: RUF012
    _guard = threading.Lock()

    def __init__(self, recording: Recording, name: tuple[str, str] | None) -> None:
        self.recording = recording
        self._name = name
        self._members = 0
        self._sub_envs = 0
        self._open: list[Recorder] = []
        self._error: BaseException | None = None
        self._status: EndStatus = "completed"
        self._reason = ""

    @classmethod
    def join(
        cls,
        recorder: Recorder,
        env: Any,
        description: EnvDescription,
        settings: Resolved,
        run: str | None,
    ) -> tuple[_Session, ProducerKey, int]:
        """The session for `recorder`, its key, and its first sub-environment in the run."""
        n = description.num_envs
        if (ours := wiring()) is not None:
            return cls._join_run(recorder, env, description, settings, ours)
        vector = isinstance(env, VectorEnv)
        observation = env.single_observation_space if vector else env.observation_space
        action = env.single_action_space if vector else env.action_space
        if run is None:
            session = cls(cls._begin(description, observation, action, settings, recorder.adapter), None)
            return session, *session._enter(recorder, n)
        if n > JOIN_STRIDE:
            raise ConfigError(f"run: at most {JOIN_STRIDE} sub-environments fit into a run with a name (got {n}).")
        name = (str(settings.config.lake.expanduser().resolve()), run)
        with cls._guard:
            session = cls._named.get(name)
            if session is None:
                session = cls._named[name] = cls(
                    cls._begin(description, observation, action, settings, recorder.adapter), name
                )
            else:
                session._check_spaces(run, observation, action)
            return session, *session._enter(recorder, n)

    @classmethod
    def _join_run(
        cls, recorder: Recorder, env: Any, description: EnvDescription, settings: Resolved, ours: Wiring
    ) -> tuple[_Session, ProducerKey, int]:
        """The session of a program that is run by `rolltape run`: every recorder is one of its own, in one run."""
        vector = isinstance(env, VectorEnv)
        observation = env.single_observation_space if vector else env.observation_space
        action = env.single_action_space if vector else env.action_space
        description = replace(description, stride=JOIN_STRIDE)
        session = cls(join(ours, description, observation, action, settings, recorder.adapter), None)
        key, offset, recorder.page = take_number(session.recording.folder, description.num_envs)
        session._open.append(recorder)
        session.recording.source.emit(log_codes.PROGRAM_JOINED, shown=False, env_id=description.env_id, key=str(key))
        return session, key, offset

    @staticmethod
    def _begin(
        env: EnvDescription,
        observation: gym.Space[Any],
        action: gym.Space[Any],
        settings: Resolved,
        adapter: EnvironmentAdapter | None,
    ) -> Recording:
        tree = settings.config
        recording = Recording.open(tree.lake, env, observation, action, tree.durable, adapter, settings=settings)
        recording.page.announce()
        return recording

    def _check_spaces(self, run: str, observation: gym.Space[Any], action: gym.Space[Any]) -> None:
        schema = self.recording.schema
        for what, codec, space in (("observation", schema.observation, observation), ("action", schema.action, action)):
            if type(codec)(space).signature != codec.signature:
                raise SchemaMismatch(
                    f"run {run!r} records {what} space {codec.descriptor}, this environment has {space}. "
                    f"Environments of one run have the same spaces: give this one another run name."
                )

    def _enter(self, recorder: Recorder, num_envs: int) -> tuple[ProducerKey, int]:
        stride = self.recording.env.stride
        if self._sub_envs + num_envs > stride:
            raise ConfigError(f"run: at most {stride} sub-environments fit into this run; {self._sub_envs} are there.")
        key, offset = ProducerKey(self._members, 0), self._sub_envs
        self._members += 1
        self._sub_envs += num_envs
        self._open.append(recorder)
        return key, offset

    def leave(self, recorder: Recorder) -> None:
        """A member has closed; the last one ends the run."""
        with self._guard:
            self._open.remove(recorder)
            last = not self._open
            if last:
                self._forget()
        if last:
            self.recording.finish(self._status, self._reason)

    def fail(self, error: BaseException) -> None:
        """A member cannot make its rows durable: the run has failed, for all members."""
        with self._guard:
            first = self._error is None
            self._error = self._error or error
            others = list(self._open)
            self._forget()
        if first:
            for recorder in others:
                recorder.told(error)
            self.recording.abandon(str(error))

    def withdraw(self, recorder: Recorder, error: BaseException) -> None:
        """A member could not start; others go on without it."""
        with self._guard:
            alone = self._open == [recorder]
            if not alone:
                self._open.remove(recorder)
        if alone:
            self.fail(error)

    def forgotten(self) -> None:
        """A member was not closed by the user."""
        self._status, self._reason = "stopped", "the process ended without close()"

    def _forget(self) -> None:
        if self._name is not None and self._named.get(self._name) is self:
            del self._named[self._name]


class Recorder:
    """What all recorders share: a producer in this process and its session."""

    def __init__(self, env: Any, description: EnvDescription, settings: Resolved, run: str | None) -> None:
        self.producer: Any = None
        self.page: ProducerPage | None = None
        self.adapter = _adapter_of(env, settings.config.durable)
        self.session, self.key, self.offset = _Session.join(self, env, description, settings, run)
        try:
            self._start(env, description.num_envs, settings.config.durable)
        except BaseException as error:
            self.session.withdraw(self, error)
            raise
        self.closed = False
        atexit.register(self._close_at_exit)

    def _start(self, env: Any, n: int, config: RecordConfig) -> None:
        recording = self.session.recording
        page = self.page or ProducerPage(page_path(recording.folder.producers, self.key), self.key, n)
        common: dict[str, Any] = {"stride": recording.env.stride, "agree": recording.hub.agree}
        if isinstance(env, VectorEnv):
            per_env = isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv)
            rows: Any = VectorRows(
                recording.schema.of_rows(),
                self.key,
                page,
                config.fragment,
                num_envs=n,
                autoreset=autoreset_of(env),
                sub_env_offset=self.offset,
                own_seed="alone" if per_env else "batch",
                **common,
            )
        else:
            schema = recording.schema.of_rows()
            rows = SingleRows(schema, self.key, page, config.fragment, sub_env=self.offset, **common)
        validator = validator_of(recording.schema, config.validation, str(self.key))
        found = find_statistics(env)
        self.noted = self._noted(rows, found, config) if found else None
        rows = rows if self.noted is None else self.noted

        def chain(rows: Any) -> Any:
            kept = rows
            if recording.schema.digests:
                kept = VectorDigests(rows) if isinstance(env, VectorEnv) else SingleDigests(rows)
            return checked(kept, validator, n if isinstance(env, VectorEnv) else None)

        self._chain = chain
        self.rows: Any = chain(rows)
        self.kept = KeptRows(rows, page, **config.leaves_out) if config.leaves_out else None
        watch = watched(validator, recording.schema, str(self.key))
        images = is_image_space(env.single_observation_space if isinstance(env, VectorEnv) else env.observation_space)
        live = LiveFeed(
            str(self.key),
            self.offset,
            n,
            rows,
            lambda: view_of(env, self.adapter, images=images),
            launch.RayGatewayLink(),
        )
        self._produce(rows if self.kept is None else self.kept, page, n, config, live=live, **watch)

    def _produce(
        self,
        rows: Any,
        page: ProducerPage,
        n: int,
        config: RecordConfig,
        *,
        version: int = PAYLOAD_VERSION,
        **more: Any,
    ) -> None:
        recording = self.session.recording
        registration = Registration(self.key, recording.run_id, self.offset, n, (version,))
        self.producer = Producer(registration, rows, page, recording.writer_link, recording.hub, config, **more)
        self.producer.start()

    def _noted(self, rows: Any, found: list[Statistics], config: RecordConfig) -> NotedRows:
        schema = self.session.recording.schema.of_rows()
        return NotedRows(rows, found, schema, self.key, config.fragment.max_bytes)

    def watch(self, holder: Any, num_envs: int) -> None:
        """Record the statistics of `holder` too. The caller then asks for `rows` again."""
        found = statistics_of(holder, num_envs)
        with self.producer.lock:
            if self.noted is not None:
                self.noted.watch(found)
                return
            config = self.session.recording.config
            if self.kept is not None:
                self.noted = self._noted(self.kept.rows_behind, found, config)
                self.kept.rows_behind = self.noted
            else:
                self.noted = self.producer.rows = self._noted(self.producer.rows, found, config)
            self.rows = self._chain(self.noted)

    def save(self) -> None:
        """Make everything durable that was stepped so far, also what waits for the end of its episode."""
        if self.kept is not None:
            with self.producer.lock:
                self.kept.save()
        self.producer.drain()

    def note_close(self) -> None:
        """The statistics of normalizing wrappers as they are now, while their environment is open."""
        if self.noted is not None and not self.closed:
            with self.producer.mutex:
                self.noted.note("close")

    def told(self, error: BaseException) -> None:
        """The run has failed elsewhere."""
        if self.producer is not None:
            self.producer.fail(error)

    def close(self) -> None:
        """Make everything durable and leave the session; twice is once."""
        if self.closed:
            return
        self.closed = True
        atexit.unregister(self._close_at_exit)
        try:
            self.producer.close()
        except BaseException as error:
            self.producer.shut()
            self.session.fail(error)
            raise
        self.session.leave(self)

    def _close_at_exit(self) -> None:
        self.session.forgotten()
        self.close()


class RecordedEnv(gym.Wrapper[Any, Any, Any, Any]):
    """A recorded single environment. Attributes: `run_id`, `summary` (after `close`)."""

    def __init__(self, env: gym.Env[Any, Any], settings: Resolved, run: str | None) -> None:
        super().__init__(env)
        self._render = _renderer(env, settings.config.durable)
        description = EnvDescription(
            env_id=_env_id(env),
            kind="recorder",
            num_envs=1,
            workers=1,
            stride=1 if run is None else JOIN_STRIDE,
            spec=told_spec(inner_spec(env))[0],
            render_mode=env.render_mode,
            metadata=described(env),
        )
        self._recorder = Recorder(env, description, settings, run)
        self._mutex = self._recorder.producer.mutex
        self._durable = settings.config.durable
        self._bind()
        self._env_step = _held_back(env.step, 1, settings.config.durable)

    @property
    def run_id(self) -> str:
        """The run's id; `rolltape.open(lake).run(run_id)` reads it."""
        return self._recorder.session.recording.run_id

    @property
    def page(self) -> str | None:
        """Where the run can be watched live, its token included; None where it cannot. Waits up to 10 s for it."""
        return self._recorder.session.recording.page.address()

    @property
    def summary(self) -> EndSummary | None:
        """How the run ended; None before."""
        return self._recorder.session.recording.summary

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment and record the transition."""
        result = self._env_step(action)
        observation, reward, terminated, truncated, info = result
        with self._mutex:
            if self._row_step(action, observation, reward, terminated, truncated, info, self._render):
                self._recorder.producer.attend(action, observation, reward, terminated, truncated)
        return result

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment; a new episode begins."""
        observation, info = self.env.reset(seed=seed, options=options)
        with self._mutex:
            if self._row_reset(observation, info, seed, options, self._render):
                self._recorder.producer.flush()
        return observation, info

    def save(self) -> None:
        """Make durable what was stepped so far, with `keep_last` also what waits for the end of its episode.

        Raises RunFailed, WriterStalled and the like where that cannot be done.
        """
        self._recorder.save()

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


class RecordedVectorEnv(VectorWrapper[Any, Any, Any, Any, Any]):
    """A recorded vector environment. Attributes: `run_id`, `summary` (after `close`)."""

    def __init__(self, env: VectorEnv[Any, Any, Any], settings: Resolved, run: str | None) -> None:
        super().__init__(env)
        self._pictures = _renderer(env, settings.config.durable)
        description = EnvDescription(
            env_id=_env_id(env),
            kind="recorder",
            num_envs=env.num_envs,
            workers=1,
            stride=env.num_envs if run is None else JOIN_STRIDE,
            spec=told_spec(inner_spec(env))[0],
            vectorization=type(env.unwrapped).__name__,
            autoreset=_MODE_NAMES[autoreset_of(env)],
            render_mode=env.render_mode,
            metadata=described(env),
        )
        self._per_env = isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv)
        self._recorder = Recorder(env, description, settings, run)
        self._mutex = self._recorder.producer.mutex
        self._rows: VectorRows = self._recorder.rows
        self._env_step = _held_back(env.step, env.num_envs, settings.config.durable)

    @property
    def run_id(self) -> str:
        """The run's id; `rolltape.open(lake).run(run_id)` reads it."""
        return self._recorder.session.recording.run_id

    @property
    def page(self) -> str | None:
        """Where the run can be watched live, its token included; None where it cannot. Waits up to 10 s for it."""
        return self._recorder.session.recording.page.address()

    @property
    def summary(self) -> EndSummary | None:
        """How the run ended; None before."""
        return self._recorder.session.recording.summary

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all sub-environments and record the transitions."""
        result = self._env_step(actions)
        with self._mutex:
            if self._rows.step(actions, *result, pictures=self._pictures):
                self._recorder.producer.attend(actions, *result[:4])
        return result

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the sub-environments (those of `options["reset_mask"]`, or all); new episodes begin."""
        mask = None if options is None else options.get("reset_mask")
        mask = mask.copy() if isinstance(mask, np.ndarray) else None
        kept = None if options is None else {k: v for k, v in options.items() if k != "reset_mask"}
        observations, infos = self.env.reset(seed=seed, options=options)
        with self._mutex:
            if self._rows.reset(
                observations,
                infos,
                mask=mask,
                seeds=self._seeds(seed),
                options=kept,
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

    def save(self) -> None:
        """As `RecordedEnv.save`."""
        self._recorder.save()

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


def _adapter_of(env: Any, config: RecordConfig) -> EnvironmentAdapter | None:
    """What describes a recorded environment; None where no single one can be asked: native ones, other processes.

    Raises AdapterError, or ConfigError where its state was asked for and cannot be had.
    """
    if isinstance(env, VectorEnv):
        if config.adapter.state:
            raise ConfigError(
                "adapter.state: rolltape.record reads it from single environments. Record those, or use a Fleet, or "
                "leave it off."
            )
        inside = getattr(env.unwrapped, "envs", None) if isinstance(env.unwrapped, SyncVectorEnv) else None
        return adapter_of(inside[0], config.adapter.name) if inside else None
    adapter = adapter_of(env, config.adapter.name)
    state_reader(adapter, config)
    return adapter


def _held_back(step: Any, num_envs: int, config: RecordConfig) -> Any:
    """`step` with the throttle; itself where there is none."""
    rate = config.throttle.steps_per_s
    return Pace(rate).around(step, num_envs) if rate else step


def described(env: Any) -> dict[str, Any]:
    """What a replay or a film of the recording wants to know besides: pictures a second, and the wrappers."""
    found: dict[str, Any] = {}
    fps = (env.metadata or {}).get("render_fps")
    if isinstance(fps, int | float) and fps > 0:
        found["render_fps"] = fps
    _, layers = told_spec(inner_spec(env))
    if layers:
        found["wrappers"] = layers
    around = []
    while isinstance(env, VectorWrapper):
        around.append(told_arguments(env))
        env = env.env
    if around:
        found["vector_wrappers"] = [layer["name"] for layer in around]
        found["vector_wrapper_arguments"] = [layer["kwargs"] for layer in around]
    return found


def _renderer(env: Any, config: RecordConfig) -> Any:
    if config.frames.policy == "replay":
        own = not isinstance(env, VectorEnv) or isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv)
        check_drawable(_env_id(env), env, native=not own)
    if config.frames.policy != "render":
        return None
    if env.render_mode != "rgb_array":  # rgb_array_list: a call of render() would take the list from the user
        raise ConfigError(
            f"frames.policy: 'render' needs an environment made with render_mode='rgb_array' "
            f"(got {env.render_mode!r}): gymnasium.make(..., render_mode='rgb_array')."
        )
    return env.render


def _env_id(env: Any) -> str:
    return env.spec.id if env.spec is not None else type(env.unwrapped).__qualname__


def inner_spec(env: Any) -> Any:
    """Gymnasium's specification of one environment, of a vector environment that of its first; None: there is none."""
    base = env.unwrapped
    if isinstance(base, SyncVectorEnv):
        return base.envs[0].spec
    return base.get_attr("spec")[0] if isinstance(base, AsyncVectorEnv) else env.spec
