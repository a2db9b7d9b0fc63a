"""One episode of a run as a notebook wants it: numbers, arrays, pictures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rolltape.schema.errors import LakeNotFound
from rolltape.schema.info_json import decode_info, state_of_info

from .arrays import column_to_numpy
from .viewing import painter

if TYPE_CHECKING:
    from rolltape.schema.render_payload import RenderPayload
    from rolltape.schema.spaces import SpaceCodec

    from .frame_store import Frames
    from .picture import Picture
    from .relation import Relation
    from .runs import Run


class Episode:
    """An episode: its row as attributes and items, its steps as arrays. Made by `Run.episode`.

    What is read is kept: an episode that was open when it was asked for stays as it was; ask the run again.

    Attributes:
        run: the run that it belongs to.
        episode: its number, unique in the run.
        row: its row of the table; only `run_id` and `episode` while it is open.
    """

    def __init__(self, run: Run, episode: int, row: Mapping[str, Any] | None) -> None:
        self.run = run
        self.episode = episode
        self.is_open = row is None
        self.row: dict[str, Any] = dict(row or {"run_id": run.run_id, "episode": episode})

    @classmethod
    def find(cls, run: Run, episode: int) -> Episode:
        """The episode of that number. Raises LakeNotFound where neither it nor a step of it is recorded."""
        ended = run.lake.episode_rows.read(run.run_id, "episodes", int(episode))
        for row in ended.drop_columns([n for n in ended.column_names if n == "final_observation"]).to_pylist():
            return cls(run, int(episode), row)
        found = cls(run, int(episode), None)
        if found.length == 0:
            ended = run.episodes().select("min(episode)", "max(episode)", "count(*)").fetchall()[0]
            has = "none ended yet" if not ended[2] else f"{ended[2]:,} ended, numbered {ended[0]} to {ended[1]}"
            raise LakeNotFound(
                f"Run {run.run_id} has no episode {episode}: {has}. "
                f"run.episodes() lists them; numbers are sub_env + episode_stride * k."
            )
        return found

    # ---- its row --------------------------------------------------------------------------------------------------

    def __getitem__(self, column: str) -> Any:
        """A value of its row, as in `episode["return"]`."""
        return self.row[column]

    @cached_property
    def length(self) -> int:
        """How many steps; those that are durable while it is open."""
        if self.row.get("length") is not None:
            return int(self.row["length"])
        return len(self.steps())

    @property
    def return_(self) -> float | None:
        """Sum of its rewards; None while it is open or where unknown. (`return` is a word of Python.)"""
        return self.row.get("return")

    @property
    def status(self) -> str:
        """Open, completed, aborted or lost, as one lower-case word."""
        return self.row.get("status") or "open"

    @property
    def seed(self) -> int | None:
        """Seed of the reset that it replays from; None: never seeded."""
        return self.row.get("seed")

    # ---- its steps ------------------------------------------------------------------------------------------------

    def steps(self) -> Relation:
        """Its steps in the order of `t`."""
        return self.run.steps(self.episode)

    @cached_property
    def _columns(self) -> pa.Table:
        return self._stored("steps")

    def _stored(self, table: str) -> pa.Table:
        return self.run.lake.episode_rows.read(self.run.run_id, table, self.episode)

    @cached_property
    def rewards(self) -> np.ndarray:
        """Rewards, float64[length]."""
        return column_to_numpy(self._columns.column("reward"))

    @cached_property
    def actions(self) -> Any:
        """Actions as values of the action space: one batch, or a list where the space has no batches."""
        return _decode(self.run.codec("action"), self._columns.column("action"))

    @cached_property
    def observations(self) -> Any:
        """Observations as values of the space, length + 1 of them: before each step, and after the last.

        A batch as Gymnasium makes it, or a list where the space has no batches. Pictures come from the frames. The
        final one is left out where it is not known (an open or lost episode).
        """
        if "observation" not in self._columns.column_names:
            return self.frames(kind="observation").array()
        column = self._columns.column("observation")
        ended = self._stored("episodes")
        if "final_observation" in ended.column_names:
            last = ended.column("final_observation").drop_null()
            column = pa.chunked_array([*column.chunks, *last.chunks], column.type)
        return _decode(self.run.codec("observation"), column)

    def info(self, t: int) -> dict[str, Any]:
        """The info that was there before step `t`: that of the reset (t = 0), or what step `t - 1` returned.

        Raises LakeNotFound outside the episode.
        """
        if not 0 <= t <= self.length:
            raise LakeNotFound(f"Episode {self.episode} of {self.run.run_id} has t from 0 to {self.length} (got {t}).")
        if t == 0:
            return decode_info(self.row.get("reset_info"))
        row = self._columns.slice(t - 1, 1)
        typed = dict(row.column("info")[0] or {}) if "info" in row.column_names else {}
        values = {key: _info_value(value) for key, value in typed.items() if value.is_valid}
        return values | decode_info(row.column("info_json")[0].as_py())

    @cached_property
    def action_masks(self) -> np.ndarray | tuple[np.ndarray, ...]:
        """The `action_mask` that its infos had before each step: int8[length, n] of a Discrete space, a tuple of such,
        one an axis, of a MultiDiscrete.

        Raises LakeNotFound where a step has none, or one of another form.
        """
        found: list[Any] = []
        for t in range(self.length):
            mask = self.info(t).get("action_mask")
            if mask is None:
                raise LakeNotFound(
                    f"Episode {self.episode} of {self.run.run_id} has no action_mask before step {t}: its environment "
                    "gave none among the infos of the reset or step before it."
                )
            found.append(mask)
        if found and isinstance(found[0], tuple):
            return tuple(np.stack(masks) for masks in zip(*found, strict=True))
        return np.stack(found) if found else np.zeros((0, 0), np.int8)

    def state(self, t: int) -> dict[str, Any]:
        """The state before step `t`, as the environment's adapter tells it; {} where it was not recorded."""
        return state_of_info(self.info(t))

    # ---- its pictures ---------------------------------------------------------------------------------------------

    def frame(self, t: int, *, kind: str | None = None) -> Picture:
        """The picture that was seen before step `t`; `t` = length is the last."""
        return self.run.frame(self.episode, t, kind=kind)

    def frames(self, *, kind: str | None = None) -> Frames:
        """Its pictures in order."""
        return self.run.frames(self.episode, kind=kind)

    def render_payload(self, t: int) -> RenderPayload | None:
        """What stands for the look before step `t`; see `Lake.render_payload`."""
        return self.run.render_payload(self.episode, t)

    def plot(self, what: str = "reward", *, backend: str | None = None) -> Any:
        """Numbers of it over its steps; see `Run.plot`."""
        return self.run.plot(what, episode=self.episode, backend=backend)

    def __len__(self) -> int:
        return self.length

    def __repr__(self) -> str:
        result = "" if self.return_ is None else f", return {self.return_:g}"
        return f"<Episode {self.episode} of {self.run.run_id} {self.status}, {self.length:,} steps{result}>"

    def _repr_html_(self) -> str:
        return painter().episode_html(self)


def _info_value(value: pa.Scalar) -> Any:
    """Arrays of typed infos are lists of a fixed size, tuples of arrays are structs."""
    if isinstance(value, pa.StructScalar):
        return tuple(_info_value(item) for item in value.values())
    return value.values.to_numpy(zero_copy_only=False) if isinstance(value, pa.FixedSizeListScalar) else value.as_py()


def _decode(codec: SpaceCodec, column: pa.ChunkedArray) -> Any:
    return codec.decode_batch(column) if codec.is_fixed else codec.decode(column)
