"""A file of payload version 0 becomes a run: JSON Lines, one step a line, upgraded and committed as every other run.

Rules:
1. The file is read line by line, so memory does not grow with it: twice where its spaces have to be learned.
2. A line that cannot be taken is counted by what is wrong with it, and the first ones are reported with line number,
   field and reason. Nothing of it is guessed.
3. Everything goes through the commit log: what was committed before a crash stays readable, as in every other run.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import gymnasium as gym

from rolltape.schema.config import RecordConfig
from rolltape.schema.errors import ConfigError, RolltapeError, StorageError
from rolltape.schema.messages import FragmentHeader, ProducerKey
from rolltape.schema.mismatches import LINE_UNREADABLE, Mismatch
from rolltape.schema.payload_v0 import Problem, check_step
from rolltape.schema.run_schema import RunSchema
from rolltape.schema.space_inference import SpaceInference
from rolltape.schema.space_json import value_from_json
from rolltape.storage.catalog import publish_catalog
from rolltape.storage.commits import CommitLog
from rolltape.storage.files import folder_bytes
from rolltape.storage.layout import RunFolder, new_run_id
from rolltape.storage.room import check_room
from rolltape.storage.run_info import create_run, write_end_info

from .legacy_rows import LegacyRows, Meaning
from .run_description import EnvDescription, run_info
from .stepping import EnvRecipe, make_env

LONGEST_LINE: Final = 64 << 20
"""Bytes of a line; a longer one is no step."""
SHOWN_BYTES: Final = 60
"""Of a line in a message."""
COMMIT_BYTES: Final = 32 << 20
PROBLEMS_SHOWN: Final = 20
KEY: Final = ProducerKey(0, 0)
FIELDS: Final = ("observation", "action")

OnLines = Callable[[int, int], None]
"""Called now and then with the bytes of the file that were read and those that there are, of both passes."""


class LineProblem(NamedTuple):
    """A line that was refused: its number from 1, the path to the field, and why."""

    line: int
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a file of version 0.

    Attributes:
        run_id: the run that it became.
        path: the run's folder.
        lines: lines that were not empty: each is a step, a reset, or refused.
        steps: rows recorded.
        resets: lines of resets (action null).
        episodes: rows of episodes; `completed` of them came to their end.
        refused: lines that were not recorded.
        learned: whether the spaces were learned from the values.
        spaces: the spaces as text, by `observation` and `action`.
        problems: the first refused lines.
        mismatches: everything that was not as it should be, by code and field.
        seconds, bytes: how long it took, and what the run takes on disk.
    """

    run_id: str
    path: str
    lines: int
    steps: int
    resets: int
    episodes: int
    completed: int
    refused: int
    learned: bool
    spaces: dict[str, str]
    problems: tuple[LineProblem, ...]
    mismatches: tuple[Mismatch, ...]
    seconds: float
    bytes: int

    @property
    def lossy(self) -> bool:
        """Whether lines of the file are not in the run."""
        return self.refused > 0


def import_v0(
    file: str | os.PathLike[str],
    lake: str | os.PathLike[str] = "lake",
    *,
    env: str | None = None,
    observation: Meaning = "after",
    progress: OnLines | None = None,
    **config: Any,
) -> ImportReport:
    """Turn a file of legacy steps (payload version 0, JSON Lines, also `.gz`) into a run of a lake.

    Args:
        file: one JSON object a line.
        lake: the folder of recordings; made where it does not exist.
        env: id of the environment, `module:Id-v0` or `module:callable`, whose spaces the values have; None: the spaces
            are learned from the values, for which the file is read twice.
        observation: what the observation of a line is: "after" its step, as the step returned it, or "before" its
            action, as the policy saw it.
        progress: called about four times a second with the bytes read and those to read.
        **config: fields of `RecordConfig`, such as `validation="enforce"` or `commit={"durability": "process"}`.
            `validation` is "warn" where it is not given.

    Returns:
        What was recorded and what was not; `report.lossy` says whether lines were refused.

    Raises:
        ConfigError: the file cannot be read, none of its lines is a step, or a value that is not allowed.
        EnvError: `env` cannot be made.
        LakeNotWritable, DiskFull: what was committed by then is a run with status `failed`.
    """
    if observation not in ("after", "before"):
        raise ConfigError(f"observation: expected 'after' or 'before', got {observation!r}")
    settings = RecordConfig.of(**{"validation": "warn", **config})
    if settings.oldest_payload > 0:
        raise ConfigError("oldest_payload: a run that takes no version 0 cannot be made of it (got 1)")
    source = Path(file)
    began = time.monotonic()
    reading = _Reading(source, 1 if env else 2, progress)
    reading.check()
    values, spaces = _declared(env) if env else _learned(reading)
    info = EnvDescription(
        env_id=env or f"v0:{source.name.partition('.')[0]}",
        kind="import-v0",
        num_envs=1,
        workers=1,
        stride=1,
        source=env,
    )
    run_id = new_run_id()
    schema = RunSchema(run_id, info.env_id, spaces["observation"], spaces["action"], settings.frames)
    if schema.frame_policy not in ("auto", "none", "observation"):
        raise ConfigError(f"frames.policy: a file of version 0 has no pictures to keep (got {schema.frame_policy!r})")
    schema.keep_in_column()
    root = Path(lake).expanduser().resolve()
    check_room(root)
    folder = RunFolder.of(root, run_id)
    imported = {"file": source.name, "payload_version": 0}
    create_run(folder, {**run_info(info, schema, settings, None), "imported": imported})
    rows = LegacyRows(
        schema,
        KEY,
        settings.fragment,
        agree=lambda proposal: proposal,
        values=values,
        observation=observation,
        spaces=spaces if env else None,
        validation=settings.validation,
    )
    problems: list[LineProblem] = []
    try:
        _record(reading, rows, folder, settings, problems)
    except BaseException as error:
        _end(folder, {"status": "stopped" if isinstance(error, KeyboardInterrupt) else "failed", "reason": str(error)})
        raise
    report = ImportReport(
        run_id=run_id,
        path=str(folder.path),
        lines=reading.lines,
        steps=rows.steps,
        resets=rows.resets,
        episodes=rows.episodes,
        completed=rows.completed,
        refused=rows.refused,
        learned=env is None,
        spaces={name: str(space) for name, space in spaces.items()},
        problems=tuple(problems),
        mismatches=rows.mismatches.frozen(),
        seconds=time.monotonic() - began,
        bytes=folder_bytes(folder.path),
    )
    mean = rows.return_sum / rows.completed if rows.completed else None
    _end(folder, {"status": "completed", "reason": "", "mean_return": mean, **asdict(report)})
    publish_catalog(root)
    return report


def _end(folder: RunFolder, content: dict[str, Any]) -> None:
    try:
        write_end_info(folder, {**content, "ended_ns": time.time_ns()})
    except StorageError:
        if content["status"] == "completed":
            raise


# ---- lines ------------------------------------------------------------------------------------------------------


class _Reading:
    """The lines of a file, passes over it, and how far they are.

    Attributes:
        lines: lines of the newest pass that were not empty.
    """

    def __init__(self, path: Path, passes: int, progress: OnLines | None) -> None:
        self.path, self._progress = path, progress
        try:
            self._size = path.stat().st_size
        except OSError as error:
            raise ConfigError(f"Cannot read {path}: {error.strerror}.") from error
        if not path.is_file():
            raise ConfigError(f"Cannot read {path}: not a file. It is read twice, so a pipe will not do.")
        self._whole, self._done, self._told = passes * self._size, 0, time.monotonic()
        self.lines = 0

    def check(self) -> None:
        """Raise ConfigError where no line is a step of version 0: it is a file of something else."""
        first = ""
        with self._opened() as (file, _):
            for number, line in enumerate(_lines(file), start=1):
                if line is not None and not line.strip():
                    continue
                step = _parsed(line)
                problem = step if isinstance(step, Problem) else check_step(step)
                if problem is None:
                    return
                first = first or f"line {number} is {_shown(line)}: {problem.message.removeprefix('line: ')}"
        if first:
            raise ConfigError(
                f"{self.path}: no line of it is a step of version 0; {first}. Expected JSON Lines, one step a line; "
                "docs/schema.md says its keys. Nothing was recorded."
            )

    def steps(self) -> Iterator[tuple[int, int, dict[str, Any] | Problem]]:
        """The number of each line that is not empty, its length, and its object or what is wrong with it."""
        self.lines = 0
        with self._opened() as (file, raw):
            for number, line in enumerate(_lines(file), start=1):
                if line is not None and not line.strip():
                    continue
                self.lines += 1
                yield number, len(line or b""), _parsed(line)
                if self._progress is not None and not number % 256 and time.monotonic() - self._told > 0.25:
                    self._told = time.monotonic()
                    self._progress(self._done + raw.tell(), self._whole)
        self._done += self._size
        if self._progress is not None:
            self._progress(self._done, self._whole)

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        try:
            with self.path.open("rb") as raw:
                if self.path.suffix == ".gz":
                    with gzip.open(raw) as file:
                        yield file, raw  # type: ignore[misc]
                else:
                    yield raw, raw
        except (OSError, EOFError) as error:
            if isinstance(error, RolltapeError):
                raise
            raise ConfigError(f"Cannot read {self.path}: {error}.") from error


def _lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """Lines of a file; None for one that is too long to be held."""
    while line := file.readline(LONGEST_LINE):
        if len(line) < LONGEST_LINE or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE)
        yield None


def _shown(line: bytes | None) -> str:
    text = (line or b"")[:SHOWN_BYTES + 1].decode(errors="replace").strip()
    return repr(text) if len(text) <= SHOWN_BYTES else f"{text[:SHOWN_BYTES]!r} …"


def _parsed(line: bytes | None) -> dict[str, Any] | Problem:
    if line is None:
        return Problem(LINE_UNREADABLE, "line", f"line: longer than {LONGEST_LINE >> 20} MiB")
    try:
        step = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Problem(LINE_UNREADABLE, "line", f"line: not JSON: {error}")
    if not isinstance(step, dict):
        return Problem(LINE_UNREADABLE, "line", f"line: expected a JSON object, got {type(step).__name__}")
    return step


# ---- spaces -----------------------------------------------------------------------------------------------------

Values = Callable[[str, Any], Any]


def _declared(env: str) -> tuple[Values, dict[str, gym.Space[Any]]]:
    made = make_env(EnvRecipe(env))
    spaces = {"observation": made.observation_space, "action": made.action_space}
    made.close()
    return lambda field, value: value_from_json(spaces[field], value), spaces


def _learned(reading: _Reading) -> tuple[Values, dict[str, gym.Space[Any]]]:
    inference = {field: SpaceInference() for field in FIELDS}
    for _, nbytes, step in reading.steps():
        if isinstance(step, dict) and check_step(step) is None:
            for field in FIELDS:
                inference[field].add(step[field], nbytes)
    spaces = {field: inference[field].space() for field in FIELDS}
    return lambda field, value: value_from_json(spaces[field], inference[field].to_value(value)), spaces


# ---- commits ----------------------------------------------------------------------------------------------------


def _record(
    reading: _Reading, rows: LegacyRows, folder: RunFolder, config: RecordConfig, problems: list[LineProblem]
) -> None:
    log = CommitLog.open(folder, 0, config.commit)
    sent = _Sent(log, rows, min(COMMIT_BYTES, config.commit.max_bytes))
    for number, nbytes, step in reading.steps():
        if isinstance(step, dict):
            problem = rows.append(step, nbytes)
        else:
            rows.refuse(problem := step)
        if problem is not None and len(problems) < PROBLEMS_SHOWN:
            problems.append(LineProblem(number, problem.field, problem.message))
        if rows.full:
            sent.fragment()
    rows.abort()
    sent.fragment()
    sent.commit()
    log.close()


class _Sent:
    """Fragments of the file on their way through the commit log."""

    def __init__(self, log: CommitLog, rows: LegacyRows, commit_bytes: int) -> None:
        self._log, self._rows, self._commit_bytes = log, rows, commit_bytes
        self._sequence = self._steps = self._episodes = 0

    def fragment(self) -> None:
        """Offer the open fragment; commit when there is enough."""
        sealed = self._rows.seal()
        if sealed is None:
            return
        batches = sealed.batches(self._sequence + 1)
        self._sequence += 1
        steps, episodes = (batches[t].num_rows if t in batches else 0 for t in ("steps", "episodes"))
        self._steps += steps
        self._episodes += episodes
        now_ns = time.time_ns()
        header = FragmentHeader(
            key=KEY,
            sequence=self._sequence,
            steps=steps,
            episodes=episodes,
            steps_total=self._steps,
            episodes_total=self._episodes,
            nbytes=sum(batch.get_total_buffer_size() for batch in batches.values()),
            opened_ns=now_ns,
            closed_ns=now_ns,
            payload_version=0,
            mismatches=self._rows.mismatches.frozen(),
        )
        self._log.offer(header, batches)
        if self._log.pending_bytes >= self._commit_bytes:
            self.commit()

    def commit(self) -> None:
        """Make durable what was offered."""
        self._log.commit(self._log.take())
