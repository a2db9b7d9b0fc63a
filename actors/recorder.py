"""What records an environment that is stepped by somebody else: its rows, its producer and its session."""

from __future__ import annotations

import atexit
from typing import Any

from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from rolltape.schema.adapters.adapter import EnvironmentAdapter
from rolltape.schema.adapters.registry import adapter_of
from rolltape.schema.config import RecordConfig
from rolltape.schema.config_provenance import Resolved
from rolltape.schema.errors import ConfigError
from rolltape.schema.frame_layout import is_image_space
from rolltape.schema.messages import Registration
from rolltape.schema.payload_version import PAYLOAD_VERSION

from .compiled_rows import single_rows
from .digesting import SingleDigests, VectorDigests
from .kept_rows import KeptRows
from .last_render import LastRender
from .live_feed import LiveFeed
from .live_view import view_of
from .normalization import Statistics, find_statistics, statistics_of
from .noted_rows import NotedRows
from .on_ray import links
from .page import ProducerPage, page_path
from .producer import Producer
from .record_session import RecordSession
from .resuming import PastRun
from .run_description import EnvDescription
from .state_infos import state_reader
from .stepping import autoreset_of
from .validation import checked, validator_of, watched
from .vector_rows import VectorRows


class Recorder:
    """What all recorders share: a producer in this process and its session."""

    def __init__(
        self,
        env: Any,
        description: EnvDescription,
        settings: Resolved,
        run: str | None,
        past: PastRun | None = None,
        drawn: LastRender | None = None,
    ) -> None:
        self._drawn = drawn
        self.producer: Any = None
        self.page: ProducerPage | None = None
        self.adapter = adapter_for(env, settings.config.durable)
        self.session, place = RecordSession.join(self, env, description, settings, run, past)
        self.key, self.offset = place.key, place.offset
        try:
            self._start(env, description.num_envs, settings.config.durable, place.first_index)
        except BaseException as error:
            self.session.withdraw(self, error)
            raise
        self.closed = False
        atexit.register(self._close_at_exit)

    def _start(self, env: Any, n: int, config: RecordConfig, first_index: list[int]) -> None:
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
                first_index=first_index,
                **common,
            )
        else:
            schema = recording.schema.of_rows()
            (first,) = first_index
            place: dict[str, Any] = {"sub_env": self.offset, "first_index": first}
            rows = single_rows(schema, self.key, page, config.fragment, **place, **common)
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
            lambda: view_of(env, self.adapter, images=images, recorded=self._drawn),
            links.RayGatewayLink(),
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


def adapter_for(env: Any, config: RecordConfig) -> EnvironmentAdapter | None:
    """What describes a recorded environment; None where no single one can be asked: native ones, other processes.

    Raises AdapterError, or ConfigError where its state was asked for and cannot be had.
    """
    if isinstance(env, VectorEnv):
        inside = getattr(env.unwrapped, "envs", None) if isinstance(env.unwrapped, SyncVectorEnv) else None
        if config.adapter.state and not inside:
            raise ConfigError(
                "adapter.state: rolltape.record reads it from single environments and from those in a SyncVectorEnv, "
                "not from native ones or other processes. Record such, or use a Fleet, or leave it off."
            )
        if config.adapter.state and autoreset_of(env) == AutoresetMode.SAME_STEP:
            raise ConfigError(
                "adapter.state: under SAME_STEP your sub-environments are reset before their last state can be read. "
                "Use AutoresetMode.NEXT_STEP or DISABLED, or a Fleet, or leave it off."
            )
        adapter = adapter_of(inside[0], config.adapter.name) if inside else None
        if adapter is not None:
            state_reader(adapter, config)
        return adapter
    adapter = adapter_of(env, config.adapter.name)
    state_reader(adapter, config)
    return adapter
