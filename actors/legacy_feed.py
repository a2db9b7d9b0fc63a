"""`rolltape.feed_v0`: a program that speaks payload version 0 takes part in a live run, on its own or beside others.

Rules:
1. Its steps go the way of all others: fragments, budget, acknowledgements. They are upgraded here, and counted as v0.
2. A step that does not fit is refused, counted, and answered with the reason; nothing is raised and nothing is guessed.
3. A run that takes no version 0 (`oldest_payload=1`) refuses the feed when it registers.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rolltape.schema.config import RecordConfig
from rolltape.schema.errors import ConfigError, RunFailed
from rolltape.schema.payload_v0 import Problem
from rolltape.schema.space_json import value_from_json
from rolltape.storage.configuration import configured_by

from .end_summary import EndSummary
from .joined import JOIN_STRIDE
from .legacy_rows import LegacyRows, Meaning
from .page import ProducerPage, page_path
from .recorder import Recorder
from .run_description import EnvDescription
from .stepping import EnvRecipe, make_env


def feed_v0(
    env: str,
    lake: str | Path | None = None,
    *,
    run: str | None = None,
    observation: Meaning = "after",
    **config: Any,
) -> LegacyFeed:
    """Take live steps of payload version 0 into a run: those of a program that was not moved to version 1 yet.

    Args:
        env: id of the environment, `module:Id-v0` or `module:callable`, whose spaces the values have. It is made once,
            to ask for them.
        lake: the folder of recordings, by default `lake`.
        run: a name under which feeds and recorders of this process go into one run. None: a run of its own, or that
            of `rolltape run`.
        observation: what the observation of a step is: "after" it, as it was returned, or "before" its action.
        **config: fields of `RecordConfig`, such as `validation="enforce"`.

    Returns:
        What takes the steps: `feed.send(step)`, then `feed.close()`.

    Raises:
        ConfigError: a value that is not allowed, or an environment whose pictures would be kept as frames.
        VersionRefused: the run takes no version 0.
        EnvError, UnsupportedSpace, LakeNotWritable, DiskFull, ClusterError: nothing is recorded then.
    """
    if observation not in ("after", "before"):
        raise ConfigError(f"observation: expected 'after' or 'before', got {observation!r}")
    settings = configured_by("feed_v0(…)", env, None, lake=lake, **config)
    if settings.config.durable.leaves_out:
        raise ConfigError("keep_last, throttle.sample: steps of version 0 are all recorded; leave them off.")
    made = make_env(EnvRecipe(env))
    try:
        description = EnvDescription(
            env_id=env,
            kind="feed-v0",
            num_envs=1,
            workers=1,
            stride=1 if run is None else JOIN_STRIDE,
            source=env,
        )
        return LegacyFeed(_FeedRecorder(made, description, settings, run, observation=observation))
    finally:
        made.close()


class _FeedRecorder(Recorder):
    """A recorder whose rows are upgraded steps."""

    def __init__(self, *given: Any, observation: Meaning) -> None:
        self._observation: Meaning = observation
        super().__init__(*given)

    def _start(self, env: Any, n: int, config: RecordConfig, first_index: list[int]) -> None:
        recording = self.session.recording
        if recording.resumed is not None:
            raise ConfigError(
                f"run {recording.run_id} goes on after a stop, and steps of version 0 cannot: their episodes have no "
                "state to go on from. Feed them into a run of their own."
            )
        if not recording.schema.has_observation_column:
            raise ConfigError(
                f"frames.policy: {env} observes pictures, and steps of version 0 bring none that could be kept as "
                "frames. Import a file of such steps with rolltape import-v0, or record the environment itself."
            )
        page = self.page or ProducerPage(page_path(recording.folder.producers, self.key), self.key, n)
        spaces = {"observation": env.observation_space, "action": env.action_space}
        self.noted = self.kept = None
        self.rows = LegacyRows(
            recording.schema,
            self.key,
            config.fragment,
            agree=recording.hub.agree,
            values=lambda field, value: value_from_json(spaces[field], value),
            page=page,
            sub_env=self.offset,
            stride=recording.env.stride,
            observation=self._observation,
            spaces=spaces,
            validation=config.validation,
        )
        self._produce(self.rows, page, n, config, version=0, mismatches=self.rows.mismatches)


class LegacyFeed:
    """Steps of version 0 on their way into a run. Made by `feed_v0`; a context manager that closes itself.

    Not for several threads at once.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._rows: LegacyRows = recorder.rows
        self._mutex = recorder.producer.mutex

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._recorder.session.recording.run_id

    @property
    def summary(self) -> EndSummary | None:
        """How the run ended; None before."""
        return self._recorder.session.recording.summary

    @property
    def steps(self) -> int:
        """Steps recorded so far."""
        return self._rows.steps

    @property
    def refused(self) -> int:
        """Steps that were not recorded."""
        return self._rows.refused

    @property
    def mismatches(self) -> dict[str, int]:
        """What was not as it should be, by code."""
        return dict(self._rows.mismatches.by_code())

    def send(self, step: dict[str, Any]) -> str | None:
        """Record one step.

        Args:
            step: the object of version 0 (docs/schema.md): episode_id, step_index, action, observation, reward,
                terminated, truncated, …

        Returns:
            None, or why it was refused, with the path to the field.

        Raises:
            RunFailed: the feed is closed. WriterStalled, DiskFull and the like where the run cannot go on.
        """
        if self._recorder.closed:
            raise RunFailed(f"The feed into run {self.run_id} is closed.")
        if not isinstance(step, dict):
            raise ConfigError(f"step: expected a dict of version 0, got {type(step).__name__}")
        with self._mutex:
            problem: Problem | None = self._rows.append(step)
            if self._rows.full:
                self._recorder.producer.flush()
        return None if problem is None else problem.message

    def close(self) -> None:
        """Close open episodes as `aborted` and make everything durable; the last of a run ends it. Twice is once."""
        self._recorder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
