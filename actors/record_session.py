"""One recording of this process, which several recorders may share."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from gymnasium.vector import VectorEnv

from rolltape.schema import log_codes
from rolltape.schema.adapters.adapter import EnvironmentAdapter
from rolltape.schema.config_provenance import Resolved
from rolltape.schema.errors import ConfigError, SchemaMismatch
from rolltape.schema.messages import ProducerKey
from rolltape.storage.lake import Lake

from .end_summary import EndStatus
from .joined import JOIN_STRIDE, join, take_number
from .recording import Recording
from .resuming import PastRun
from .run_description import EnvDescription
from .wiring import Wiring, wiring

if TYPE_CHECKING:
    from .recorder import Recorder


@dataclass(frozen=True, slots=True)
class Place:
    """Where a recorder stands in its run.

    Attributes:
        key: its producer number and life.
        offset: its first sub-environment in the run.
        first_index: the next episode index of each of its sub-environments.
    """

    key: ProducerKey
    offset: int
    first_index: list[int]


class RecordSession:
    """One recording of this process and the recorders in it, which may come and go in several threads."""

    _named: dict[tuple[str, str], RecordSession] = {}  # noqa: RUF012
    _guard = threading.RLock()

    def __init__(self, recording: Recording, name: tuple[str, str] | None, past: PastRun | None = None) -> None:
        self.recording = recording
        self._name, self._past = name, past
        self._members = 0
        self._sub_envs = 0
        self._open: list[Recorder] = []
        self._error: BaseException | None = None
        self._status: EndStatus = "completed"
        self._reason = ""

    @classmethod
    def past(cls, lake: Path, resume: Any, run: str | None) -> PastRun:
        """The run that a recorder is to go on with: where one of its name is open here, that one.

        Raises LakeNotFound, CorruptRecording; ConfigError where it cannot go on.
        """
        if wiring() is not None:
            raise ConfigError(
                "resume: this program was started by `rolltape run` and records into its run; a job that is retried "
                "goes on with it: rolltape submit --retry. Leave resume out."
            )
        with cls._guard:
            session = None if run is None else cls._named.get(_name_of(lake, run))
        if session is None:
            return PastRun.find(lake, resume, "recorder")
        meant = None
        if session._past is not None:
            with Lake(lake, threads=1) as found:
                meant = found.resolve(resume)
        if session._past is None or meant != session.recording.run_id:
            began = "began anew" if session._past is None else "goes on"
            raise ConfigError(
                f"resume: in this process {run!r} is the name of run {session.recording.run_id}, which {began} with "
                f"its first recorder (got {resume!r}). Give all recorders of a name the same resume."
            )
        return session._past

    @classmethod
    def join(
        cls,
        recorder: Recorder,
        env: Any,
        description: EnvDescription,
        settings: Resolved,
        run: str | None,
        past: PastRun | None = None,
    ) -> tuple[RecordSession, Place]:
        """The session for `recorder`, and its place in the run."""
        n = description.num_envs
        if (ours := wiring()) is not None:
            return cls._join_run(recorder, env, description, settings, ours)
        vector = isinstance(env, VectorEnv)
        observation = env.single_observation_space if vector else env.observation_space
        action = env.single_action_space if vector else env.action_space
        if run is None:
            recording = cls._begin(description, observation, action, settings, recorder.adapter, past)
            session = cls(recording, None, past)
            return session, session._enter(recorder, n)
        if n > JOIN_STRIDE:
            raise ConfigError(f"run: at most {JOIN_STRIDE} sub-environments fit into a run with a name (got {n}).")
        name = _name_of(settings.config.lake, run)
        with cls._guard:
            session = cls._named.get(name)
            if session is None:
                recording = cls._begin(description, observation, action, settings, recorder.adapter, past)
                session = cls._named[name] = cls(recording, name, past)
            else:
                session._check_spaces(run, observation, action)
            return session, session._enter(recorder, n)

    @classmethod
    def _join_run(
        cls, recorder: Recorder, env: Any, description: EnvDescription, settings: Resolved, ours: Wiring
    ) -> tuple[RecordSession, Place]:
        """The session of a program that is run by `rolltape run`: every recorder is one of its own, in one run."""
        vector = isinstance(env, VectorEnv)
        observation = env.single_observation_space if vector else env.observation_space
        action = env.single_action_space if vector else env.action_space
        description = replace(description, stride=JOIN_STRIDE)
        session = cls(join(ours, description, observation, action, settings, recorder.adapter), None)
        key, offset, recorder.page = take_number(session.recording.folder, description.num_envs)
        session._open.append(recorder)
        session.recording.source.emit(log_codes.PROGRAM_JOINED, shown=False, env_id=description.env_id, key=str(key))
        return session, Place(key, offset, [0] * description.num_envs)

    @staticmethod
    def _begin(
        env: EnvDescription,
        observation: gym.Space[Any],
        action: gym.Space[Any],
        settings: Resolved,
        adapter: EnvironmentAdapter | None,
        past: PastRun | None,
    ) -> Recording:
        tree = settings.config
        if past is not None:
            past.check_same(env, tree.durable)
            env = replace(env, stride=int(past.info["episode_stride"]))
        recording = Recording.open(
            tree.lake, env, observation, action, tree.durable, adapter, settings=settings, past=past
        )
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

    def _enter(self, recorder: Recorder, num_envs: int) -> Place:
        """The place of one more recorder. Raises ConfigError where there is none; a run without any has failed then."""
        try:
            place = self._next_place(num_envs)
        except BaseException as error:
            if not self._open:
                self.fail(error)
            raise
        self._members += 1
        self._sub_envs += num_envs
        self._open.append(recorder)
        return place

    def _next_place(self, num_envs: int) -> Place:
        stride, number, offset = self.recording.env.stride, self._members, self._sub_envs
        if offset + num_envs > stride:
            raise ConfigError(f"run: at most {stride} sub-environments fit into this run; {offset} are there.")
        if self._past is None:
            return Place(ProducerKey(number, 0), offset, [0] * num_envs)
        key, first_index = self._past.next_place(self.recording.writer, number, offset, num_envs)
        return Place(key, offset, first_index)

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


def _name_of(lake: Path, run: str) -> tuple[str, str]:
    return str(lake.expanduser().resolve()), run
