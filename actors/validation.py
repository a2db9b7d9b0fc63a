"""What `validation` does: values are compared with what their spaces allow, counted, and under `enforce` refused.

Rules:
1. `off` makes none of this: nothing is looked at, nothing is wrapped.
2. `warn` looks at a closed fragment, all of its rows at once, and at the dtypes of an episode's first observation. What
   is off is recorded as it came, counted, and logged once for each code and field.
3. `enforce` looks at each step before it is recorded. What is refused raises SchemaMismatch with the path to the field
   and is counted; its episode is closed as `aborted`, as after every step that gives no row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa

from rolltape.schema import log_codes
from rolltape.schema.config import Validation
from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.log_source import LogSource
from rolltape.schema.messages import ProducerKey
from rolltape.schema.mismatches import (
    ACTION_OUTSIDE,
    OBSERVATION_DTYPE,
    OBSERVATION_INFINITE,
    OBSERVATION_NAN,
    OBSERVATION_OUTSIDE,
    REWARD_INFINITE,
    REWARD_NAN,
    Kind,
    MismatchCounts,
)
from rolltape.schema.picture_changes import whole
from rolltape.schema.run_schema import RunSchema
from rolltape.schema.space_check import Off, SpaceCheck
from rolltape.schema.space_rebuild import space_from_descriptor

OBSERVATION_KINDS: Final = {
    "nan": OBSERVATION_NAN,
    "infinite": OBSERVATION_INFINITE,
    "outside": OBSERVATION_OUTSIDE,
}


class Validator:
    """Looks at what one producer records.

    Args:
        schema: the run's contract.
        mode: `warn` or `enforce`.
        who: the producer, for the log.

    Attributes:
        mismatches: what was counted since the start.
    """

    def __init__(self, schema: RunSchema, mode: Validation, who: str = "") -> None:
        self._schema, self._who = schema, who
        self._source = _source_of(schema, who)
        self.enforces = mode == "enforce"
        self.mismatches = MismatchCounts()
        self._observation = SpaceCheck(space_from_descriptor(schema.observation.descriptor), schema.observation)
        self._action = SpaceCheck(space_from_descriptor(schema.action.descriptor), schema.action)

    # ---- warn -----------------------------------------------------------------------------------------------------

    def inspect(self, batches: Mapping[str, pa.RecordBatch]) -> None:
        """Count what is off in a closed fragment; what `enforce` has let through has been looked at."""
        if self.enforces:
            return
        steps, episodes = batches.get("steps"), batches.get("episodes")
        if steps is not None:
            self.rewards(steps.column("reward").to_numpy())
            self._column("action", self._action, steps)
            self._column("observation", self._observation, steps)
        if episodes is not None:
            self._column("final_observation", self._observation, episodes)
        if (frames := batches.get("frames")) is not None and not self._observation.trivial:
            self._pictures(whole(frames))

    def rewards(self, rewards: np.ndarray) -> None:
        """Count those that are not finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(rewards.sum()):
                return
        for kind, count in ((REWARD_NAN, np.isnan(rewards).sum()), (REWARD_INFINITE, np.isinf(rewards).sum())):
            if count:
                self._count(kind, "reward", int(count))

    def _column(self, name: str, check: SpaceCheck, batch: pa.RecordBatch) -> None:
        place = batch.schema.get_field_index(name)
        if check.trivial or place < 0:
            return
        column = batch.column(place).drop_null()
        codec = self._schema.action if name == "action" else self._schema.observation
        if codec.is_fixed:
            found = check.arrays(leaves_of(codec.decode_batch(column)))
        else:
            found = check.values(codec.decode(column))
        self._all(name.removeprefix("final_"), found)

    def _pictures(self, frames: pa.RecordBatch) -> None:
        layout = self._schema.layout
        seen = np.asarray(frames.column("kind").cast(pa.string()).to_pylist()) == "observation"
        if layout is None or not seen.any():
            return
        data = frames.column("data").filter(pa.array(seen))
        offsets = np.frombuffer(data.buffers()[1], np.int32)[data.offset : data.offset + len(data) + 1]
        flat = np.frombuffer(data.buffers()[2], np.uint8)[offsets[0] : offsets[-1]].view(layout.dtype)
        self._all("observation", self._observation.arrays([layout.from_stored(flat.reshape(-1, *layout.stored_shape))]))

    def _all(self, name: str, found: Iterator[Off]) -> None:
        for off in found:
            kind = ACTION_OUTSIDE if name == "action" else OBSERVATION_KINDS[off.kind]
            self._count(kind, name + off.path, off.count, f"found {off.found}, allowed is {off.allowed}")

    # ---- both -----------------------------------------------------------------------------------------------------

    def dtypes(self, observation: Any) -> None:
        """Count the arrays of an observation, or of a batch of them, that have another dtype than their space."""
        codec = self._schema.observation
        for leaf in codec.leaves:
            value = observation
            try:
                for key in leaf.path:
                    value = value[key]
            except (KeyError, IndexError, TypeError):
                return  # another form: refused when it is recorded
            dtype = getattr(value, "dtype", None)
            if dtype is not None and dtype != leaf.dtype:
                path = "".join(f"[{key!r}]" for key in leaf.path)
                self._count(OBSERVATION_DTYPE, f"observation{path}", 1, f"found {dtype}, declared is {leaf.dtype}")

    def _count(self, kind: Kind, field: str, count: int, said: str = "") -> None:
        if self.mismatches.add(kind, field, count):
            about = f": {said}" if said else ""
            total = self.mismatches.count(kind, field)
            self._source.emit(log_codes.MISMATCH, kind=kind.code, who=self._who, field=field, about=about, total=total)

    # ---- enforce --------------------------------------------------------------------------------------------------

    def check_one(self, action: Any, observation: Any, reward: Any) -> None:
        """Look at one step of one environment. Raises SchemaMismatch with the path to the first value to be refused."""
        self._refuse("action", self._action.one(action))
        self._refuse("observation", self._observation.one(observation))
        if not math.isfinite(reward):
            self._refuse_rewards(np.asarray(reward, np.float64).reshape(1))

    def check_observation(self, observation: Any) -> None:
        """Look at one observation. Raises SchemaMismatch."""
        self._refuse("observation", self._observation.one(observation))

    def check_batch(self, actions: Any, observations: Any, rewards: Any, n: int) -> None:
        """Look at one step of `n` sub-environments; `actions` None: of a reset. Raises SchemaMismatch."""
        if actions is not None:
            self._refuse("action", self._action.batch(actions, n), " of sub-environment {row}")
        self._refuse("observation", self._observation.batch(observations, n), " of sub-environment {row}")
        if rewards is not None:
            self._refuse_rewards(np.asarray(rewards, np.float64))

    def _refuse(self, name: str, found: Iterator[Off], where: str = "") -> None:
        for off in found:
            kind = ACTION_OUTSIDE if name == "action" else OBSERVATION_KINDS[off.kind]
            field = name + off.path
            if not kind.refused:
                self._count(kind, field, off.count)
                continue
            self.mismatches.add(kind, field, off.count)
            place = where.format(row=off.row)
            raise SchemaMismatch(
                f"{field}{place}: found {off.found}, allowed is {off.allowed} ({kind.code}). It was refused because of "
                f"validation='enforce'; 'warn' records and counts it."
            )

    def _refuse_rewards(self, rewards: np.ndarray) -> None:
        if np.isfinite(rewards).all():
            return
        row = int(np.argmin(np.isfinite(rewards)))
        kind = REWARD_NAN if np.isnan(rewards[row]) else REWARD_INFINITE
        self.mismatches.add(kind, "reward")
        place = f" of sub-environment {row}" if len(rewards) > 1 else ""
        raise SchemaMismatch(
            f"reward{place}: found {rewards[row]}, allowed are finite numbers ({kind.code}). It was refused because of "
            f"validation='enforce'; 'warn' records and counts it."
        )


class CheckedRows:
    """Rows of one environment that are looked at before they are recorded; all else is as in the rows themselves."""

    def __init__(self, rows: Any, validator: Validator) -> None:
        self._rows, self._validator = rows, validator
        self._enforces = validator.enforces
        self._give_up = rows.abort

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

    def reset(self, observation: Any, *rest: Any, **named: Any) -> bool:
        """As `SingleRows.reset`. Raises SchemaMismatch for what is refused; no episode begins then."""
        self._validator.dtypes(observation)
        if self._enforces:
            self._guarded(self._validator.check_observation, observation)
        return self._rows.reset(observation, *rest, **named)

    def step(self, action: Any, observation: Any, reward: Any, *rest: Any, **named: Any) -> bool:
        """As `SingleRows.step`. Raises SchemaMismatch for what is refused; the episode is aborted then."""
        self._guarded(self._validator.check_one, action, observation, reward)
        return self._rows.step(action, observation, reward, *rest, **named)

    def _guarded(self, check: Any, *values: Any) -> None:
        try:
            check(*values)
        except SchemaMismatch:
            self._give_up()
            raise


class CheckedVectorRows(CheckedRows):
    """The same of a vector environment: what is refused in one sub-environment aborts the episodes of all."""

    def __init__(self, rows: Any, validator: Validator, num_envs: int) -> None:
        super().__init__(rows, validator)
        self._give_up = rows.lose_sight
        self._n = num_envs

    def reset(self, observations: Any, *rest: Any, **named: Any) -> bool:
        """As `VectorRows.reset`."""
        self._validator.dtypes(observations)
        if self._enforces:
            self._guarded(self._validator.check_batch, None, observations, None, self._n)
        return self._rows.reset(observations, *rest, **named)

    def step(self, actions: Any, observations: Any, rewards: Any, *rest: Any, **named: Any) -> bool:
        """As `VectorRows.step`; final observations of `same_step` are looked at too."""
        self._guarded(self._validator.check_batch, actions, observations, rewards, self._n)
        infos = rest[2] if len(rest) > 2 else {}
        final, ended = infos.get("final_obs"), infos.get("_final_obs")
        if isinstance(final, np.ndarray) and final.dtype == object and ended is not None:
            for place in np.flatnonzero(ended):
                self._guarded(self._validator.check_observation, final[place])
        return self._rows.step(actions, observations, rewards, *rest, **named)


class RewardWatch:
    """What is looked at whatever `validation` says: rewards that are not finite, which cost microseconds a fragment to
    see and spoil what learns from them."""

    def __init__(self, schema: RunSchema, who: str) -> None:
        self._validator = Validator(schema, "warn", who)
        self.mismatches = self._validator.mismatches

    def inspect(self, batches: Mapping[str, pa.RecordBatch]) -> None:
        """Count what is off in a closed fragment."""
        if (steps := batches.get("steps")) is not None:
            self._validator.rewards(steps.column("reward").to_numpy())


def _source_of(schema: RunSchema, who: str) -> LogSource:
    try:
        key = ProducerKey.parse(who)
    except ValueError:
        return LogSource(schema.run_id, schema.env_id)
    return LogSource(schema.run_id, schema.env_id, key.producer, key.incarnation)


def validator_of(schema: RunSchema, mode: Validation, who: str) -> Validator | None:
    """What looks at a producer's values; None where nothing does."""
    return None if mode == "off" else Validator(schema, mode, who)


def checked(rows: Any, validator: Validator | None, num_envs: int | None = None) -> Any:
    """The rows that the stepping loop writes to: the rows themselves where nothing is looked at.

    Args:
        rows: `SingleRows`, or `VectorRows` where `num_envs` is given.
        validator: what looks at values.
        num_envs: sub-environments of a vector environment.
    """
    if validator is None:
        return rows
    found = CheckedRows(rows, validator) if num_envs is None else CheckedVectorRows(rows, validator, num_envs)
    if not validator.enforces:
        found.step = rows.step  # type: ignore[method-assign]
    return found


def watched(validator: Validator | None, schema: RunSchema, who: str) -> dict[str, Any]:
    """The arguments of a Producer with which it knows of a validator; without one rewards are looked at alone."""
    watch = RewardWatch(schema, who) if validator is None else validator
    return {"inspect": watch.inspect, "mismatches": watch.mismatches}


def leaves_of(batch: Any) -> list[np.ndarray]:
    """The arrays of a batched value in the order of the codec's leaves."""
    if isinstance(batch, dict):
        return [leaf for item in batch.values() for leaf in leaves_of(item)]
    if isinstance(batch, tuple):
        return [leaf for item in batch for leaf in leaves_of(item)]
    return [batch]
