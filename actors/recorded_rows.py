"""Recorded rows on their way to a replay: read from the parts, in the order in which they were made.

SQL costs several times as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from rolltape.storage.runs import Run

STEP_COLUMNS: Final = (
    "sub_env", "episode", "t", "observation", "observation_digest", "action", "reward", "terminated", "truncated",
    "info", "info_json",
)  # fmt: skip


def stored_columns(run: Run, table: str) -> list[str]:
    """The columns of a table as its parts carry them, without asking DuckDB; empty before the first commit."""
    stored = run.lake.stored_schema(run.run_id, table)
    return [] if stored is None else list(stored.schema.names)


def episodes_in_order(run: Run, columns: Sequence[str], where: str | None = None) -> pa.Table:
    """Some columns of the episodes that fit, in the order of sub-environment and episode.

    Args:
        run: the recording.
        columns: those that are not stored are left out.
        where: an SQL condition; None: all episodes.
    """
    stored = stored_columns(run, "episodes")
    there = [name for name in columns if name in stored]
    if where is not None:
        return run.episodes(where).order("sub_env", "episode").select(*there).to_arrow()
    found = run.lake.episode_rows.between(run.run_id, "episodes", there).select(there)
    found = pa.table([_plain(column) for column in found.columns], there)
    return _in_order(found, [found[name].to_numpy() for name in ("sub_env", "episode")])


def rows_of_episodes(run: Run, table: str, rows: list[dict[str, Any]], columns: Sequence[str]) -> pa.Table:
    """The rows of some episodes, in the order of sub-environment, episode and, in steps, t."""
    numbers = np.array([row["episode"] for row in rows])
    places = np.array([row["sub_env"] for row in rows])
    among = {"episode": (int(numbers.min()), int(numbers.max())), "sub_env": (int(places.min()), int(places.max()))}
    stored = stored_columns(run, table)
    there = [name for name in columns if name in stored]
    found = run.lake.episode_rows.between(run.run_id, table, there, **among).select(there)
    keys = [found[name].to_numpy() for name in ("sub_env", "episode", "t") if name in columns]
    if len(found) != sum(row["length"] or 0 for row in rows) or table != "steps":
        wanted = np.flatnonzero(np.isin(keys[1], numbers))
        if len(wanted) != len(found):
            found, keys = found.take(pa.array(wanted)), [key[wanted] for key in keys]
    return _in_order(found, keys)


def steps_of_producer(
    run: Run, worker: int, incarnation: int, sub_envs: tuple[int, int], wanted: tuple[str, ...] = STEP_COLUMNS
) -> pa.Table:
    """The steps of a producer in the order of sub-environment, episode and t."""
    stored = stored_columns(run, "steps")
    keys = ("sub_env", "episode", "t", "worker", "incarnation")
    columns = [name for name in dict.fromkeys((*wanted, *keys)) if name in stored]
    found = run.lake.episode_rows.between(run.run_id, "steps", columns, sub_env=sub_envs).select(columns)
    mine = (found["worker"].to_numpy() == worker) & (found["incarnation"].to_numpy() == incarnation)
    if not mine.all():
        found = found.filter(pa.array(mine))
    ordered = _in_order(found, [found[name].to_numpy() for name in ("sub_env", "episode", "t")])
    return ordered.drop_columns(["worker", "incarnation"]).combine_chunks()


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column without dictionaries, whose values take Python many times as long."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _in_order(found: pa.Table, keys: list[np.ndarray]) -> pa.Table:
    """Rows sorted by these keys, the first first.

    Those of one sub-environment mostly are in order as they were committed: sorting by the first key is enough then,
    and takes a twentieth of the time where that has 16 bits.
    """
    if len(found) < 2 or _ascend(keys):
        return found
    first = keys[0].astype(np.int16) if keys[0].min() >= 0 and keys[0].max() < 1 << 15 else keys[0]
    order = np.argsort(first, kind="stable")
    if not _ascend([key[order] for key in keys]):
        order = np.lexsort(keys[::-1])
    return found.take(pa.array(order))


def _ascend(keys: list[np.ndarray]) -> bool:
    """Whether rows are sorted by these keys, the first first."""
    equal = np.ones(len(keys[0]) - 1, bool)
    for key in keys:
        step = np.diff(key)
        if (equal & (step < 0)).any():
            return False
        equal &= step == 0
    return True
